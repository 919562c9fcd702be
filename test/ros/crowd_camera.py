"""The camera of a fake node in a namespace of its own, which shows as many people as it is told."""

from __future__ import annotations

from typing import Any

import numpy as np
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from moro_ros.io.camera_file import camera_from_focal
from moro_ros.ros.conversions import camera_info_message
from moro_ros.ros.fallbacks import cv2_to_imgmsg


class Camera:
    """Publishes image and camera_info."""

    def __init__(self, client: Any, namespace: str, frame_id: str = "lens") -> None:
        self._client, self._frame_id = client, frame_id
        create = client.node.create_publisher
        self._images = create(Image, f"{namespace}/image", 10)
        self._infos = create(CameraInfo, f"{namespace}/camera_info", 10)

    def show(self, people: int) -> None:
        """Send an image and serve callbacks for a moment."""
        header = Header(stamp=self._client.node.get_clock().now().to_msg(), frame_id=self._frame_id)
        self._infos.publish(camera_info_message(camera_from_focal(100.0, 64, 48), header))
        pixels = np.full((48, 64, 3), people, np.uint8)
        self._images.publish(cv2_to_imgmsg(pixels, "bgr8", header))
        self._client.spin(0.05)

    def close(self) -> None:
        for publisher in (self._images, self._infos):
            self._client.node.destroy_publisher(publisher)
