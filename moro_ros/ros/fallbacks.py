"""Replaces functions of ROS packages that pip lacks, with their signatures.

cv_bridge: cv2_to_imgmsg; sensor_msgs_py: create_cloud; tf_transformations: io/tf_matrices.py.
"""

from __future__ import annotations

import array
import sys
from collections.abc import Iterable

import numpy as np
from sensor_msgs.msg import Image, PointCloud2, PointField
from std_msgs.msg import Header

from moro_ros.io.image_data import LAYOUTS


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


def create_cloud(header: Header, fields: Iterable[PointField], points: np.ndarray) -> PointCloud2:
    """A dense, unordered cloud of structured points (N,), whose type matches the fields."""
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(points).tobytes())
    step = points.dtype.itemsize
    message = PointCloud2(
        header=header,
        height=1,
        width=points.size,
        is_dense=False,
        is_bigendian=sys.byteorder != "little",
        fields=list(fields),
        point_step=step,
        row_step=step * points.size,
    )
    message.data = data
    return message
