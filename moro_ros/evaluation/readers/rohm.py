"""Test results of RoHM (Zhang et al., CVPR 2024) on PROX and EgoBody, a plain pickle a recording.

Arrays over C clips of F frames: rec_ric_data_rec_list_from_smpl (C, F, 22, 3) m, joints in each
clip's canonical frame, trans_scene2cano_list (C, 4, 4), and on EgoBody joints_gt_scene_coord_list
(C, >= F, 22, 3) m and mask_joint_vis_list (C, >= F, 22), 1 where a joint is seen. Clips are not
placed on the recording's time axis, so each is a motion of its own, with its own truth.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from moro_ros.errors import DataError
from moro_ros.evaluation.evaluator import FoundMotion, TrueMotion
from moro_ros.evaluation.readers.bodies import Bodies
from moro_ros.evaluation.readers.layout import arrays_of
from moro_ros.evaluation.readers.pickles import read_pickle

FOUND, TRUTH, SEEN = (
    "rec_ric_data_rec_list_from_smpl",
    "joints_gt_scene_coord_list",
    "mask_joint_vis_list",
)
RATE_HZ = 30.0


def read(path: Path, bodies: Bodies) -> list[FoundMotion]:
    """Read every clip in the scene's frame; a clip's name is its number.

    Raises: DataError if the file is damaged or of another layout.
    """
    values = _values(path)
    joints = np.asarray(values[FOUND], np.float64)
    scene_from_clip = np.linalg.inv(np.asarray(values["trans_scene2cano_list"], np.float64))
    moved = np.einsum("cab,cfjb->cfja", scene_from_clip[:, :3, :3], joints)
    moved += scene_from_clip[:, None, None, :3, 3]
    return [FoundMotion(str(n), np.arange(len(clip)), clip) for n, clip in enumerate(moved)]


def truths(path: Path) -> list[TrueMotion]:
    """Read the truth that the file carries, one motion a clip, by the clip's number.

    Raises: DataError if the file carries none (PROX has no truth).
    """
    values = _values(path)
    if TRUTH not in values:
        raise DataError(f"{path} has no ground truth ({TRUTH}); PROX has none.")
    count = np.asarray(values[FOUND]).shape[1]
    true = np.asarray(values[TRUTH], np.float64)[:, :count]
    seen = np.asarray(values[SEEN])[:, :count] > 0 if SEEN in values else [None] * len(true)
    return [
        TrueMotion(str(n), RATE_HZ, np.arange(count), clip, shown)
        for n, (clip, shown) in enumerate(zip(true, seen))
    ]


def _values(path: Path) -> dict[str, np.ndarray]:
    values = read_pickle(path)
    arrays_of(path, values, {"trans_scene2cano_list": (4, 4)})
    joints = np.asarray(values.get(FOUND, ()))
    if joints.ndim != 4 or joints.shape[2:] != (22, 3):
        raise DataError(f"{path}: {FOUND} has shape {joints.shape}, expected (C, F, 22, 3).")
    return dict(values)
