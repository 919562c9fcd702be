"""sensor_msgs/Image to arrays and back, with the function signatures of cv_bridge."""

from __future__ import annotations

import array
from dataclasses import dataclass

import cv2
import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from moro_ros.ros import faults
from moro_ros.ros.faults import BadImage


@dataclass(frozen=True, slots=True)
class Layout:
    """How an encoding stores pixels: bytes per pixel of a row, extra rows, and the way to RGB.

    rows: rows of the buffer per image row (planar chroma adds half as many again).
    even: (horizontal, vertical) pixels that the chroma shares.
    to_rgb: cv2 conversion code, None where it is RGB already.
    """

    channels: int
    to_rgb: int | None
    rows: float = 1.0
    even: tuple[int, int] = (1, 1)


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
}


def imgmsg_to_cv2(img_msg: Image, desired_encoding: str = "passthrough") -> np.ndarray:
    """The pixels of an 8-bit image message; row padding (step) is cut off.

    desired_encoding: "rgb8" or "bgr8" gives (H, W, 3) uint8; "passthrough" gives the message's own
    layout as a view of its data, (rows, W) or (rows, W, channels) uint8.
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
    if layout.to_rgb is not None:
        rgb = cv2.cvtColor(rgb, layout.to_rgb)
    return rgb if desired_encoding == "rgb8" else cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)


def cv2_to_imgmsg(cvim: np.ndarray, encoding: str = "bgr8", header: Header | None = None) -> Image:
    """An image message of an array.

    cvim: (H, W) or (H, W, C) uint8 in the named encoding; header: copied by reference if given.
    """
    layout = LAYOUTS[encoding]
    channels = 1 if cvim.ndim == 2 else cvim.shape[2]
    if cvim.dtype != np.uint8 or channels != layout.channels:
        raise ValueError(f"{encoding} needs {layout.channels} uint8 channels, got {cvim.shape}")
    height, width = cvim.shape[:2]
    message = Image(encoding=encoding, width=width, step=width * channels)
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
    row = width * layout.channels
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
    shape, strides = (rows, width), (step, layout.channels)
    if layout.channels > 1:
        shape, strides = (*shape, layout.channels), (*strides, 1)  # type: ignore[assignment]
    return np.lib.stride_tricks.as_strided(data, shape, strides, writeable=False)
