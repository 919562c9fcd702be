"""The command-line options that name a video and its camera, and what they mean."""

from __future__ import annotations

import argparse
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from moro_ros import assets
from moro_ros.errors import ConfigError
from moro_ros.io.camera_file import camera_of_video, note_on_pixels
from moro_ros.io.video import open_video
from moro_ros.types import Camera

SAMPLE_VIDEO, SAMPLE_CALIBRATION = "sports2d_demo.mp4", "sports2d_demo_calibration.toml"


@dataclass(frozen=True, slots=True)
class VideoInput:
    """A video that opens, and a calibration of its size.

    focal_px or camera_file: where the calibration comes from, the other one is None.
    frame_count: 0 where the container does not tell. note: what a user has to know about it.
    """

    path: Path
    focal_px: float | None
    camera_file: Path | None
    camera: Camera
    frame_count: int
    note: str


def add_camera_options(parser: argparse.ArgumentParser) -> None:
    """--focal and --camera."""
    camera = parser.add_mutually_exclusive_group()
    camera.add_argument(
        "--focal",
        type=float,
        metavar="PX",
        help="focal length in pixels; for a phone's main camera about 0.75 x the longer side "
        "of the image",
    )
    camera.add_argument(
        "--camera",
        type=Path,
        metavar="FILE",
        help="calibration file of ROS (YAML, ini, camera_info), OpenCV (YAML) or Pose2Sim (TOML)",
    )


def video_input(path: Path | None, focal_px: float | None, camera_file: Path | None) -> VideoInput:
    """Check the options; without a path it is the sample video, fetched where it is not cached.

    Raises: ConfigError if video and calibration do not both come from the user, VideoError if the
    video does not open, CalibrationError if the calibration is bad or of another size, AssetError
    if the sample cannot be fetched.
    """
    calibrated = focal_px is not None or camera_file is not None
    if path is None and calibrated:
        raise ConfigError("--focal and --camera require --video PATH.")
    if path is not None and not calibrated:
        raise ConfigError(
            "The camera of the video is unknown: give --focal PX (focal length in pixels) or "
            "--camera FILE (calibration). The focal length of a phone's main camera is about "
            "0.75 x the longer side of the image, in portrait and landscape format."
        )
    if path is None:
        path, camera_file = assets.fetch(SAMPLE_VIDEO), assets.fetch(SAMPLE_CALIBRATION)
    with closing(open_video(path)) as reader:
        camera = camera_of_video(reader, focal_px, camera_file)
        return VideoInput(
            path, focal_px, camera_file, camera, reader.frame_count, note_on_pixels(reader)
        )
