"""Calibration: the camera of the images, out of the newest camera_info."""

from __future__ import annotations

import dataclasses

from sensor_msgs.msg import CameraInfo

from moro_ros.ros import faults
from moro_ros.ros.conversions import camera_from_info, camera_key
from moro_ros.ros.faults import BadCamera
from moro_ros.types import Camera

# Where neither the image nor camera_info names its frame; TF cannot do without.
DEFAULT_FRAME = "camera_optical_frame"


class Calibration:
    """Keeps the camera, which is made anew only where camera_info or the image's frame changes."""

    def __init__(self) -> None:
        self.camera: Camera | None = None
        self._key: object = None

    def update(self, frame_id: str, info: CameraInfo | None, rectified: bool) -> bool:
        """Take up what an image comes with; returns whether the camera is another than before.

        frame_id: of the image; info: the newest camera_info; rectified: see camera_from_info.
        Raises: BadCamera if there is none or it cannot be used.
        """
        if info is None:
            raise BadCamera(
                faults.NO_CAMERA_INFO,
                "No camera_info has come yet, so the image cannot be placed in space. Remap "
                "'camera_info' to the topic on which the camera publishes it.",
            )
        key = (camera_key(info), frame_id, rectified)
        if self.camera is not None and self._key == key:
            return False
        camera = camera_from_info(info, rectified)
        changed = self.camera is not None
        frame_id = frame_id or camera.frame_id or DEFAULT_FRAME
        self.camera, self._key = dataclasses.replace(camera, frame_id=frame_id), key
        return changed
