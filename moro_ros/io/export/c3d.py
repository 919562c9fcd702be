"""C3D: the markers of one person for programs of gait analysis, in millimetres, by ezc3d."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from moro_ros.io.export.axes import Axes
from moro_ros.io.export.markers import MARKERS


def write_c3d(path: Path, markers: np.ndarray, frame: Axes, rate_hz: float) -> None:
    """Write one person's markers at a constant rate.

    markers: (F, M, 3) m, as MARKERS; what is NaN is marked as invalid.
    Raises: OSError; ModuleNotFoundError without ezc3d.
    """
    import ezc3d

    frames, count = markers.shape[:2]
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
