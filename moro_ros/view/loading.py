"""open_results: the results at a path, from any program of moro_ros."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from moro_ros.body.body_model import BodyModel
from moro_ros.errors import ConfigError, VideoError
from moro_ros.io.export.bodies import check_body
from moro_ros.io.motion_bag import has_motion, read_motion_bag
from moro_ros.io.motion_files import TABLE
from moro_ros.io.pictures import VideoPictures
from moro_ros.io.recording import MotionRecording, load_recording
from moro_ros.view.result import Result, recorded_result

BAG = "motion.mcap"
# motion.mcap and motion.npz of one recording differ by less in their time [s].
SAME_RECORDING_S = 60.0
# The reports of moro demo and moro predict about their video, below the folder of results.
DEMO, PREDICT = Path("logs") / "video.json", "summary.json"
LONGEST_NS = 10**15
KINDS = "motion.npz, motion.mcap, a rosbag2 folder, or the folder of moro demo or moro predict"


def open_results(path: Path, video: Path | None, body: BodyModel) -> list[Result]:
    """Read the motion at a path.

    Of a folder, motion.mcap rather than motion.npz, unless it has no people or is of an earlier
    recording.
    video: the one that the motion was recovered from, if it is known.
    Raises: ConfigError if there is no motion at the path, DataError if it cannot be read or has no
    people, VideoError if the video does not open.
    """
    path = path.expanduser()
    if not path.exists():
        raise ConfigError(f"There is no {path}: expected {KINDS}.")
    file = file_of(path)
    name = path.name if file == path or not path.name else f"{path.name}/{file.name}"
    if file.suffix == ".npz":
        recording = load_recording(file)
        video_pictures = pictures_of(file.parent, video, recording)
        results = [recorded_result(name, recording, file, video_pictures)]
        checked = [recording]
    else:
        results, checked = [], []
        for motion in read_motion_bag(file):
            if results and not motion.recording.people():
                continue
            pictures = motion.pictures
            if pictures is None or video is not None:
                pictures = pictures_of(file.parent, video, motion.recording)
            named = name if not results else motion.topic
            results.append(recorded_result(named, motion.recording, file, pictures, motion))
            checked.append(motion.recording)
    for recording in checked:
        check_body(recording, list(recording.people()), body)
    return results


def file_of(path: Path) -> Path:
    """Return the file to read at a path; raises ConfigError if it has no motion."""
    if path.is_file():
        if path.suffix not in (".npz", ".mcap", ".db3"):
            raise ConfigError(f"{path} is none of {KINDS}.")
        return path
    bag, table = path / BAG, path / TABLE
    if table.is_file() and not (bag.is_file() and _belongs(bag, table)):
        return table
    if bag.is_file():
        return bag
    if any(path.glob("*.mcap")) or any(path.glob("*.db3")):
        return path
    raise ConfigError(f"{path} contains no motion: expected {KINDS}.")


def _belongs(bag: Path, table: Path) -> bool:
    """Return whether a recording has the motion of a table, and not that of an earlier run."""
    older_s = table.stat().st_mtime - bag.stat().st_mtime
    return older_s < SAME_RECORDING_S and has_motion(bag)


def pictures_of(
    folder: Path, video: Path | None, recording: MotionRecording
) -> VideoPictures | None:
    """Return the pictures of a video, or of the one that was recorded in a folder of results."""
    stamps_ns = recording.stamps_ns
    if not stamps_ns:
        return None
    if video is not None:
        # The stamps of moro predict are times of the video, others are from a clock.
        start_ns = stamps_ns[0] if stamps_ns[0] > LONGEST_NS else 0
        return VideoPictures(video, _demo_stamps(folder, video, stamps_ns), start_ns)
    found = _demo_video(folder, stamps_ns) or _predict_video(folder)
    try:
        return VideoPictures(*found) if found else None
    except VideoError:
        return None


def _demo_video(folder: Path, stamps_ns: list[int]) -> tuple[Path, list[int]] | None:
    """The video that moro demo played, and its frames' stamps [ns]."""
    report = _report(folder / DEMO)
    video = report.get("video")
    frames_ns = _demo_stamps(folder, None, stamps_ns)
    return (Path(video), frames_ns) if isinstance(video, str) and frames_ns else None


def _demo_stamps(folder: Path, video: Path | None, stamps_ns: list[int]) -> list[int]:
    """The stamps of the frames that moro demo played [ns], if it was this video and this motion."""
    report = _report(folder / DEMO)
    frames_ns = report.get("stamps_ns")
    if video is not None and report.get("video") != str(video.resolve()):
        return []
    if not isinstance(frames_ns, list) or set(frames_ns).isdisjoint(stamps_ns):
        return []
    return frames_ns


def _predict_video(folder: Path) -> tuple[Path, list[int]] | None:
    """The video that moro predict processed; its own times are the stamps."""
    report = _report(folder / PREDICT)
    try:
        video = Path(report["settings"]["input"][0])
    except (LookupError, TypeError):
        return None
    return (video, []) if report.get("kind") == "video" else None


def _report(path: Path) -> dict[str, Any]:
    """A report in JSON; empty if there is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
