"""C3D: the markers of one person for programs of gait analysis, in millimetres, by ezc3d."""

from __future__ import annotations

import errno
import math
import os
from pathlib import Path

import numpy as np

from moro_ros.errors import ConfigError
from moro_ros.io.export.axes import Axes
from moro_ros.io.export.markers import MARKERS

# A C3D file consists of blocks; a coordinate or residual is a float.
BLOCK_BYTES, FLOAT_BYTES = 512, 4
# Its header counts frames in 16 bits; the highest number has a meaning of its own.
MOST_FRAMES = 65_534


def write_c3d(path: Path, markers: np.ndarray, frame: Axes, rate_hz: float) -> None:
    """Write one person's markers at a constant rate.

    markers: (F, M, 3) m, as MARKERS; NaN is marked as invalid.
    Raises: ConfigError if there are too many frames; OSError; ModuleNotFoundError without ezc3d.
    """
    import ezc3d

    frames, count = markers.shape[:2]
    if frames > MOST_FRAMES:
        lower_hz = math.floor(100 * rate_hz * MOST_FRAMES / frames) / 100
        raise ConfigError(
            f"{path.name} would have {frames} frames, but C3D files have up to {MOST_FRAMES}: "
            f"give --fps {lower_hz:g} or less, or use moro export trc."
        )
    file = ezc3d.c3d()
    parameters = file["parameters"]["POINT"]
    parameters["RATE"]["value"] = [rate_hz]
    parameters["UNITS"]["value"] = ["mm"]
    parameters["LABELS"]["value"] = list(MARKERS)
    # The axes of the file that point right and up on a screen.
    file.add_parameter("POINT", "X_SCREEN", ["+X"])
    file.add_parameter("POINT", "Y_SCREEN", [f"+{frame.up.upper()}"])
    points = np.ones((4, count, frames))
    points[:3] = np.moveaxis(markers * 1000.0, 2, 0).swapaxes(1, 2)
    file["data"]["points"] = points
    file.write(str(path))
    # ezc3d does not report a full disk.
    if not is_complete(path, points.size):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def is_complete(path: Path, numbers: int) -> bool:
    """Return whether a C3D file is long enough for its header and a number of values."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        header = file.read(BLOCK_BYTES)
    # The ninth pair of bytes is the number of the block where the data start, from 1.
    first = int.from_bytes(header[16:18], "little")
    return first > 1 and path.stat().st_size >= (first - 1) * BLOCK_BYTES + numbers * FLOAT_BYTES
