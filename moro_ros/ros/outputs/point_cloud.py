"""PointCloud2 messages of structured arrays."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import numpy as np
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from moro_ros.ros.conversions import flat


def create_cloud(header: Header, fields: Iterable[PointField], points: np.ndarray) -> PointCloud2:
    """A dense, unordered cloud of structured points (N,), whose type matches the fields."""
    step = points.dtype.itemsize
    return PointCloud2(
        header=header,
        height=1,
        width=points.size,
        is_dense=False,
        is_bigendian=sys.byteorder != "little",
        fields=list(fields),
        point_step=step,
        row_step=step * points.size,
        data=flat(np.ascontiguousarray(points).view(np.uint8), "B"),
    )
