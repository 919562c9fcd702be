"""Calibration files: a camera from TOML (Sports2D, Pose2Sim) or YAML (ROS camera_calibration)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from moro_ros.errors import CalibrationError
from moro_ros.types import Camera

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

OPTICAL_FRAME = "camera_optical_frame"
LAYOUTS = (
    "expected a TOML table with size, matrix and distortions, or a YAML of ROS camera_calibration "
    "with image_width, image_height and camera_matrix"
)


def load_camera(path: str | Path, frame_id: str = OPTICAL_FRAME) -> Camera:
    """Read a calibration file; of several cameras in a TOML file the first is taken.

    Raises: CalibrationError if the file is missing, of no known layout or has bad values.
    """
    path = Path(path).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text) if path.suffix == ".toml" else yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        raise CalibrationError(f"Cannot read the camera file {path}: {error}") from error
    try:
        camera = (
            _from_toml(values, frame_id) if path.suffix == ".toml" else _from_ros(values, frame_id)
        )
    except (KeyError, StopIteration, TypeError, ValueError, AttributeError) as error:
        raise CalibrationError(f"Camera file {path}: {LAYOUTS} ({error!r}).") from error
    check_camera(camera, f"Camera file {path}")
    return camera


def camera_from_focal(
    focal_px: float, width: int, height: int, frame_id: str = OPTICAL_FRAME
) -> Camera:
    """A camera without distortion whose principal point is the image centre.

    focal_px: focal length in pixels. Raises: CalibrationError if it is not positive.
    """
    matrix = np.array([[focal_px, 0.0, width / 2], [0.0, focal_px, height / 2], [0.0, 0.0, 1.0]])
    camera = Camera(matrix, width, height, frame_id=frame_id)
    check_camera(camera, "Focal length")
    return camera


def check_camera(camera: Camera, source: str) -> None:
    """Check that a calibration has finite values and positive focal lengths and size.

    source: what the message begins with. Raises: CalibrationError.
    """
    focal = camera.matrix[0, 0], camera.matrix[1, 1]
    if not np.isfinite(camera.matrix).all() or not np.isfinite(camera.distortion).all():
        raise CalibrationError(f"{source}: the intrinsics are not finite; calibrate the camera.")
    if min(focal) <= 0:
        raise CalibrationError(
            f"{source}: focal lengths are {focal[0]:g} and {focal[1]:g} px, expected positive "
            "values; calibrate the camera."
        )
    if min(camera.width, camera.height) <= 0:
        raise CalibrationError(
            f"{source}: the image size is {camera.width}x{camera.height}, expected positive."
        )


def _from_toml(values: dict[str, Any], frame_id: str) -> Camera:
    table = next(v for v in values.values() if isinstance(v, dict) and "matrix" in v)
    width, height = (int(value) for value in table["size"])
    return Camera(
        matrix=_matrix(table["matrix"]),
        width=width,
        height=height,
        distortion=_distortion(table.get("distortions", ())),
        distortion_model="equidistant" if table.get("fisheye") else "plumb_bob",
        frame_id=frame_id,
    )


def _from_ros(values: dict[str, Any], frame_id: str) -> Camera:
    name = str(values.get("distortion_model", "plumb_bob"))
    return Camera(
        matrix=_matrix(values["camera_matrix"]["data"]),
        width=int(values["image_width"]),
        height=int(values["image_height"]),
        distortion=_distortion(values.get("distortion_coefficients", {}).get("data", ())),
        distortion_model="equidistant" if name in ("equidistant", "fisheye") else "plumb_bob",
        frame_id=frame_id,
    )


def _matrix(values: Any) -> np.ndarray:
    return np.asarray(values, dtype=np.float64).reshape(3, 3)


def _distortion(values: Any) -> tuple[float, ...]:
    coefficients = tuple(float(value) for value in values)
    return coefficients if any(coefficients) else ()
