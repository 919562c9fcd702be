"""Images between messages and RGB arrays: through cv_bridge where there is one, else image_io."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from moro_ros.ros import image_io

try:
    from cv_bridge import CvBridge

    BRIDGE: CvBridge | None = CvBridge()
except ModuleNotFoundError:
    BRIDGE = None

AnyImage: TypeAlias = Image | CompressedImage
# What cv_bridge turns into rgb8; the planar encodings it does not know.
CV_BRIDGE_ENCODINGS = frozenset(
    (
        *("rgb8", "bgr8", "rgba8", "bgra8", "mono8", "mono16", "rgb16", "bgr16"),
        *("yuv422", "yuv422_yuy2"),
        *(f"bayer_{pattern}8" for pattern in ("rggb", "bggr", "gbrg", "grbg")),
    )
)


def image_size(message: AnyImage) -> tuple[int, int] | None:
    """Width and height in pixels; None for a compressed image, which would have to be decoded.

    Raises: BadImage if a raw image's encoding is unknown or its data does not fit its size.
    """
    if isinstance(message, CompressedImage):
        return None
    image_io.imgmsg_to_cv2(message, "passthrough")
    return message.width, message.height


def rgb_pixels(message: AnyImage) -> np.ndarray:
    """The pixels of an image, (H, W, 3) uint8 RGB; raises BadImage (see image_io)."""
    if isinstance(message, CompressedImage):
        return image_io.compressed_imgmsg_to_cv2(message, "rgb8")
    if BRIDGE is not None and message.encoding in CV_BRIDGE_ENCODINGS:
        # cv_bridge does not look whether the data is all there.
        image_io.imgmsg_to_cv2(message, "passthrough")
        return BRIDGE.imgmsg_to_cv2(message, "rgb8")
    return image_io.imgmsg_to_cv2(message, "rgb8")


def image_message(rgb: np.ndarray, header: Header) -> Image:
    """The rgb8 message of an RGB image (H, W, 3) uint8."""
    if BRIDGE is not None:
        return BRIDGE.cv2_to_imgmsg(rgb, "rgb8", header)
    return image_io.cv2_to_imgmsg(rgb, "rgb8", header)
