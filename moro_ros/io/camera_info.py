"""The camera of a sensor_msgs/CameraInfo of rclpy or rosbags; without torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from moro_ros.geometry.camera_check import check_camera, distortion_of
from moro_ros.geometry.lens import part_of_camera
from moro_ros.types import Camera


def camera_of_info(info: Any, rectified: bool = False) -> Camera:
    """The camera of the images that come with a camera_info; binning and ROI are applied.

    rectified: the images are rectified, so P is used instead of K and D.
    Raises: CalibrationError if the camera is not calibrated or the calibration is invalid.
    """
    values, source = (info.p, "camera_info (P)") if rectified else (info.k, "camera_info")
    model, distortion = (
        ("plumb_bob", ()) if rectified else distortion_of(info.distortion_model, info.d, source)
    )
    camera = Camera(
        matrix=np.array(values, dtype=np.float64).reshape(3, -1)[:, :3].copy(),
        width=info.width,
        height=info.height,
        distortion=distortion,
        distortion_model=model,
        frame_id=info.header.frame_id,
    )
    check_camera(camera, source)
    roi = info.roi
    return part_of_camera(
        camera,
        (roi.x_offset, roi.y_offset, roi.width, roi.height),
        (info.binning_x, info.binning_y),
    )
