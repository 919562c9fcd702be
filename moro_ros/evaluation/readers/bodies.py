"""From SMPL and SMPL-X parameters to the 22 joints that both bodies share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from moro_ros.body.topology import NUM_JOINTS, PARENTS
from moro_ros.errors import NPZ_ERRORS, BodyModelError

NUM_BETAS = 10


@dataclass(frozen=True, slots=True)
class RestJoints:
    """Rest joints of a body: template (22, 3) m and the offsets of ten betas, (22, 3, 10)."""

    template: np.ndarray
    shapes: np.ndarray


# Kind of body, "smpl" or "smplx", -> its rest joints.
Bodies = Mapping[str, RestJoints]


def load_rest_joints(path: Path) -> RestJoints:
    """Read a body's npz file (v_template, shapedirs, J_regressor), SMPL or SMPL-X.

    Raises: BodyModelError if the file is missing or lacks an array.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            regressor = np.asarray(arrays["J_regressor"], np.float64)[:NUM_JOINTS]
            template = np.asarray(arrays["v_template"], np.float64)
            shapes = np.asarray(arrays["shapedirs"], np.float64)[..., :NUM_BETAS]
    except NPZ_ERRORS as error:
        raise BodyModelError(
            f"{path} cannot be read as a body ({error}). Expected an npz file with v_template, "
            "shapedirs and a dense J_regressor, such as SMPLX_NEUTRAL.npz."
        ) from error
    return RestJoints(regressor @ template, np.einsum("jv,vcs->jcs", regressor, shapes))


def body_of(bodies: Bodies, kind: str) -> RestJoints:
    """Return a kind of body. Raises: BodyModelError if no file of it was given."""
    if kind not in bodies:
        raise BodyModelError(
            f"This result file has {kind.upper()} parameters: give its body model, --body "
            f"{kind}=FILE.npz (it is licensed by its authors)."
        )
    return bodies[kind]


def posed_joints(
    body: RestJoints, rotations: np.ndarray, betas: np.ndarray, translation: np.ndarray
) -> np.ndarray:
    """Return the joints (F, 22, 3) m of parameters.

    rotations: (F, 22 or more, 3, 3), the first global, the others relative to their parents;
    betas: (F, n) or (n,); translation: (F, 3) m: the pelvis is at it plus its rest position.
    """
    frames = len(rotations)
    betas = np.broadcast_to(np.atleast_2d(betas)[:, :NUM_BETAS], (frames, NUM_BETAS))
    rest = body.template + np.einsum("jcs,fs->fjc", body.shapes, betas)
    chain = np.zeros((frames, NUM_JOINTS, 3, 3))
    joints = np.zeros((frames, NUM_JOINTS, 3))
    for joint, parent in enumerate(PARENTS):
        if parent < 0:
            chain[:, joint], joints[:, joint] = rotations[:, joint], rest[:, joint] + translation
            continue
        chain[:, joint] = chain[:, parent] @ rotations[:, joint]
        bone = rest[:, joint] - rest[:, parent]
        joints[:, joint] = joints[:, parent] + np.einsum("fab,fb->fa", chain[:, parent], bone)
    return joints
