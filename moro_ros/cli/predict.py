"""`moro predict`: the motion in a video through the library alone, without ROS and drops."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from moro_ros.cli.processes import Interruption
from moro_ros.cli.results import make_folder
from moro_ros.cli.video_options import add_camera_options, video_input
from moro_ros.config import PipelineConfig, load_config
from moro_ros.draw.overlay import OVERLAY, SHEET, write_overlay
from moro_ros.errors import ConfigError
from moro_ros.io.motion_files import CSV, TABLE, MotionFiles
from moro_ros.io.recording import load_recording, row_of
from moro_ros.io.video import VideoReader, open_video
from moro_ros.live.motion_stream import LEAST_HEIGHT_M
from moro_ros.live.pipeline import HumanMotionPipeline, load_pipeline
from moro_ros.recover.ground import GroundPlane
from moro_ros.types import Camera


def register(subparsers: Any) -> None:
    """Add the subcommand to the `moro` command."""
    parser = subparsers.add_parser(
        "predict",
        help="recover the motion in a video, without ROS",
        description="Writes motion.npz, joints.csv, overlay.mp4 and sheet.png. Ctrl-C stops "
        "and keeps the motion so far; a second Ctrl-C exits at once.",
    )
    parser.add_argument("video", type=Path, metavar="VIDEO", help="video of a static camera")
    add_camera_options(parser)
    parser.add_argument(
        "--camera-height",
        type=float,
        metavar="M",
        help="height of the camera above the floor in metres. Distance and size of people "
        "become more accurate, children above all",
    )
    parser.add_argument(
        "--camera-pitch",
        type=float,
        metavar="DEG",
        help="how far the camera looks down in degrees, 0 is level; needs --camera-height",
    )
    parser.add_argument("--out", type=Path, default=Path("out/predict"), help="results' folder")
    parser.add_argument("--config", type=Path, help="YAML file with options of the pipeline")
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace) -> int:
    """Recover, write, draw; returns the exit status, 128 + number of the signal that ended it.

    Raises: MoroError naming what is wrong with video, camera, model or folder.
    """
    config = load_config(arguments.config) if arguments.config else PipelineConfig()
    out: Path = arguments.out
    source = video_input(arguments.video, arguments.focal, arguments.camera)
    floor = floor_below(arguments.camera_height, arguments.camera_pitch)
    make_folder(out, "--out")
    if source.note:
        print(source.note, file=sys.stderr)
    # There is time to look at everybody in every image.
    pipeline = load_pipeline(replace(config, realtime=False))
    pipeline.set_floor(floor)
    full: OSError | None = None
    with Interruption() as interruption:
        files = MotionFiles(out, overwrite=True)
        files.camera = source.camera
        try:
            with closing(open_video(source.path)) as reader:
                try:
                    recover(reader, source.camera, pipeline, files, interruption)
                except OSError as error:
                    full = error
                missing = reader.report()
            lost = files.complete()
            if files.images:
                files.place()
                # Drawings of an earlier motion do not belong to this one.
                for name in (OVERLAY, SHEET):
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
    if interruption.number:
        print(_partial(files.images, source.frame_count, out))
        return interruption.status
    recording = load_recording(out / TABLE)
    people = recording.people()
    print(f"{files.images} frames, {len(people)} people: {', '.join(map(str, people)) or '-'}")
    try:
        with Interruption(patience=0):
            stamps_ns = np.array(recording.stamps_ns, dtype=np.int64)
            write_overlay(source.path, stamps_ns, recording, pipeline.stream.body, out)
    except KeyboardInterrupt:
        print(f"Interrupted: {TABLE} and {CSV} in {out} are complete, but nothing was drawn.")
        return 130
    print(f"Results in {out}: " + ", ".join(sorted(p.name for p in out.iterdir() if p.is_file())))
    return 0


def recover(
    reader: VideoReader,
    camera: Camera,
    pipeline: HumanMotionPipeline,
    files: MotionFiles,
    interruption: Interruption,
) -> None:
    """Add everybody's motion in every frame, stamped in ns since the first one, to some files.

    Raises: OSError if they cannot grow any further.
    """
    for stamp_ns, image in tqdm(
        reader, "Recovering", reader.frame_count or None, unit="frame", disable=None
    ):
        if interruption.number:
            return
        result = pipeline.push(np.ascontiguousarray(image[..., ::-1]), stamp_ns, camera)
        files.add_image(stamp_ns)
        for motion in result.motions:
            files.add(motion.track_id, row_of(motion))


def floor_below(height_m: float | None, pitch_deg: float | None) -> GroundPlane | None:
    """Return the floor of --camera-height and --camera-pitch, None if neither is given.

    Raises: ConfigError if one is missing or out of range.
    """
    if height_m is None and pitch_deg is None:
        return None
    if height_m is None or pitch_deg is None:
        raise ConfigError("--camera-height and --camera-pitch go together: give both or neither.")
    if not LEAST_HEIGHT_M <= height_m <= 20.0:
        raise ConfigError(
            f"--camera-height: got {height_m:g}, expected {LEAST_HEIGHT_M:g} to 20 metres above "
            "the floor."
        )
    if not -90.0 <= pitch_deg <= 90.0:
        raise ConfigError(
            f"--camera-pitch: got {pitch_deg:g}, expected degrees from -90 (straight up) to 90 "
            "(straight down)."
        )
    return GroundPlane.below_camera(height_m, pitch_deg)


def _partial(frames: int, total: int, out: Path) -> str:
    """What to say of a motion that was interrupted."""
    if not frames:
        return "Interrupted before the first frame was complete: nothing was written."
    of = f"of {total} " if total else ""
    return (
        f"Interrupted: {TABLE} and {CSV} in {out} are partial: they contain the first {frames} "
        f"{of}frames; nothing was drawn."
    )
