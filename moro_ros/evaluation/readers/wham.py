"""wham_output.pkl of WHAM (Shin et al., CVPR 2024), written by joblib.

A dictionary by person of pose (F, 72) rotation vectors of SMPL, trans (F, 3) m, betas (F, 10) and
verts (F, 6890, 3) m, all in the camera frame, frame_ids (F,), and pose_world, trans_world.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from moro_ros.evaluation.evaluator import FoundMotion
from moro_ros.evaluation.readers.bodies import Bodies, body_of, posed_joints
from moro_ros.evaluation.readers.layout import arrays_of
from moro_ros.evaluation.readers.pickles import read_pickle

LAYOUT = {"pose": (72,), "trans": (3,), "betas": (10,), "frame_ids": ()}


def read(path: Path, bodies: Bodies) -> list[FoundMotion]:
    """Read everybody in the camera frame.

    Raises: DataError if the file is damaged or of another layout, BodyModelError without SMPL.
    """
    body = body_of(bodies, "smpl")
    people = []
    for person, values in read_pickle(path).items():
        arrays = arrays_of(path, values, LAYOUT)
        rotations = Rotation.from_rotvec(arrays["pose"].reshape(-1, 3)).as_matrix()
        joints = posed_joints(
            body, rotations.reshape(-1, 24, 3, 3), arrays["betas"], arrays["trans"]
        )
        vertices = values.get("verts")
        people.append(
            FoundMotion(
                str(person),
                arrays["frame_ids"].astype(np.int64),
                joints,
                None if vertices is None else np.asarray(vertices, np.float64),
            )
        )
    return people
