"""Calibration: the camera of the images, out of the newest camera_info."""

from __future__ import annotations

import dataclasses
import time
from collections import deque

import numpy as np
from sensor_msgs.msg import CameraInfo

from moro_ros.geometry.lens import image_points
from moro_ros.ros import faults
from moro_ros.ros.conversions import camera_from_info, camera_key
from moro_ros.ros.faults import BadCamera
from moro_ros.ros.parameters import NodeConfig
from moro_ros.types import Camera

# Where neither the image nor camera_info names its frame; TF cannot do without.
DEFAULT_FRAME = "camera_optical_frame"
# Points per side of the grid on which distortions are compared.
GRID = 5
# So many restarts in so many seconds are no matter of somebody who calibrates a camera.
FLAPPING, FLAPPING_S = 3, 10.0


class Calibration:
    """Keeps the camera, which is made anew only where camera_info or the image's frame changes.

    Small changes, as of a lens that focuses by itself, are followed; a greater one is another
    camera.
    """

    def __init__(self) -> None:
        self.camera: Camera | None = None
        self._key: object = None
        self._replaced: deque[tuple[float, object]] = deque(maxlen=2 * FLAPPING)

    @property
    def flapping(self) -> str:
        """Why the calibration keeps changing, in words; empty as a rule."""
        newest = [key for at_s, key in self._replaced if time.monotonic() - at_s < FLAPPING_S]
        if len(newest) < FLAPPING:
            return ""
        text = f"camera_info changed {len(newest)} times in {FLAPPING_S:.0f} s and "
        if len(set(newest)) < len(newest):
            return text + (
                "returned to what it was: two drivers publish on one topic, or one driver "
                "alternates between two calibrations. Give each camera its own topic."
            )
        return text + (
            "never returned to what it was: the driver zooms, or repeats its calibration. "
            "Fix the zoom, or raise camera_info_focal_change and camera_info_center_change."
        )

    def update(self, frame_id: str, info: CameraInfo | None, options: NodeConfig) -> str:
        """Take up what an image comes with; returns what makes it another camera than before.

        frame_id: of the image; info: the newest camera_info. Empty: it is the same camera, or the
        first one.
        Raises: BadCamera if there is no camera_info or it cannot be used.
        """
        if info is None:
            raise BadCamera(
                faults.NO_CAMERA_INFO,
                "No camera_info has come yet, so the image cannot be placed in space. Remap "
                "'camera_info' to the topic on which the camera publishes it.",
            )
        key = (camera_key(info), frame_id, options.rectified)
        if self.camera is not None and self._key == key:
            return ""
        camera = camera_from_info(info, options.rectified)
        frame_id = frame_id or camera.frame_id or DEFAULT_FRAME
        before, self.camera = self.camera, dataclasses.replace(camera, frame_id=frame_id)
        self._key = key
        change = "" if before is None else change_of(before, self.camera, options)
        if change:
            self._replaced.append((time.monotonic(), key))
        return change


def change_of(before: Camera, after: Camera, options: NodeConfig) -> str:
    """What makes a camera another one, in words; empty if the difference is small.

    Small: what options.camera_info_focal_change (share of the focal length) and
    camera_info_center_change (share of the image) allow. The latter holds for the principal point
    and for how far distortion moves any point of the image.
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
    """How far the distortion of `after` moves points from where that of `before` has them, px.

    The most of a grid over the image; both must have the same distortion model.
    """
    if before.distortion == after.distortion:
        return 0.0
    x, y = np.linspace(0, before.width - 1, GRID), np.linspace(0, before.height - 1, GRID)
    pixels = np.stack([*np.meshgrid(x, y), np.ones((GRID, GRID))], axis=-1).reshape(-1, 3)
    rays = pixels @ np.linalg.inv(before.matrix).T
    bent = dataclasses.replace(before, distortion=after.distortion)
    shift = image_points(rays, bent) - image_points(rays, before)
    return float(np.nan_to_num(np.linalg.norm(shift, axis=1), nan=np.inf).max())
