"""One input of `moro predict`: recover the motion, write it, draw it, summarise it."""

from __future__ import annotations

import dataclasses
import itertools
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from tqdm import tqdm

from moro_ros.cli.predict_inputs import Input, Reading
from moro_ros.cli.predict_motion import recover
from moro_ros.cli.predict_report import ESTIMATE, depth_note, facts, floor_note, person_line
from moro_ros.cli.processes import Interruption
from moro_ros.cli.progress import Progress
from moro_ros.cli.results import make_folder, write_text
from moro_ros.cli.statures import Statures
from moro_ros.config import PipelineConfig
from moro_ros.draw.overlay import OVERLAY, SHEET, write_overlay
from moro_ros.draw.report import REPORT, report_page
from moro_ros.errors import ConfigError, VideoError
from moro_ros.io.bag_depth import BagDepth, DepthUse
from moro_ros.io.bag_frames import BagFrames
from moro_ros.io.camera_file import camera_from_focal, camera_of_video, note_on_pixels
from moro_ros.io.frames import FrameSource, Part
from moro_ros.io.motion_files import CSV, TABLE, MotionFiles
from moro_ros.io.recording import OBSERVED, MotionRecording, load_recording
from moro_ros.live.focal_estimate import USUAL, estimate_focal
from moro_ros.live.pipeline import HumanMotionPipeline
from moro_ros.recover.ground import GroundPlane
from moro_ros.types import Camera, Frame

SUMMARY = "summary.json"
RESULTS = (TABLE, CSV, OVERLAY, SHEET, REPORT, SUMMARY)
# The estimate uses images at this minimum interval [ns], this many with people, out of this many.
ESTIMATE_STEP_NS, ESTIMATE_FRAMES, ESTIMATE_MOST = 30_000_000, 120, 900
Load = Callable[[], HumanMotionPipeline]
ALONE = Progress()


@dataclass(frozen=True, slots=True)
class Say:
    """Prints messages that are not warnings."""

    file: TextIO

    def __call__(self, text: str) -> None:
        print(text, file=self.file, flush=True)


@dataclass(frozen=True, slots=True)
class Job:
    """The options for every input.

    focal_px, camera_file: at most one. end_s: None for the end. refined: decode two-sided, which
    the configuration is made for.
    """

    config: PipelineConfig
    focal_px: float | None
    camera_file: Path | None
    floor: GroundPlane | None
    reading: Reading
    start_s: float
    end_s: float | None
    refined: bool
    statures: Statures

    def settings(self, one: Input, pipeline: HumanMotionPipeline) -> dict[str, Any]:
        """Return all settings that the results depend on, for JSON."""
        floor = self.floor
        camera = self.camera_file
        return {
            "input": one.identity(),
            "config": dataclasses.asdict(self.config),
            "weights_sha256": pipeline.model_sha256,
            "focal_px": self.focal_px,
            "camera_file": camera and [str(camera.resolve()), camera.read_text(errors="replace")],
            "floor": floor and [*floor.normal.tolist(), float(floor.offset)],
            "reading": dataclasses.asdict(self.reading),
            "part_s": [self.start_s, self.end_s],
            "refined": self.refined,
            "statures": [self.statures.everybody, sorted(self.statures.by_id.items())],
        }


def finished(one: Input, job: Job, folder: Path, load: Load) -> dict[str, Any] | None:
    """Return the summary of an earlier run if it was complete and would be the same again."""
    try:
        summary: dict[str, Any] = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        whole = all((folder / name).is_file() for name in summary["files"])
        # As in JSON: tuples are lists.
        settings = json.loads(json.dumps(job.settings(one, load())))
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return summary if whole and summary["settings"] == settings else None


def camera_of(source: FrameSource, one: Input, job: Job, load: Load) -> tuple[Camera, str]:
    """Return the camera of an input and the source of its calibration; raises MoroError."""
    if isinstance(source, BagFrames) and source.camera is not None:
        return source.camera, "camera_info"
    if job.focal_px is None and job.camera_file is None:
        with one.open(job.reading) as images:
            return estimated_camera(Part(images, job.start_s, job.end_s), load()), ESTIMATE
    camera = camera_of_video(source, job.focal_px, job.camera_file)
    return camera, "--focal" if job.focal_px is not None else "--camera"


def estimated_camera(part: Part, pipeline: HumanMotionPipeline) -> Camera:
    """Return a camera whose focal length is estimated from the people in the first images.

    Raises: ConfigError if they do not suffice.
    """
    start_over(pipeline)
    frames: list[Frame] = []
    newest_ns, looked = -ESTIMATE_STEP_NS, 0
    # Images with people.
    total = min(part.frame_count or ESTIMATE_FRAMES, ESTIMATE_FRAMES)
    bar = tqdm(desc="Estimating the focal length", total=total, unit="frame", disable=None)
    for shown in part:
        if shown.stamp_ns - newest_ns < ESTIMATE_STEP_NS:
            continue
        newest_ns, looked = shown.stamp_ns, looked + 1
        height, width = shown.image.shape[:2]
        camera = camera_from_focal(USUAL * max(height, width), width, height)
        frame = pipeline.observe(shown.rgb, newest_ns, camera).frame
        if frame.people:
            frames.append(dataclasses.replace(frame, image=None))
            bar.update()
        if len(frames) == ESTIMATE_FRAMES or looked == ESTIMATE_MOST:
            break
    bar.close()
    found = estimate_focal(frames, pipeline.stream)
    if found is None:
        raise ConfigError(
            "The focal length cannot be estimated, because the first images show too little of "
            f"people ({looked}): give --focal PX (for a phone's main camera about 0.75 x the "
            "longer side of the image) or --camera FILE."
        )
    return camera_from_focal(found.focal_px, frames[0].camera.width, frames[0].camera.height)


def process(
    one: Input, job: Job, out: Path, load: Load, say: Say, progress: Progress = ALONE
) -> dict[str, Any]:
    """Recover, write, draw; returns the summary, which has the exit status.

    Raises: MoroError for a problem with the input, its camera, the model or the folder.
    """
    with one.open_depth(job.reading) as recorded:
        return process_with(recorded, one, job, out, load, say, progress)


def process_with(
    recorded: BagDepth | None,
    one: Input,
    job: Job,
    out: Path,
    load: Load,
    say: Say,
    progress: Progress,
) -> dict[str, Any]:
    """As process, with the recorded depth images, if any."""
    begun_s = time.monotonic()
    with one.open(job.reading) as source:
        part = Part(source, job.start_s, job.end_s)
        camera, known_by = camera_of(source, one, job, load)
        origin_ns = source.origin_ns if isinstance(source, BagFrames) else 0
        if note := note_on_pixels(source):
            print(note, file=sys.stderr)
    notes = []
    if known_by == ESTIMATE:
        notes.append(
            f"The focal length, {camera.matrix[0, 0]:.0f} px, is an estimate from the people in "
            "the images. It is often wrong by a fifth, by more for wide or long lenses, and "
            "distances from the camera are wrong by the same factor. Give --focal PX or --camera "
            "FILE if you know it."
        )
        print(notes[0], file=sys.stderr)
    make_folder(out, "--out")
    pipeline = load()
    start_over(pipeline)
    pipeline.set_floor(job.floor)
    depth: DepthUse | None = None
    before = counters(pipeline)
    settings = job.settings(one, pipeline)
    full: OSError | None = None
    ignored: dict[int, tuple[int, str]] = {}
    with Interruption() as interruption:
        files = MotionFiles(out, overwrite=True, option="--out")
        files.camera = camera
        try:
            with one.open(job.reading) as source:
                part = Part(source, job.start_s, job.end_s)
                if recorded is not None and isinstance(source, BagFrames):
                    depth = DepthUse(recorded, pipeline.use_depth(), source.frame_id)
                try:
                    recover(
                        part,
                        origin_ns,
                        camera,
                        pipeline,
                        files,
                        interruption,
                        job.refined,
                        job.statures,
                        progress,
                        ignored,
                        depth,
                    )
                except OSError as error:
                    full = error
                missing = source.report()
            lost = files.complete()
            if files.images:
                files.place()
                # Drawings of an earlier motion do not belong to this one.
                for name in (OVERLAY, SHEET, REPORT, SUMMARY):
                    (out / name).unlink(missing_ok=True)
        finally:
            files.discard()
    if missing:
        print(missing, file=sys.stderr)
    if full or lost:
        raise ConfigError(
            f"Cannot write everything to {out} ({full or '; '.join(lost)}): it contains the "
            f"first {files.images} frames. Free disk space, or choose another --out FOLDER."
        )
    summary: dict[str, Any] = {
        "input": str(one.path),
        "kind": one.kind,
        "folder": str(out),
        "state": "interrupted",
        "exit_status": interruption.status,
        "frames": files.images,
    }
    if interruption.number:
        say(_partial(files.images, part.frame_count, out))
        return summary
    if not files.images:
        raise VideoError(f"{one.path} has no frame from {job.start_s:g} s on.")
    recording = load_recording(out / TABLE)
    people = recording.people()
    frames = "1 frame" if files.images == 1 else f"{files.images} frames"
    say(f"{frames}, {people_found(list(people))}")
    told = [floor_note(ignored)] if ignored else []
    if depth is not None:
        say(f"{depth.used[0].upper()}{depth.used[1:]}")
        told += [depth_note(depth)] if depth.unused else []
    told += job.statures.notes(list(people), together(people))
    for note in told:
        print(note, file=sys.stderr)
    notes += told
    least = job.config.tracker.min_hits
    if files.images < least:
        notes.append(
            f"A person is reported once they are seen in {least} images (tracker.min_hits); the "
            f"input has {files.images}. For single images, set it to 1 in a file for --config."
        )
        print(notes[-1], file=sys.stderr)
    try:
        with Interruption(patience=0):
            stamps_ns = np.array(recording.stamps_ns, dtype=np.int64)
            with one.open(job.reading) as source:
                part = Part(source, job.start_s, job.end_s)
                write_overlay(part, stamps_ns, recording, pipeline.stream.body, out)
    except KeyboardInterrupt:
        say(f"Interrupted: {TABLE} and {CSV} in {out} are complete, but nothing was drawn.")
        return summary | {"exit_status": 130}
    summary |= {
        "state": "complete",
        "missing": missing,
        "camera": {
            "width": camera.width,
            "height": camera.height,
            "focal_px": [float(camera.matrix[0, 0]), float(camera.matrix[1, 1])],
            "known_by": known_by,
        },
        "model": pipeline.model_name,
        "people": people_of(recording, origin_ns),
        "floor_ignored": {i: {"frames": n, "reason": why} for i, (n, why) in ignored.items()},
        "depth": depth
        and {
            "topic": depth.topic,
            "measurements": depth.measurements,
            "problems": {k: {"images": n, "text": text} for k, (n, text) in depth.problems.items()},
        },
        "counters": {name: count - before[name] for name, count in counters(pipeline).items()},
        "seconds": round(time.monotonic() - begun_s, 1),
    }
    page = report_page(
        title=one.path.name,
        notes=[*notes, missing] if missing else notes,
        facts=facts(summary, job.floor, job.statures, job.refined),
        people=[person_line(person) for person in summary["people"]],
        recording=recording,
        sheet=out / SHEET,
        origin_ns=origin_ns,
    )
    write_text(out / REPORT, page)
    summary["files"] = [TABLE, CSV, OVERLAY, SHEET, REPORT]
    summary["settings"] = settings
    write_text(out / SUMMARY, json.dumps(summary, indent=2) + "\n")
    names = sorted(path.name for path in out.iterdir() if path.is_file())
    say(f"Results in {out}: {', '.join(names)}")
    return summary


def start_over(pipeline: HumanMotionPipeline) -> None:
    """Forget all people of the previous input; ids start at 1 again."""
    pipeline.reset()
    pipeline.ignore_depth()
    pipeline.frontend.number_from(itertools.count(1))


def counters(pipeline: HumanMotionPipeline) -> dict[str, int]:
    """Return the pipeline's counters since it was loaded."""
    return {
        "ignored_people": pipeline.ignored_people,
        "unusable_poses": pipeline.unusable_poses,
        **pipeline.noticed,
    }


def people_found(ids: list[int]) -> str:
    """Return a text of the number and ids of the people found."""
    if not ids:
        return "no people found"
    words = ("person", "id") if len(ids) == 1 else ("people", "ids")
    return f"{len(ids)} {words[0]}: {words[1]} {', '.join(map(str, ids))}"


def together(people: dict[int, np.ndarray]) -> set[int]:
    """Return the ids of people who are in one image with others; people: their rows by id."""
    images: dict[int, list[int]] = {}
    for track_id, rows in people.items():
        for stamp_ns in rows["stamps_ns"].tolist():
            images.setdefault(stamp_ns, []).append(track_id)
    return {i for ids in images.values() if len(ids) > 1 for i in ids}


def people_of(recording: MotionRecording, origin_ns: int) -> list[dict[str, Any]]:
    """Return a summary of all people: times since origin_ns, distance, share of seen joints."""
    return [
        {
            "id": track_id,
            "frames": len(rows),
            "first_s": round((int(rows["stamps_ns"][0]) - origin_ns) / 1e9, 3),
            "last_s": round((int(rows["stamps_ns"][-1]) - origin_ns) / 1e9, 3),
            "distance_m": round(float(np.median(np.linalg.norm(rows["joints"][:, 0], axis=1))), 2),
            "observed": round(float((rows["state"] == OBSERVED).mean()), 3),
        }
        for track_id, rows in recording.people().items()
    ]


def _partial(frames: int, total: int, out: Path) -> str:
    """The message for an interrupted motion."""
    if not frames:
        return "Interrupted before the first frame was complete: nothing was written."
    of = f"of {total} " if total else ""
    return (
        f"Interrupted: {TABLE} and {CSV} in {out} are partial: they contain the first {frames} "
        f"{of}frames; nothing was drawn."
    )
