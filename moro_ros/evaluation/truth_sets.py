"""True motion out of any data set: its clips' fitted bodies as joints in the camera frame."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.spatial.transform import Rotation

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.data.dataset import BodyFit, Clip, ClipSet
from moro_ros.evaluation.evaluator import MIN_FRAMES, TrueMotion
from moro_ros.evaluation.readers.bodies import Bodies, RestJoints, body_of, posed_joints


def truths_of(source: ClipSet, bodies: Bodies) -> Iterator[TrueMotion]:
    """Yield the motion of every clip whose bodies or joints were measured, by the clip's name.

    bodies: "smpl" and "smplx", or with a gender, "smplx_male", which is preferred where a clip has
    one. Raises: BodyModelError if a body is needed that was not given.
    """
    for index in range(len(source)):
        clip = source.clip(index)
        if len(clip) >= MIN_FRAMES and clip.fps > 0:
            joints = joints_of(clip, bodies)
            if joints is not None:
                frames = np.rint(clip.stamps_ns * (clip.fps * 1e-9)).astype(np.int64)
                yield TrueMotion(clip.name, clip.fps, frames, joints, clip.visible)


def joints_of(clip: Clip, bodies: Bodies) -> np.ndarray | None:
    """Return a clip's true joints (F, 22, 3) m, camera frame if it has a camera; None without."""
    if clip.joints is not None and clip.joint_names[: len(JOINT_NAMES)] == JOINT_NAMES:
        return np.asarray(clip.joints[:, : len(JOINT_NAMES)], np.float64)
    if clip.fit is None or not clip.has_measured_truth:
        return None
    return fit_joints(clip.fit, bodies)


def fit_joints(fit: BodyFit, bodies: Bodies) -> np.ndarray:
    """Return the joints (F, 22, 3) m of fitted bodies, in the camera frame if there is a camera."""
    kind = f"{fit.model}_{fit.gender}"
    body = bodies[kind] if kind in bodies else body_of(bodies, fit.model)
    params = fit.params
    frames = len(params.transl)
    pose = np.concatenate([params.global_orient, params.body_pose[:, :63]], 1).reshape(-1, 3)
    rotations = Rotation.from_rotvec(pose).as_matrix().reshape(frames, -1, 3, 3)
    translation = np.asarray(params.transl, np.float64)
    if fit.about_pelvis:
        translation = translation - _pelvis(body, params.betas)
    joints = posed_joints(body, rotations, params.betas, translation)
    if fit.camera_from_fit is None:
        return joints
    turn, shift = fit.camera_from_fit[:3, :3], fit.camera_from_fit[:3, 3]
    return np.asarray(joints @ turn.T + shift)


def _pelvis(body: RestJoints, betas: np.ndarray) -> np.ndarray:
    return np.asarray(body.template[0] + body.shapes[0] @ np.asarray(betas)[:10])
