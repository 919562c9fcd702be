"""Conversion between image messages and arrays of pixels."""

from __future__ import annotations

import sys
from typing import TypeAlias

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from moro_ros.io.image_data import LAYOUTS, bgr_pixels, raw_pixels
from moro_ros.ros.conversions import flat

JPEG_QUALITY = 85
AnyImage: TypeAlias = Image | CompressedImage


def image_size(message: AnyImage) -> tuple[int, int] | None:
    """Width and height in pixels; None for a compressed image, which is not decoded here.

    Raises: ImageError if a raw image's encoding is unknown or its data does not fit its size.
    """
    if isinstance(message, CompressedImage):
        return None
    raw_pixels(message)
    return message.width, message.height


def image_message(pixels: np.ndarray, encoding: str, header: Header | None = None) -> Image:
    """The message of an image, (H, W) or (H, W, C) uint8 or uint16 in the named encoding."""
    layout = LAYOUTS[encoding]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    kind = np.dtype(np.uint8 if layout.size == 1 else np.uint16)
    if pixels.dtype != kind or channels != layout.channels:
        raise ValueError(f"{encoding} needs {layout.channels} {kind} channels, got {pixels.shape}")
    height, width = pixels.shape[:2]
    message = Image(encoding=encoding, width=width, step=width * channels * layout.size)
    message.is_bigendian = sys.byteorder == "big"
    message.height = round(height / layout.rows)
    if header is not None:
        message.header = header
    message.data = flat(np.ascontiguousarray(pixels).view(np.uint8), "B")
    return message


def compressed_message(image: Image) -> CompressedImage:
    """The JPEG of an image message, as image_transport encodes it; raises ImageError."""
    _, data = cv2.imencode(".jpeg", bgr_pixels(image), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    message = CompressedImage(header=image.header, data=flat(data, "B"))
    message.format = f"{image.encoding}; jpeg compressed bgr8"
    return message
