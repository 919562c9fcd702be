"""MarkerArray in serialised form, with the triangles of meshes written as one block.

rclpy converts point by point: 60 ms for the 63,000 corners of one mesh, under the interpreter's
lock. In CDR, points are a length and then plain doubles, so the block is put in by numpy instead.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np
from geometry_msgs.msg import Point
from rclpy.serialization import serialize_message
from visualization_msgs.msg import Marker, MarkerArray

# CDR: a 4-byte header, then aligned data; byte 1 of the header says the byte order.
_HEADER_BYTES = 4
_LITTLE_ENDIAN = 1
_LENGTH_BYTES = 4
_POINT_BYTES = 24
# A place where no body is, to be found again in the serialised message.
_SENTINEL = (-1.7e301, 2.3e301)


def serialize_markers(markers: list[Marker], triangles: Mapping[int, np.ndarray]) -> bytes:
    """Serialise a MarkerArray whose markers at some indices get the corners of triangles.

    triangles: index in markers -> corners (N, 3), N > 0, m; those markers' own points are replaced.
    """
    for index in triangles:
        markers[index].points = [Point(x=_SENTINEL[0], y=_SENTINEL[1], z=float(index))]
    wire = bytes(serialize_message(MarkerArray(markers=markers)))
    if wire[1] != _LITTLE_ENDIAN:
        raise ValueError(f"unknown serialisation {wire[:_HEADER_BYTES].hex()}; expected CDR")
    parts, end = [], 0
    for index in sorted(triangles):
        place = wire.index(struct.pack("<3d", *_SENTINEL, index), end)
        # From the marker's pose on every offset is fixed: the length is followed without padding.
        length_at = place - _LENGTH_BYTES
        parts += [
            wire[end:length_at],
            struct.pack("<I", len(triangles[index])),
            np.ascontiguousarray(triangles[index], dtype="<f8").tobytes(),
        ]
        end = place + _POINT_BYTES
    # A point is a multiple of the largest alignment, so whatever follows stays aligned.
    return b"".join([*parts, wire[end:]])
