"""Conversion of camera_info and stamps; without torch, which is slow to load."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from moro_ros.errors import CalibrationError
from moro_ros.ros import faults
from moro_ros.types import Camera

# Coefficients of sensor_msgs' plumb_bob; OpenCV's longer models are its rational_polynomial.
PLUMB_BOB = 5


def stamp_to_ns(stamp: Time) -> int:
    """A message stamp in ns."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def ns_to_stamp(stamp_ns: int) -> Time:
    """The message stamp of a time in ns."""
    return Time(sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000)


def camera_key(info: CameraInfo) -> tuple[object, ...]:
    """The fields of a camera_info that define the camera: all except the stamp."""
    roi = info.roi
    return (
        info.header.frame_id, info.width, info.height, tuple(info.k), tuple(info.p), tuple(info.d),
        info.distortion_model, info.binning_x, info.binning_y,
        roi.x_offset, roi.y_offset, roi.width, roi.height,
    )  # fmt: skip


def check_size(camera: Camera, width: int, height: int) -> None:
    """Check that an image has the size of its calibration; raises CalibrationError."""
    if (width, height) != (camera.width, camera.height):
        raise CalibrationError(
            f"The image is {width}x{height} pixels but camera_info is for "
            f"{camera.width}x{camera.height}; publish the camera_info of this image size.",
            faults.CAMERA_SIZE,
        )


def camera_info_message(camera: Camera, header: Header) -> CameraInfo:
    """The camera_info of an unrectified camera; P repeats K (no rectified image is offered)."""
    message = CameraInfo(header=header, width=camera.width, height=camera.height)
    message.k = camera.matrix.astype(np.float64).ravel()
    message.r = np.eye(3).ravel()
    message.p = np.hstack([camera.matrix, np.zeros((3, 1))]).ravel()
    rational = camera.distortion_model == "plumb_bob" and len(camera.distortion) > PLUMB_BOB
    message.distortion_model = "rational_polynomial" if rational else camera.distortion_model
    message.d = list(camera.distortion) or [0.0] * PLUMB_BOB
    return message
