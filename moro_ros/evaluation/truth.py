"""True motion: from npz files, and from the clips of any data set.

With npz files any set can be evaluated without additional code: one person in one video, readable
without pickle (F frames):

    joints    (F, 22, 3) float, m, SMPL-X order, camera optical frame (or any fixed frame)
    fps       Hz
    frames    (F,) int, numbers of the video's frames; default: 0, 1, 2, ...
    visible   (F, 22) bool, omitted if unknown
    vertices  (F, V, 3) float, m, omitted without a mesh
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from moro_ros.body.topology import JOINT_NAMES, NUM_JOINTS
from moro_ros.data.dataset import BodyFit, Clip, ClipSet
from moro_ros.errors import NPZ_ERRORS, DataError
from moro_ros.evaluation.evaluator import MIN_FRAMES, TrueMotion
from moro_ros.evaluation.readers.bodies import Bodies, RestJoints, body_of, posed_joints


def load_truth(path: Path) -> TrueMotion:
    """Read one file; its name without the suffix is the motion's name.

    Raises: DataError if the file is missing or not of the layout above.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            joints = arrays["joints"].astype(np.float64)
            count = len(joints)
            given = {name: arrays[name] for name in arrays.files}
            fps = float(arrays["fps"])
    except NPZ_ERRORS as error:
        raise DataError(
            f"{path} is not a file of true motion ({error}); expected an npz with joints, fps."
        ) from error
    frames = given.get("frames", np.arange(count))
    visible, vertices = given.get("visible"), given.get("vertices")
    wrong = [
        f"{name} {given[name].shape}"
        for name, shape in (
            ("joints", (count, NUM_JOINTS, 3)),
            ("frames", (count,)),
            ("visible", (count, NUM_JOINTS)),
        )
        if name in given and given[name].shape != shape
    ]
    if vertices is not None and (vertices.ndim != 3 or vertices.shape[::2] != (count, 3)):
        wrong.append(f"vertices {vertices.shape}")
    if wrong:
        raise DataError(
            f"{path}: {', '.join(wrong)}; expected joints (F, {NUM_JOINTS}, 3), frames (F,), "
            f"visible (F, {NUM_JOINTS}) and vertices (F, V, 3) of one F."
        )
    return TrueMotion(
        path.stem, fps, frames, joints, None if visible is None else visible.astype(bool), vertices
    )


def truths_at(path: Path) -> Iterator[TrueMotion]:
    """Yield the motion of a file, or of every npz file of a folder, by name.

    Raises: DataError if there is none.
    """
    files = sorted(path.glob("*.npz")) if path.is_dir() else [path]
    if not files:
        raise DataError(f"No npz file of true motion in {path}.")
    for file in files:
        yield load_truth(file)


def truths_of(source: ClipSet, bodies: Bodies) -> Iterator[TrueMotion]:
    """Yield the motion of every clip whose bodies or joints were measured, by the clip's name.

    bodies: "smpl" and "smplx", or with a gender, "smplx_male", which is preferred if a clip has
    one. Raises: BodyModelError if a required body was not given.
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
