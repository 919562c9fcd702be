"""Calibration: the camera of the images, from the newest camera_info."""

from __future__ import annotations

import dataclasses
import time
from collections import deque

import numpy as np
from sensor_msgs.msg import CameraInfo

from moro_ros.errors import CalibrationError
from moro_ros.geometry.lens import image_points
from moro_ros.io.camera_info import camera_of_info
from moro_ros.ros import faults
from moro_ros.ros.conversions import camera_key
from moro_ros.ros.parameters import NodeConfig
from moro_ros.types import Camera

# Used if neither the image nor camera_info has a frame_id, because TF requires one.
DEFAULT_FRAME = "camera_optical_frame"
# Points per side of the grid on which distortions are compared.
GRID = 5
# This many restarts within this time [s] are more than a user who calibrates the camera causes.
FLAPPING, FLAPPING_S = 3, 10.0


class Calibration:
    """Keeps the camera, which is replaced only if camera_info or the image's frame changes.

    Small changes, such as those of autofocus, are applied. A larger change counts as another
    camera.
    """

    def __init__(self) -> None:
        self.camera: Camera | None = None
        self._key: object = None
        self._replaced: deque[tuple[float, object]] = deque(maxlen=2 * FLAPPING)

    @property
    def flapping(self) -> str:
        """A text of why the calibration keeps changing; usually empty."""
        newest = [key for at_s, key in self._replaced if time.monotonic() - at_s < FLAPPING_S]
        if len(newest) < FLAPPING:
            return ""
        text = f"camera_info changed {len(newest)} times in {FLAPPING_S:.0f} s and "
        if len(set(newest)) < len(newest):
            return text + (
                "returned to earlier values: two drivers publish on one topic, or one driver "
                "alternates between two calibrations. Give each camera its own topic."
            )
        return text + (
            "never returned to earlier values: the driver zooms or recalibrates repeatedly. "
            "Fix the zoom, or raise camera_info_focal_change and camera_info_center_change."
        )

    def update(self, frame_id: str, info: CameraInfo | None, options: NodeConfig) -> str:
        """Update the camera for an image; returns a text of how the camera changed.

        frame_id: of the image; info: the newest camera_info. The text is empty if the camera is the
        same or the first one.
        Raises: CalibrationError if there is no camera_info or it cannot be used.
        """
        if info is None:
            raise CalibrationError(
                "No camera_info was received yet, so the image cannot be placed in space. Remap "
                "'camera_info' to the topic on which the camera publishes it.",
                faults.NO_CAMERA_INFO,
            )
        key = (camera_key(info), frame_id, options.rectified)
        if self.camera is not None and self._key == key:
            return ""
        camera = camera_of_info(info, options.rectified)
        # TF frame names have no leading slash, but drivers ported from ROS 1 still use one.
        frame_id = frame_id.lstrip("/") or camera.frame_id.lstrip("/") or DEFAULT_FRAME
        before, self.camera = self.camera, dataclasses.replace(camera, frame_id=frame_id)
        self._key = key
        change = "" if before is None else change_of(before, self.camera, options)
        if change:
            self._replaced.append((time.monotonic(), key))
        return change


def change_of(before: Camera, after: Camera, options: NodeConfig) -> str:
    """A text of how two cameras differ; empty if the difference is small.

    Small is up to options.camera_info_focal_change (relative to the focal length) and
    camera_info_center_change (relative to the image size). The latter applies to the principal
    point and to the displacement of any point of the image by distortion.
    """
    if (before.width, before.height) != (after.width, after.height):
        return f"from {before.width}x{before.height} to {after.width}x{after.height} pixels"
    if before.frame_id != after.frame_id:
        return f"from frame '{before.frame_id}' to '{after.frame_id}'"
    if before.distortion_model != after.distortion_model:
        return f"from {before.distortion_model} to {after.distortion_model}"
    size = np.array([after.width, after.height], float)
    focal = np.diag(before.matrix)[:2], np.diag(after.matrix)[:2]
    if np.abs(focal[1] / focal[0] - 1.0).max() >= options.camera_info_focal_change:
        return f"focal length from {focal[0][0]:.1f} to {focal[1][0]:.1f} px"
    moved = np.abs(after.matrix[:2, 2] - before.matrix[:2, 2])
    if (moved / size).max() >= options.camera_info_center_change:
        return f"principal point moved by {np.hypot(*moved):.1f} px"
    bent = distortion_shift(before, after)
    if bent >= options.camera_info_center_change * size.max():
        return f"distortion moves points by up to {bent:.1f} px"
    return ""


def distortion_shift(before: Camera, after: Camera) -> float:
    """Largest displacement of points between the distortions of two cameras, px.

    It is the maximum over a grid on the image; both must have the same distortion model.
    """
    if before.distortion == after.distortion:
        return 0.0
    x, y = np.linspace(0, before.width - 1, GRID), np.linspace(0, before.height - 1, GRID)
    pixels = np.stack([*np.meshgrid(x, y), np.ones((GRID, GRID))], axis=-1).reshape(-1, 3)
    rays = pixels @ np.linalg.inv(before.matrix).T
    bent = dataclasses.replace(before, distortion=after.distortion)
    shift = image_points(rays, bent) - image_points(rays, before)
    return float(np.nan_to_num(np.linalg.norm(shift, axis=1), nan=np.inf).max())
