"""Image messages to arrays and back, with cv_bridge's signatures, where that is not installed."""

from __future__ import annotations

import array
import sys
from dataclasses import dataclass

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from moro_ros.ros import faults
from moro_ros.ros.faults import BadImage


@dataclass(frozen=True, slots=True)
class Layout:
    """How an encoding stores pixels: values per pixel of a row, extra rows, and the way to RGB.

    rows: rows of the buffer per image row (planar chroma adds half as many again).
    even: (horizontal, vertical) pixels that the chroma shares.
    to_rgb: cv2 conversion code, None where it is RGB already.
    size: bytes of a value, 1 or 2; what is 16 bits deep is brought to 8 bits first.
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


def imgmsg_to_cv2(img_msg: Image, desired_encoding: str = "passthrough") -> np.ndarray:
    """The pixels of an image message; row padding (step) is cut off.

    desired_encoding: "rgb8" or "bgr8" gives (H, W, 3) uint8; "passthrough" gives the message's own
    layout as a view of its data, (rows, W) or (rows, W, channels) uint8 or uint16.
    Raises: BadImage if the encoding is unknown, there are no pixels or the data is too short.
    """
    layout = LAYOUTS.get(img_msg.encoding)
    if layout is None:
        raise BadImage(
            faults.ENCODING,
            f"Image encoding '{img_msg.encoding}' is not supported; expected one of "
            f"{', '.join(LAYOUTS)}.",
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
    cmprs_img_msg: CompressedImage, desired_encoding: str = "passthrough"
) -> np.ndarray:
    """The pixels of a JPEG or PNG image: (H, W, 3) uint8, "bgr8" (also "passthrough") or "rgb8".

    Raises: BadImage if the data is empty or no such image.
    """
    if desired_encoding not in ("rgb8", "bgr8", "passthrough"):
        raise ValueError(f"desired_encoding {desired_encoding!r}; expected rgb8 or bgr8")
    data = np.frombuffer(cmprs_img_msg.data, dtype=np.uint8)
    if data.size == 0:
        raise BadImage(faults.EMPTY_IMAGE, "The compressed image holds no data.")
    # The camera_info is for the pixels as the sensor gave them, whatever EXIF says.
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if bgr is None:
        raise BadImage(
            faults.UNDECODABLE,
            f"A compressed image of {data.size} bytes and format '{cmprs_img_msg.format}' cannot "
            "be decoded; expected a whole JPEG or PNG. The transport may cut it off.",
        )
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB) if desired_encoding == "rgb8" else bgr


def cv2_to_imgmsg(cvim: np.ndarray, encoding: str = "bgr8", header: Header | None = None) -> Image:
    """An image message of an array.

    cvim: (H, W) or (H, W, C) uint8 or uint16 in the named encoding; header: copied by
        reference if given.
    """
    layout = LAYOUTS[encoding]
    channels = 1 if cvim.ndim == 2 else cvim.shape[2]
    kind = np.dtype(np.uint8 if layout.size == 1 else np.uint16)
    if cvim.dtype != kind or channels != layout.channels:
        raise ValueError(f"{encoding} needs {layout.channels} {kind} channels, got {cvim.shape}")
    height, width = cvim.shape[:2]
    message = Image(encoding=encoding, width=width, step=width * channels * layout.size)
    message.is_bigendian = sys.byteorder == "big"
    message.height = round(height / layout.rows)
    if header is not None:
        message.header = header
    # rclpy checks any other kind of sequence element by element: 400 times slower.
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(cvim).data.cast("B"))
    message.data = data
    return message


def _pixels(message: Image, layout: Layout) -> np.ndarray:
    width, height, step = message.width, message.height, message.step
    if width == 0 or height == 0:
        raise BadImage(
            faults.EMPTY_IMAGE, f"The image is {width}x{height} pixels; expected a picture."
        )
    if width % layout.even[0] or height % layout.even[1]:
        raise BadImage(
            faults.IMAGE_LAYOUT,
            f"An image of {width}x{height} pixels cannot be {message.encoding}, whose colour is "
            f"shared by {layout.even[0]}x{layout.even[1]} pixels.",
        )
    pixel = layout.channels * layout.size
    row = width * pixel
    rows = int(height * layout.rows)
    if step < row:
        raise BadImage(
            faults.IMAGE_LAYOUT,
            f"The image's step is {step} bytes; {width} pixels of {message.encoding} take {row}.",
        )
    # The last row's padding may be left out.
    needed = step * (rows - 1) + row
    data = np.frombuffer(message.data, dtype=np.uint8)
    if data.size < needed:
        raise BadImage(
            faults.SHORT_DATA,
            f"The image holds {data.size} bytes; {rows} rows of {step} bytes take {needed}. The "
            "driver or the transport cuts it off.",
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
