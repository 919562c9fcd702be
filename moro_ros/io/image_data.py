"""Pixels of image messages, with cv_bridge's signatures; messages may be rclpy's or rosbags'."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from moro_ros.errors import ImageError

# Reasons, as they appear in the diagnostics (bad.<reason>).
ENCODING = "unknown_encoding"
EMPTY_IMAGE = "empty_image"
SHORT_DATA = "short_data"
IMAGE_LAYOUT = "image_layout"
UNDECODABLE = "undecodable"


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of an encoding: values per pixel of a row, extra rows, and the conversion to RGB.

    rows: rows of the buffer per image row (planar chroma adds half as many again).
    even: (horizontal, vertical) pixels that the chroma shares.
    to_rgb: cv2 conversion code, None for RGB.
    size: bytes of a value, 1 or 2; 16-bit values are converted to 8 bits first.
    """

    channels: int
    to_rgb: int | None
    rows: float = 1.0
    even: tuple[int, int] = (1, 1)
    size: int = 1


_UYVY = Layout(2, cv2.COLOR_YUV2RGB_UYVY, even=(2, 1))
_YUY2 = Layout(2, cv2.COLOR_YUV2RGB_YUY2, even=(2, 1))
# OpenCV names a Bayer pattern by its second row's second and third pixel, ROS by the first two
# of the first two rows: rggb is OpenCV's "BG".
LAYOUTS: dict[str, Layout] = {
    "rgb8": Layout(3, None),
    "bgr8": Layout(3, cv2.COLOR_BGR2RGB),
    "8UC3": Layout(3, cv2.COLOR_BGR2RGB),
    "rgba8": Layout(4, cv2.COLOR_RGBA2RGB),
    "bgra8": Layout(4, cv2.COLOR_BGRA2RGB),
    "mono8": Layout(1, cv2.COLOR_GRAY2RGB),
    "8UC1": Layout(1, cv2.COLOR_GRAY2RGB),
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUY2,
    "yuyv": _YUY2,
    "nv12": Layout(1, cv2.COLOR_YUV2RGB_NV12, rows=1.5, even=(2, 2)),
    "nv21": Layout(1, cv2.COLOR_YUV2RGB_NV21, rows=1.5, even=(2, 2)),
    "bayer_rggb8": Layout(1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": Layout(1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": Layout(1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": Layout(1, cv2.COLOR_BayerGB2RGB),
    "mono16": Layout(1, cv2.COLOR_GRAY2RGB, size=2),
    "16UC1": Layout(1, cv2.COLOR_GRAY2RGB, size=2),
    "rgb16": Layout(3, None, size=2),
    "bgr16": Layout(3, cv2.COLOR_BGR2RGB, size=2),
    "bayer_rggb16": Layout(1, cv2.COLOR_BayerBG2RGB, size=2),
    "bayer_bggr16": Layout(1, cv2.COLOR_BayerRG2RGB, size=2),
    "bayer_gbrg16": Layout(1, cv2.COLOR_BayerGR2RGB, size=2),
    "bayer_grbg16": Layout(1, cv2.COLOR_BayerGB2RGB, size=2),
}
# 65535 becomes 255.
DEEP_TO_8_BITS = 1.0 / 257.0


def imgmsg_to_cv2(img_msg: Any, desired_encoding: str = "passthrough") -> np.ndarray:
    """The pixels of an image message without row padding (step).

    desired_encoding: "rgb8" or "bgr8" gives (H, W, 3) uint8; "passthrough" gives the message's own
    layout as a view of its data, (rows, W) or (rows, W, channels) uint8 or uint16.
    Raises: ImageError if the encoding is unknown, there are no pixels or the data is too short.
    """
    layout = LAYOUTS.get(img_msg.encoding)
    if layout is None:
        raise ImageError(
            f"Image encoding '{img_msg.encoding}' is not supported; expected one of "
            f"{', '.join(LAYOUTS)}.",
            ENCODING,
        )
    pixels = _pixels(img_msg, layout)
    if desired_encoding in ("passthrough", img_msg.encoding):
        return pixels
    if desired_encoding not in ("rgb8", "bgr8"):
        raise ValueError(f"desired_encoding {desired_encoding!r}; expected rgb8 or bgr8")
    rgb = np.ascontiguousarray(pixels)
    if layout.size == 2:
        rgb = cv2.convertScaleAbs(rgb.astype(np.uint16, copy=False), alpha=DEEP_TO_8_BITS)
    if layout.to_rgb is not None:
        rgb = cv2.cvtColor(rgb, layout.to_rgb)
    return rgb if desired_encoding == "rgb8" else cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)


def compressed_imgmsg_to_cv2(
    cmprs_img_msg: Any, desired_encoding: str = "passthrough"
) -> np.ndarray:
    """The pixels of a JPEG or PNG image: (H, W, 3) uint8, "bgr8" (also "passthrough") or "rgb8".

    Raises: ImageError if the data is empty or not such an image.
    """
    if desired_encoding not in ("rgb8", "bgr8", "passthrough"):
        raise ValueError(f"desired_encoding {desired_encoding!r}; expected rgb8 or bgr8")
    data = np.frombuffer(cmprs_img_msg.data, dtype=np.uint8)
    if data.size == 0:
        raise ImageError("The compressed image has no data.", EMPTY_IMAGE)
    # The camera_info is for the pixels of the sensor, regardless of EXIF.
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if bgr is None:
        raise ImageError(
            f"A compressed image of {data.size} bytes and format '{cmprs_img_msg.format}' cannot "
            "be decoded; expected a complete JPEG or PNG. The transport may truncate it.",
            UNDECODABLE,
        )
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB) if desired_encoding == "rgb8" else bgr


def bgr_pixels(message: Any) -> np.ndarray:
    """The pixels of an Image or CompressedImage, (H, W, 3) uint8 BGR; raises ImageError."""
    to_cv2 = imgmsg_to_cv2 if hasattr(message, "encoding") else compressed_imgmsg_to_cv2
    return to_cv2(message, "bgr8")


def stamp_of(message: Any) -> int:
    """Return the stamp of a message with a header [ns]."""
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def _pixels(message: Any, layout: Layout) -> np.ndarray:
    width, height, step = message.width, message.height, message.step
    if width == 0 or height == 0:
        raise ImageError(f"The image is {width}x{height} pixels; expected a picture.", EMPTY_IMAGE)
    if width % layout.even[0] or height % layout.even[1]:
        raise ImageError(
            f"An image of {width}x{height} pixels cannot be {message.encoding}, whose colour is "
            f"shared by {layout.even[0]}x{layout.even[1]} pixels.",
            IMAGE_LAYOUT,
        )
    pixel = layout.channels * layout.size
    row = width * pixel
    rows = int(height * layout.rows)
    if step < row:
        raise ImageError(
            f"The image's step is {step} bytes; {width} pixels of {message.encoding} need {row}.",
            IMAGE_LAYOUT,
        )
    # The last row's padding may be missing.
    needed = step * (rows - 1) + row
    data = np.frombuffer(message.data, dtype=np.uint8)
    if data.size < needed:
        raise ImageError(
            f"The image has {data.size} bytes; {rows} rows of {step} bytes need {needed}. The "
            "driver or the transport truncates it.",
            SHORT_DATA,
        )
    shape: tuple[int, ...] = (rows, width)
    strides: tuple[int, ...] = (step, pixel)
    if layout.channels > 1:
        shape, strides = (*shape, layout.channels), (*strides, layout.size)
    kind: np.dtype = np.dtype(np.uint8)
    if layout.size == 2:
        kind = np.dtype(">u2" if message.is_bigendian else "<u2")
    pixels: np.ndarray = np.ndarray(shape, kind, message.data, strides=strides)
    pixels.flags.writeable = False
    return pixels
