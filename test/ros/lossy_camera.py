"""A camera as drivers come: the middleware's own profile, large images. Run with python -m.

Arguments: reliable or best_effort; then those of ROS. It publishes until it is killed.
"""

from __future__ import annotations

import os
import sys
import time

import numpy as np

for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
    os.environ.pop(name, None)

import rclpy  # noqa: E402 - it must not see the profile
from rclpy.qos import QoSProfile, ReliabilityPolicy  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image  # noqa: E402

from moro_ros.io.camera_file import camera_from_focal  # noqa: E402
from moro_ros.ros.conversions import camera_info_message  # noqa: E402
from moro_ros.ros.fallbacks import cv2_to_imgmsg  # noqa: E402

WIDTH, HEIGHT, RATE_HZ = 1280, 720, 10.0


def main(reliability: str, arguments: list[str]) -> None:
    """Publish until the end."""
    rclpy.init(args=arguments)
    node = rclpy.create_node("lossy_camera")
    qos = QoSProfile(depth=5, reliability=ReliabilityPolicy[reliability.upper()])
    images = node.create_publisher(Image, "image", qos)
    infos = node.create_publisher(CameraInfo, "camera_info", 5)
    image = cv2_to_imgmsg(np.ones((HEIGHT, WIDTH, 3), np.uint8), "bgr8")
    info = camera_info_message(camera_from_focal(900.0, WIDTH, HEIGHT, "lens"), image.header)
    while rclpy.ok():
        image.header.stamp = info.header.stamp = node.get_clock().now().to_msg()
        infos.publish(info)
        images.publish(image)
        time.sleep(1.0 / RATE_HZ)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
