"""CSV: the recorded joints of one person as a wide table, or of all people as a long one."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.io.export.tracks import Track
from moro_ros.io.recording import STATE_NAMES

LONG_HEADER = ("time", "id", "joint", "x", "y", "z", "confidence", "state")
WIDE_HEADER = ("time", "id", *(f"{name}_{axis}" for name in JOINT_NAMES for axis in "xyz"))


def write_long(path: Path, tracks: Sequence[Track]) -> None:
    """Write one line per joint, person by person, with LONG_HEADER; raises OSError.

    Times in s since the recording's first image, positions in m.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(LONG_HEADER)
        for track in tracks:
            for frame, time in enumerate(track.times_s):
                for joint, name in enumerate(JOINT_NAMES):
                    table.writerow(
                        [
                            f"{time:.6f}",
                            track.track_id,
                            name,
                            *(f"{value:.4f}" for value in track.joints[frame, joint]),
                            f"{track.confidence[frame, joint]:.3f}",
                            STATE_NAMES[track.state[frame, joint]],
                        ]
                    )


def write_wide(path: Path, tracks: Sequence[Track]) -> None:
    """Write one line per frame and person, with WIDE_HEADER, as write_long; raises OSError."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(WIDE_HEADER)
        for track in tracks:
            for time, joints in zip(track.times_s, track.joints, strict=True):
                values = (f"{value:.4f}" for value in joints.ravel())
                table.writerow([f"{time:.6f}", track.track_id, *values])
