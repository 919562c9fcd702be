"""TRC: the markers of one person for OpenSim, in millimetres."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from moro_ros.io.export.markers import MARKERS


def write_trc(path: Path, times_s: np.ndarray, markers: np.ndarray, rate_hz: float) -> None:
    """Write one person's markers; raises OSError.

    times_s: (F,), at the constant rate `rate_hz`. markers: (F, M, 3) m, as MARKERS; NaN is left
    blank, which OpenSim reads as a hidden marker.
    """
    frames = len(times_s)
    settings = {
        "DataRate": f"{rate_hz:g}",
        "CameraRate": f"{rate_hz:g}",
        "NumFrames": frames,
        "NumMarkers": len(MARKERS),
        "Units": "mm",
        "OrigDataRate": f"{rate_hz:g}",
        "OrigDataStartFrame": 1,
        "OrigNumFrames": frames,
    }
    numbers = range(1, len(MARKERS) + 1)
    head = [
        ["PathFileType", "4", "(X/Y/Z)", path.name],
        list(settings),
        [str(value) for value in settings.values()],
        ["Frame#", "Time", *(cell for name in MARKERS for cell in (name, "", ""))],
        ["", "", *(f"{axis}{number}" for number in numbers for axis in "XYZ")],
        [],
    ]
    with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
        for line in head:
            file.write("\t".join(line) + "\n")
        for frame, (time, row) in enumerate(zip(times_s, markers * 1000.0), 1):
            cells = ("" if np.isnan(value) else f"{value:.3f}" for value in row.ravel())
            # OpenSim drops a blank last cell, unless a tab follows it.
            file.write("\t".join([str(frame), f"{time:.6f}", *cells]) + "\t\n")
