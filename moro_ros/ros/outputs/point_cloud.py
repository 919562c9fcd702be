"""Replaces sensor_msgs_py, with its function signature, if it is not installed."""

from __future__ import annotations

import array
import sys
from collections.abc import Iterable

import numpy as np
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header


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
