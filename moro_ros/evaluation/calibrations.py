"""Calibrations of several cameras: files of caliscope, Pose2Sim, Anipose and Qualisys."""

from __future__ import annotations

import math
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from moro_ros.errors import CalibrationError, ConfigError
from moro_ros.evaluation.metrics import MM_PER_M
from moro_ros.evaluation.multiview import MIN_VIEWS
from moro_ros.geometry.camera_check import check_camera
from moro_ros.geometry.views import View
from moro_ros.io.camera_file import toml_camera
from moro_ros.types import Camera

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# Qualisys calibrations count 1/64 pixels and millimetres.
QCA_SUBPIXELS = 64.0
# Tolerance for a rotation matrix written with few digits.
ROTATION_TOLERANCE = 0.01
LAYOUTS = (
    "expected camera_array.toml of caliscope, Calib.toml of Pose2Sim or Anipose, or Calib.qca.txt "
    "of Qualisys"
)


def load_calibration(path: Path, unit_m: float = 1.0) -> tuple[View, ...]:
    """Read the cameras of a calibration file as OpenCV cameras, in metres.

    unit_m: length of the file's unit, in metres. Qualisys files are in millimetres by definition.
    Raises: CalibrationError if the layout is unknown or there are fewer than two cameras,
    ConfigError if unit_m is not a positive number.
    """
    if not 0.0 < unit_m < math.inf:
        raise ConfigError(f"--unit-m: got {unit_m:g}, expected a positive number.")
    views = _toml_views(path, unit_m) if path.suffix == ".toml" else _qualisys_views(path)
    for view in views:
        check_camera(view.camera, f"{path}, camera {view.name}")
    if len(views) < MIN_VIEWS:
        raise CalibrationError(f"{path} has {len(views)} cameras, expected at least {MIN_VIEWS}")
    return views


def _toml_views(path: Path, unit_m: float) -> tuple[View, ...]:
    """Read a TOML with one table for each camera; caliscope has them within [cameras]."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        tables = values.get("cameras", values)
        return tuple(
            _toml_view(key, table, unit_m, f"{path}, camera {key}")
            for key, table in tables.items()
            if isinstance(table, dict) and "matrix" in table and not table.get("ignore")
        )
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CalibrationError(f"Cannot read the calibration {path}: {error}") from error
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise CalibrationError(f"{path}: {LAYOUTS} ({error!r}).") from error


def _toml_view(key: str, table: dict[str, Any], unit_m: float, source: str) -> View:
    rotation = np.asarray(table["rotation"], np.float64)
    if rotation.shape == (3,):  # Pose2Sim and Anipose use rotation vectors
        rotation = np.asarray(cv2.Rodrigues(rotation)[0], np.float64)
    if (
        rotation.shape != (3, 3)
        or np.abs(rotation @ rotation.T - np.eye(3)).max() > ROTATION_TOLERANCE
        or np.linalg.det(rotation) < 0
    ):
        raise ValueError(f"the rotation of camera {key} is not a rotation")
    number = table.get("cam_id", table.get("port"))
    name = str(table.get("name", key)) if number is None else f"cam_{number}"
    translation = np.asarray(table["translation"], np.float64).reshape(3) * unit_m
    return View(name, toml_camera(table, source), rotation, translation)


def _qualisys_views(path: Path) -> tuple[View, ...]:
    try:
        cameras = list(ElementTree.parse(path).getroot().iter("camera"))
        return tuple(_qualisys_view(camera) for camera in cameras)
    except (OSError, ElementTree.ParseError, KeyError, ValueError, OverflowError) as error:
        raise CalibrationError(
            f"{path} is not a Qualisys calibration: {error!r}; {LAYOUTS}."
        ) from error


def _qualisys_view(camera: ElementTree.Element) -> View:
    transform, intrinsic, area = (
        _numbers(camera, tag) for tag in ("transform", "intrinsic", "fov_video")
    )
    # The principal point is that of the sensor; the video may be a part of it, in whole pixels.
    centre_u = intrinsic["centerPointU"] - QCA_SUBPIXELS * area["left"]
    centre_v = intrinsic["centerPointV"] - QCA_SUBPIXELS * area["top"]
    matrix = np.array(
        [
            [intrinsic["focalLengthU"], 0, centre_u],
            [0, intrinsic["focalLengthV"], centre_v],
            [0, 0, QCA_SUBPIXELS],
        ]
    )
    # Qualisys cameras look along -z with y up; OpenCV's look along +z with y down.
    rotation = np.diag([1.0, -1, -1]) @ [
        [transform[f"r{row}{column}"] for column in (1, 2, 3)] for row in (1, 2, 3)
    ]
    centre = np.array([transform[axis] for axis in "xyz"]) / MM_PER_M
    names = ["radialDistortion1", "radialDistortion2"]
    names += ["tangentalDistortion1", "tangentalDistortion2"]
    # Not all versions write the third, which is the last one in OpenCV.
    names += ["radialDistortion3"] * bool(intrinsic.get("radialDistortion3"))
    return View(
        name=camera.attrib["serial"],
        camera=Camera(
            matrix=matrix / QCA_SUBPIXELS,
            width=round(area["right"] - area["left"]) + 1,
            height=round(area["bottom"] - area["top"]) + 1,
            distortion=tuple(intrinsic[name] for name in names),
        ),
        rotation=rotation,
        translation=-rotation @ centre,
    )


def _numbers(camera: ElementTree.Element, tag: str) -> dict[str, float]:
    element = camera.find(tag)
    if element is None:
        raise ValueError(f"no <{tag}> in <camera>")
    return {name: float(value) for name, value in element.attrib.items()}
