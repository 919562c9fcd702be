"""A camera with black images, for simulated people (people: synthetic): image and camera_info."""

from __future__ import annotations

import numpy as np
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from moro_ros.io.camera_file import camera_from_focal
from moro_ros.ros.conversions import camera_info_message
from moro_ros.ros.fallbacks import cv2_to_imgmsg
from moro_ros.ros.serve import serve

FRAME, RATE_HZ = "camera_optical_frame", 30.0


class BlankCamera(Node):
    """640 x 480 black pixels at 30 Hz with a focal length of 600 pixels."""

    def __init__(self) -> None:
        super().__init__("blank_camera")
        self._images = self.create_publisher(Image, "image", qos_profile_sensor_data)
        self._infos = self.create_publisher(CameraInfo, "camera_info", qos_profile_sensor_data)
        self._camera = camera_from_focal(600.0, 640, 480, FRAME)
        self._pixels = np.zeros((480, 640, 3), np.uint8)
        self.create_timer(1.0 / RATE_HZ, self._tick)

    def _tick(self) -> None:
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=FRAME)
        self._infos.publish(camera_info_message(self._camera, header))
        self._images.publish(cv2_to_imgmsg(self._pixels, "rgb8", header))


if __name__ == "__main__":
    serve(BlankCamera, "blank_camera")
