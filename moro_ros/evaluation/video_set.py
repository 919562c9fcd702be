"""Evaluation of every camera against all, for any folder of synchronised, calibrated videos.

Cameras need not expose at the same times: the keypoints of all views are interpolated to each
camera's own times before they are triangulated.
"""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from moro_ros.errors import CalibrationError, DataError
from moro_ros.evaluation.association import MIN_VIEWS, Track, associate, only
from moro_ros.evaluation.calibrations import load_calibration
from moro_ros.evaluation.multiview import Truth, triangulate
from moro_ros.evaluation.pose2sim import Condition, Frontend, hide, joined, true_frames
from moro_ros.evaluation.video_sources import JointSource
from moro_ros.evaluation.view_score import ViewScore, score_view, shoulder_widths
from moro_ros.geometry.views import View
from moro_ros.io.frames import FrameSource
from moro_ros.io.video import open_video
from moro_ros.types import KEYPOINTS, Frame, Keypoints, PersonObservation

LOGGER = logging.getLogger(__name__)
CALIBRATIONS = ("camera_array.toml", "[Cc]alib*.toml", "*.qca.txt")
VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm")
# caliscope's own tables of times.
TIME_TABLES = ("timestamps.csv", "frame_time_history.csv")
# Maximum disagreement of views on a point, over the focal length: 25 px at 800 px.
MAX_ERROR = 0.03
# Maximum distance of frames of a view for interpolating keypoints, in frame periods.
MAX_GAP = 1.6
MAX_RATE_HZ = 45.0
# From this number of cameras on, three must agree on a point; with fewer, two.
MANY_VIEWS = 4
# Plausible width of shoulders in metres; a calibration in another unit is far outside.
SHOULDERS_M = (0.12, 0.7)

_BELOW = ("hip", "knee", "ankle", "heel", "foot_index")
CONDITIONS: Mapping[str, Condition] = {
    "plain": lambda frame, name: False,
    "below the chest hidden": lambda frame, name: name.endswith(_BELOW),
}


@dataclass(frozen=True, slots=True)
class SeenPerson:
    """The tracks of a person, and the truth at each view's own times."""

    tracks: frozenset[Track]
    truths: tuple[Truth, ...]


@dataclass(frozen=True, slots=True)
class VideoSet:
    """The observed videos of one folder; frames: of each view, at its own times."""

    views: tuple[View, ...]
    frames: tuple[tuple[Frame, ...], ...]
    people: tuple[SeenPerson, ...]

    def evaluate(
        self, source: JointSource, names: Sequence[str], conditions: Mapping[str, Condition]
    ) -> list[ViewScore]:
        """Score a source on every person in every view under every condition.

        names: scored keypoints.
        """
        scores = []
        for condition, hidden in conditions.items():
            for number, (view, frames) in enumerate(zip(self.views, self.frames, strict=True)):
                shown = [hide(frame, index, hidden) for index, frame in enumerate(frames)]
                found = source.recover(shown)
                for person in self.people:
                    if any(of_view == number for of_view, _ in person.tracks):
                        points = joined(found, person.tracks, number, len(frames))
                        (seen,) = only([frames], _alone(person.tracks, number))
                        truth = person.truths[number]
                        scores.append(score_view(points, view, truth, seen, names, condition))
        return scores

    def with_true_keypoints(self) -> VideoSet:
        """Return the set for a perfect detector: the truth projected into every view.

        The triangulated points are the detector's, like those that the network was trained on.
        """
        truths = [(person.tracks, person.truths) for person in self.people]
        return replace(self, frames=true_frames(self.views, self.frames, truths))


def _alone(tracks: frozenset[Track], view: int) -> frozenset[Track]:
    """The tracks of one view, which then is the first."""
    return frozenset((0, track_id) for of_view, track_id in tracks if of_view == view)


def load_set(
    folder: Path, frontend: Frontend, calibration: Path | None = None, unit_m: float = 1.0
) -> VideoSet:
    """Run the front-end on the videos of a folder and triangulate all people.

    calibration: instead of the folder's own; unit_m: of its translations, in metres.
    Raises: DataError, CalibrationError or VideoError with the file and what was expected.
    """
    views = load_calibration(calibration or find_calibration(folder), unit_m)
    paths = find_videos(folder, views)
    times = read_times(folder)
    frames = []
    for view, path in zip(views, paths, strict=True):
        frames.append(observe_at_own_times(frontend, path, view, times))
    first = min(of_view[0].stamp_ns for of_view in frames)
    moved = [[replace(f, stamp_ns=f.stamp_ns - first) for f in of_view] for of_view in frames]
    return build_set(views, moved)


def build_set(views: Sequence[View], frames: Sequence[Sequence[Frame]]) -> VideoSet:
    """Associate people in observed views and triangulate them at each view's times.

    Raises: DataError if no person is seen by enough cameras at once; CalibrationError if the size
    of people is implausible.
    """
    stamps = [np.array([frame.stamp_ns for frame in of_view]) for of_view in frames]
    people = associate(views, [at_times(f, stamps[0]) for f in frames], min(MIN_VIEWS, len(views)))
    if not people:
        raise DataError(
            f"No person is seen by {min(MIN_VIEWS, len(views))} of the {len(views)} cameras at "
            "the same time and place. Expected synchronised videos of people and their "
            "calibration (docs/accuracy.md)."
        )
    max_px = MAX_ERROR * float(np.mean([view.camera.matrix[0, 0] for view in views]))
    agreeing = 3 if len(views) >= MANY_VIEWS else 2
    truths: list[list[Truth]] = [[] for _ in people]
    for own in stamps:
        resampled = [at_times(of_view, own) for of_view in frames]
        for person, found in zip(people, truths, strict=True):
            found.append(triangulate(views, only(resampled, person), max_px, agreeing))
    seen = tuple(SeenPerson(p, tuple(t)) for p, t in zip(people, truths, strict=True))
    for one in seen:
        width = float(np.median(shoulder_widths(one.truths)))
        if not SHOULDERS_M[0] <= width <= SHOULDERS_M[1]:
            raise CalibrationError(
                f"With this calibration the shoulders of a person are {width:.3g} m apart, "
                f"expected {SHOULDERS_M[0]} to {SHOULDERS_M[1]} m. Give its unit, such as "
                "--unit-m 0.001 for millimetres."
            )
    return VideoSet(tuple(views), tuple(tuple(of_view) for of_view in frames), seen)


def find_calibration(folder: Path) -> Path:
    """Return the calibration file of a folder. Raises: DataError unless there is exactly one."""
    if not folder.is_dir():
        raise DataError(f"No folder '{folder}': expected a folder of calibrated videos.")
    for pattern in CALIBRATIONS:
        found = sorted(folder.glob(pattern))
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise DataError(f"{folder} has {names}: select one with --calibration FILE.")
        if found:
            return found[0]
    raise DataError(
        f"{folder} has no calibration: expected {', '.join(CALIBRATIONS)}, or --calibration FILE."
    )


def find_videos(folder: Path, views: Sequence[View]) -> list[Path]:
    """Return each view's video: the one whose name has the camera's name in it.

    Raises: DataError if a camera has none or several.
    """
    if not folder.is_dir():
        raise DataError(f"No folder '{folder}': expected a folder of calibrated videos.")
    videos = sorted(p for p in folder.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES)
    chosen = []
    for view in views:
        names = (view.name, view.name.replace("cam_", "port_"))
        pattern = "|".join(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])" for name in names)
        found = [path for path in videos if re.search(pattern, path.stem)]
        if len(found) != 1:
            there = ", ".join(path.name for path in found or videos) or "none"
            raise DataError(
                f"{folder}: camera {view.name} needs one video with its name, such as "
                f"{view.name}.mp4; found {there}."
            )
        chosen.append(found[0])
    return chosen


def read_times(folder: Path) -> dict[str, list[int]]:
    """Return the times [ns] of each camera's frames from a table of caliscope, if there is one.

    Raises: DataError if the table exists but has another layout.
    """
    path = next((folder / name for name in TIME_TABLES if (folder / name).is_file()), None)
    if path is None:
        return {}
    times: dict[str, list[int]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                number = row["cam_id"] if "cam_id" in row else row["port"]
                times.setdefault(f"cam_{int(number)}", []).append(
                    round(float(row["frame_time"]) * 1e9)
                )
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: expected a table of cam_id (or port) and frame_time in seconds ({error!r})."
        ) from error
    return {name: sorted(of_camera) for name, of_camera in times.items()}


def lost_frames(reader: FrameSource, by_number: bool) -> str:
    """Return a text of what a video has lost; empty if nothing.

    by_number: the times of its frames are those of a table, row by row.
    """
    missing = reader.report()
    if missing and by_number:
        missing += " The rows of its times do not match the frames after a lost one."
    return missing


def observe_at_own_times(
    frontend: Frontend, path: Path, view: View, times: Mapping[str, list[int]]
) -> list[Frame]:
    """All people that the front-end tracks in a video, at up to 45 images a second.

    times: see read_times; a video that is not in it has the times of its file. Missing parts of
    the video are logged.
    Raises: DataError if there are fewer times than frames; CalibrationError if the calibration is
    for another size.
    """
    frames: list[Frame] = []
    given = times.get(view.name)
    frontend.reset()
    with open_video(path) as reader:
        if (reader.width, reader.height) != (view.camera.width, view.camera.height):
            raise CalibrationError(
                f"{path} has {reader.width}x{reader.height} pixels, but camera {view.name} was "
                f"calibrated at {view.camera.width}x{view.camera.height}; expected the same "
                "size."
            )
        earliest = -np.inf
        for number, frame in enumerate(reader):
            if given is not None and number >= len(given):
                raise DataError(
                    f"{path} has more frames than the {len(given)} rows of its times; expected "
                    "a row for every frame."
                )
            stamp_ns = frame.stamp_ns if given is None else given[number]
            if stamp_ns < earliest:
                continue
            earliest = stamp_ns + 1e9 / MAX_RATE_HZ
            frames.append(Frame(stamp_ns, view.camera, frontend.observe(frame.rgb, stamp_ns)))
        if missing := lost_frames(reader, given is not None):
            LOGGER.warning(missing)
    return frames


def at_times(frames: Sequence[Frame], stamps_ns: np.ndarray) -> list[Frame]:
    """Return the observations of one view at other times, with interpolated keypoints.

    The visibility of a keypoint is the lower one of the frames on either side. A person who was not
    seen in both, or if these are too far apart, is not reported.
    """
    own = np.array([frame.stamp_ns for frame in frames])
    longest = MAX_GAP * float(np.median(np.diff(own))) if len(own) > 1 else 0.0
    result = []
    for stamp in stamps_ns:
        after = int(np.searchsorted(own, stamp))
        before = after if after < len(own) and own[after] == stamp else after - 1
        people: tuple[PersonObservation, ...] = ()
        if before >= 0 and after < len(own) and own[after] - own[before] <= longest:
            gap = max(1, int(own[after] - own[before]))
            people = _between(frames[before], frames[after], float(stamp - own[before]) / gap)
        camera = frames[0].camera
        result.append(Frame(int(stamp), camera, people))
    return result


def _between(first: Frame, second: Frame, share: float) -> tuple[PersonObservation, ...]:
    later = {person.track_id: person.keypoints for person in second.people}
    people = []
    for person in first.people:
        one, two = person.keypoints, later.get(person.track_id)
        if one is None or two is None:
            continue
        keypoints = Keypoints(
            points_px=one.points_px + np.float32(share) * (two.points_px - one.points_px),
            visibility=np.minimum(one.visibility, two.visibility),
            presence=np.minimum(one.presence, two.presence),
        )
        people.append(replace(person, keypoints=keypoints))
    return tuple(people)


def keypoint_names(text: str) -> tuple[str, ...]:
    """Read comma-separated names of keypoints; without a side, both. Raises: DataError."""
    names: list[str] = []
    for part in text.split(","):
        sides = [name for name in KEYPOINTS if name in (part, f"left_{part}", f"right_{part}")]
        if not sides:
            raise DataError(f"No keypoint '{part}': expected names of {', '.join(KEYPOINTS)}.")
        names += sides
    return tuple(dict.fromkeys(names))
