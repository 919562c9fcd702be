"""The command-line options for a video and its camera."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from moro_ros import assets
from moro_ros.cli.paths import user_path
from moro_ros.errors import ConfigError
from moro_ros.io.camera_file import camera_of_video, note_on_pixels
from moro_ros.io.video import open_video
from moro_ros.recover.ground import LEAST_HEIGHT_M, MOST_HEIGHT_M, GroundPlane
from moro_ros.types import Camera

SAMPLE_VIDEO, SAMPLE_CALIBRATION = "sports2d_demo.mp4", "sports2d_demo_calibration.toml"
FLOOR_EFFECT = ". Distance and size of people become more accurate, especially of children"


@dataclass(frozen=True, slots=True)
class VideoInput:
    """A video that opens, and a calibration of its size.

    focal_px or camera_file: source of the calibration, the other one is None.
    frame_count: 0 if unknown. note: a note for the user.
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
        type=user_path,
        metavar="FILE",
        help="calibration file of ROS (YAML, ini, camera_info), OpenCV (YAML) or Pose2Sim (TOML)",
    )


def video_input(path: Path | None, focal_px: float | None, camera_file: Path | None) -> VideoInput:
    """Check the options; without a path it is the sample video, downloaded if it is not cached.

    Raises: ConfigError if the user gives only one of video and calibration, VideoError if the
    video does not open, CalibrationError if the calibration is bad or for another size, AssetError
    if the sample cannot be downloaded.
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
    with open_video(path) as reader:
        camera = camera_of_video(reader, focal_px, camera_file)
        return VideoInput(
            path, focal_px, camera_file, camera, reader.frame_count, note_on_pixels(reader)
        )


def add_floor_options(parser: argparse.ArgumentParser, effect: str = FLOOR_EFFECT) -> None:
    """--camera-height and --camera-pitch; effect: end of the help text."""
    parser.add_argument(
        "--camera-height",
        type=float,
        metavar="M",
        help="height of the camera above the floor in metres" + effect,
    )
    parser.add_argument(
        "--camera-pitch",
        type=float,
        metavar="DEG",
        help="how far the camera looks down in degrees, 0 is level; needs --camera-height",
    )


def floor_below(height_m: float | None, pitch_deg: float | None) -> GroundPlane | None:
    """Return the floor of --camera-height and --camera-pitch, None if neither is given.

    Raises: ConfigError if one is missing or out of range.
    """
    if height_m is None and pitch_deg is None:
        return None
    if height_m is None or pitch_deg is None:
        raise ConfigError("--camera-height and --camera-pitch: got one, expected both or neither.")
    if not LEAST_HEIGHT_M <= height_m <= MOST_HEIGHT_M:
        raise ConfigError(
            f"--camera-height: got {height_m:g}, expected {LEAST_HEIGHT_M:g} to "
            f"{MOST_HEIGHT_M:g} metres above the floor."
        )
    if not -90.0 <= pitch_deg <= 90.0:
        raise ConfigError(
            f"--camera-pitch: got {pitch_deg:g}, expected degrees from -90 (straight up) to 90 "
            "(straight down)."
        )
    return GroundPlane.below_camera(height_m, pitch_deg)
