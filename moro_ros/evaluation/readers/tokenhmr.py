"""Tracks of TokenHMR (Dwivedi et al., CVPR 2024), written by its PHALP tracker with joblib.

A dictionary by frame name, each with time (the frame's number) and lists with one entry a person:
tid, and smpl: global_orient (1, 3, 3), body_pose (23, 3, 3), betas (10,). The camera translation is
that of an assumed focal length: the place in space is not meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from moro_ros.errors import DataError
from moro_ros.evaluation.evaluator import FoundMotion
from moro_ros.evaluation.readers.bodies import Bodies, body_of, posed_joints
from moro_ros.evaluation.readers.pickles import read_pickle


def read(path: Path, bodies: Bodies) -> list[FoundMotion]:
    """Read everybody relative to the pelvis.

    Raises: DataError if the file is damaged or of another layout, BodyModelError without SMPL.
    """
    body = body_of(bodies, "smpl")
    rows: dict[int, dict[int, tuple[np.ndarray, np.ndarray]]] = {}
    tracks = read_pickle(path)
    try:
        for frame in tracks.values():
            for track_id, smpl in zip(frame["tid"], frame["smpl"]):
                rows.setdefault(int(track_id), {})[int(frame["time"])] = _parameters(smpl)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} is not a track file of TokenHMR ({error!r}); expected, by frame name, time, "
            "tid and smpl with global_orient, body_pose and betas."
        ) from error
    people = []
    for track_id, frames in sorted(rows.items()):
        numbers = sorted(frames)
        rotations = np.stack([frames[n][0] for n in numbers])
        betas = np.stack([frames[n][1] for n in numbers])
        joints = posed_joints(body, rotations, betas, np.zeros((len(numbers), 3)))
        people.append(FoundMotion(str(track_id), np.array(numbers), joints, placed=False))
    return people


def _parameters(smpl: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    root = np.asarray(smpl["global_orient"], np.float64).reshape(1, 3, 3)
    pose = np.asarray(smpl["body_pose"], np.float64).reshape(23, 3, 3)
    return np.concatenate([root, pose]), np.asarray(smpl["betas"], np.float64).reshape(10)
