"""`moro predict`: the motion in a video through the library alone, without ROS and drops."""

from __future__ import annotations

import argparse
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from moro_ros.config import PipelineConfig, load_config
from moro_ros.errors import ConfigError
from moro_ros.inference.pipeline import HumanMotionPipeline, load_pipeline
from moro_ros.inference.recording import CSV_HEADER, MotionRecording, csv_lines, row_of
from moro_ros.inference.video import VideoReader, open_video
from moro_ros.tools.overlay import write_overlay
from moro_ros.tools.video_options import add_camera_options, video_input
from moro_ros.types import Camera


def register(subparsers: Any) -> None:
    """Add the subcommand to the `moro` command."""
    parser = subparsers.add_parser(
        "predict",
        help="recover the motion in a video without ROS",
        description="Writes motion.npz, joints.csv, overlay.mp4 and sheet.png.",
    )
    parser.add_argument("video", type=Path, metavar="VIDEO", help="video of a static camera")
    add_camera_options(parser)
    parser.add_argument("--out", type=Path, default=Path("out/predict"), help="results' folder")
    parser.add_argument("--config", type=Path, help="YAML of the pipeline's options")
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace) -> None:
    """Recover, write, draw. Raises: MoroError naming what is wrong with video, camera or model."""
    config = load_config(arguments.config) if arguments.config else PipelineConfig()
    out: Path = arguments.out
    source = video_input(arguments.video, arguments.focal, arguments.camera)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"Cannot write to {out} ({error}); choose another --out.") from error
    # There is time to look at everybody in every image.
    config = replace(config, detector=replace(config.detector, look_share=0.0))
    pipeline = load_pipeline(config)
    with closing(open_video(source.path)) as reader:
        recording, stamps_ns = recover(reader, source.camera, pipeline)
    recording.save(out / "motion.npz")
    save_csv(recording, out / "joints.csv")
    write_overlay(source.path, stamps_ns, recording, pipeline.stream.body, out)
    people = recording.people()
    print(f"{len(stamps_ns)} frames, {len(people)} people: {', '.join(map(str, people)) or '-'}")
    print(f"Results in {out}: " + ", ".join(sorted(p.name for p in out.iterdir() if p.is_file())))


def recover(
    reader: VideoReader, camera: Camera, pipeline: HumanMotionPipeline
) -> tuple[MotionRecording, np.ndarray]:
    """Everybody's motion in every frame, and the frames' stamps (N,) int64 ns from 0."""
    recording = MotionRecording(camera)
    for index, image in enumerate(
        tqdm(reader, "Recovering", reader.frame_count or None, unit="frame", disable=None)
    ):
        stamp_ns = round(index * 1e9 / reader.rate_hz)
        result = pipeline.push(np.ascontiguousarray(image[..., ::-1]), stamp_ns, camera)
        recording.stamps_ns.append(stamp_ns)
        for motion in result.motions:
            recording.add(motion.track_id, row_of(motion))
    return recording, np.array(recording.stamps_ns, dtype=np.int64)


def save_csv(recording: MotionRecording, path: Path) -> None:
    """Write joints.csv, person by person."""
    with path.open("w", encoding="utf-8") as file:
        file.write(CSV_HEADER)
        for track_id, rows in recording.people().items():
            file.writelines(csv_lines(track_id, row) for row in rows)
