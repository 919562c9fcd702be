"""motion.npz of this project (io/recording.py): joints in the camera frame, by person."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from moro_ros.evaluation.evaluator import FoundMotion
from moro_ros.evaluation.readers.bodies import Bodies
from moro_ros.io.recording import load_recording


def read(path: Path, bodies: Bodies) -> list[FoundMotion]:
    """Read everybody; a frame's number is the place of its stamp among all images'.

    Raises: DataError if the file is missing or damaged.
    """
    recording = load_recording(path)
    stamps_ns = np.array(recording.stamps_ns)
    return [
        FoundMotion(
            str(track_id),
            np.searchsorted(stamps_ns, rows["stamps_ns"]),
            rows["joints"].astype(np.float64),
        )
        for track_id, rows in recording.people().items()
    ]
