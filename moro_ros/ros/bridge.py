"""Conversion between image messages and RGB arrays, by cv_bridge if it is installed."""

from __future__ import annotations

import array
from typing import TypeAlias

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from moro_ros.io import image_data
from moro_ros.ros import fallbacks

try:
    from cv_bridge import CvBridge

    BRIDGE: CvBridge | None = CvBridge()
except ModuleNotFoundError:
    BRIDGE = None

JPEG_QUALITY = 85
AnyImage: TypeAlias = Image | CompressedImage
# Encodings that cv_bridge converts to rgb8; it does not support the planar ones.
CV_BRIDGE_ENCODINGS = frozenset(
    (
        *("rgb8", "bgr8", "rgba8", "bgra8", "mono8", "mono16", "rgb16", "bgr16"),
        *("yuv422", "yuv422_yuy2"),
        *(f"bayer_{pattern}8" for pattern in ("rggb", "bggr", "gbrg", "grbg")),
    )
)


def image_size(message: AnyImage) -> tuple[int, int] | None:
    """Width and height in pixels; None for a compressed image, which is not decoded here.

    Raises: ImageError if a raw image's encoding is unknown or its data does not fit its size.
    """
    if isinstance(message, CompressedImage):
        return None
    image_data.imgmsg_to_cv2(message, "passthrough")
    return message.width, message.height


def rgb_pixels(message: AnyImage) -> np.ndarray:
    """The pixels of an image, (H, W, 3) uint8 RGB; raises ImageError (see image_data)."""
    if isinstance(message, CompressedImage):
        return image_data.compressed_imgmsg_to_cv2(message, "rgb8")
    if BRIDGE is not None and message.encoding in CV_BRIDGE_ENCODINGS:
        # cv_bridge does not check that the data is complete.
        image_data.imgmsg_to_cv2(message, "passthrough")
        return BRIDGE.imgmsg_to_cv2(message, "rgb8")
    return image_data.imgmsg_to_cv2(message, "rgb8")


def image_message(rgb: np.ndarray, header: Header) -> Image:
    """The rgb8 message of an RGB image (H, W, 3) uint8."""
    if BRIDGE is not None:
        return BRIDGE.cv2_to_imgmsg(rgb, "rgb8", header)
    return fallbacks.cv2_to_imgmsg(rgb, "rgb8", header)


def compressed_message(image: Image) -> CompressedImage:
    """The JPEG of an image message, as image_transport encodes it; raises ImageError."""
    bgr = cv2.cvtColor(rgb_pixels(image), cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpeg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    message = CompressedImage(header=image.header)
    message.format = f"{image.encoding}; jpeg compressed bgr8"
    # rclpy checks any other kind of sequence element by element.
    message.data = array.array("B", data.tobytes())
    return message
