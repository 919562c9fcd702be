"""Texts and tables of the report of `moro predict`."""

from __future__ import annotations

from typing import Any

from moro_ros.cli.statures import Statures
from moro_ros.io.bag_depth import DepthUse
from moro_ros.recover.ground import GroundPlane

# Source of the focal length if it was not given.
ESTIMATE = "an estimate"
# Descriptions of the counters in the report.
COUNTED = {
    "ignored_people": "times that a person was not tracked (--people)",
    "unusable_poses": "poses omitted because they are not finite",
    "small_people": "images in which all people are too small (detector.smallest_person)",
    "pictures": "people who never moved and may be pictures",
}


def facts(
    summary: dict[str, Any], plane: GroundPlane | None, statures: Statures, refined: bool
) -> dict[str, str]:
    """Return the lines of the report's first table.

    summary: as in summary.json; plane, statures: that were given; refined: decoded two-sided.
    """
    camera = summary["camera"]
    focal = " x ".join(f"{value:.0f}" for value in dict.fromkeys(camera["focal_px"]))
    floor = f"{plane.offset:.2f} m below the camera" if plane else "unknown"
    if summary["floor_ignored"]:
        floor += "; ignored for " + ", ".join(f"person {i}" for i in summary["floor_ignored"])
    known_by = (
        camera["known_by"] if camera["known_by"] == ESTIMATE else f"from {camera['known_by']}"
    )
    lines = {
        "input": summary["input"],
        "frames": str(summary["frames"]),
        "image size": f"{camera['width']} x {camera['height']} px",
        "focal length": f"{focal} px ({known_by})",
        "floor": floor,
        **({"stature": statures.words()} if statures else {}),
        **({"depth": depth_line(summary["depth"])} if summary["depth"] else {}),
        "model": f"{summary['model']}",
        "decoding": "two-sided (--refined)" if refined else "forward, as live",
        "processing time": f"{summary['seconds']} s",
    }
    counters = {COUNTED.get(name, name): count for name, count in summary["counters"].items()}
    return lines | {name: str(count) for name, count in counters.items() if count}


def floor_note(ignored: dict[int, tuple[int, str]]) -> str:
    """Return a text of the people for whom the floor was ignored: frames and reason by id."""
    people = ", ".join(
        f"person {i} in {count} frames ({why})" for i, (count, why) in sorted(ignored.items())
    )
    return (
        f"The floor was ignored for {people}. Check --camera-height, --camera-pitch and --stature; "
        "a step or furniture that people stand on has the same effect."
    )


def depth_line(depth: dict[str, Any]) -> str:
    """Return a text of the depth images of summary.json."""
    return f"{depth['topic']}: {depth['measurements']} measurements of people"


def depth_note(depth: DepthUse) -> str:
    """Return a text of the problems with depth images, which name the node's parameters."""
    return depth.unused.replace("depth_info_topic", "--depth-info-topic")


def person_line(person: dict[str, Any]) -> dict[str, object]:
    """Return a row of the report's table of people."""
    return {
        "id": person["id"],
        "frames": person["frames"],
        "from [s]": person["first_s"],
        "to [s]": person["last_s"],
        "distance [m]": person["distance_m"],
        "joints seen [%]": round(100 * person["observed"]),
    }
