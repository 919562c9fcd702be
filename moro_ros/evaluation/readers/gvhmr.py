"""hmr4d_results.pt of GVHMR (Shen et al., SIGGRAPH Asia 2024), written by torch.save.

smpl_params_incam: global_orient (F, 3), body_pose (F, 63), betas (F, 10), transl (F, 3) m of SMPL-X
in the camera frame; smpl_params_global: the same in a gravity-aligned world. One person.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from moro_ros.errors import DataError
from moro_ros.evaluation.evaluator import FoundMotion
from moro_ros.evaluation.readers.bodies import Bodies, body_of, posed_joints
from moro_ros.evaluation.readers.layout import arrays_of

LAYOUT = {"global_orient": (3,), "body_pose": (63,), "betas": (10,), "transl": (3,)}
PART = "smpl_params_incam"


def read(path: Path, bodies: Bodies) -> list[FoundMotion]:
    """Read the person in the camera frame; frames are numbered from 0.

    Raises: DataError if the file is damaged or of another layout, BodyModelError without SMPL-X.
    """
    body = body_of(bodies, "smplx")
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
        part = values[PART]
    except (OSError, RuntimeError, pickle.UnpicklingError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not hmr4d_results.pt of GVHMR: {error}") from error
    arrays = arrays_of(path, part, LAYOUT, f": {PART}")
    pose = np.concatenate([arrays["global_orient"], arrays["body_pose"]], 1)
    rotations = Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(-1, 22, 3, 3)
    joints = posed_joints(body, rotations, arrays["betas"], arrays["transl"])
    return [FoundMotion("0", np.arange(len(joints)), joints)]
