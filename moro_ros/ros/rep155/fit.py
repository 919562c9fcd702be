"""The joint angles of REP-155 that best fit a body's joints, by decomposition.

The reference model has fewer degrees of freedom than SMPL-X: its trunk only bends forward. Each
segment of a limb is aimed at the actual position of the body's next joint, so elbows and wrists fit
even if the shoulders do not fit exactly. The remaining error is the residual.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.ros.rep155.model import (
    INDEX,
    JOINT_ORDER,
    LANDMARK_JOINTS,
    LOWER,
    SMPLX_FROM_REP,
    UPPER,
    PersonModel,
    about,
    body_pose,
    rest_skeleton,
)
from moro_ros.types import BodyMotion

# Sine of the bend of an elbow or knee above which the bend alone defines the roll of the limb.
CLEAR_BEND = 0.3
_AT = {name: index for index, name in enumerate(JOINT_NAMES)}


@dataclass(frozen=True, slots=True)
class JointFit:
    """The REP-155 model in one person's size and pose.

    angles: (20,) rad in the order of model.JOINT_ORDER; residual_m: root mean square distance of
    the links' origins from the body's joints, m.
    """

    model: PersonModel
    angles: np.ndarray
    residual_m: float


def fit_joints(motion: BodyMotion, before: JointFit | None = None) -> JointFit:
    """Fit the newest frame of a person.

    before: the fit of the previous frame; of two sets of angles for the same pose, the one nearer
    to it is used.
    """
    model = PersonModel.from_rest(rest_skeleton(motion))
    origin, rotation = body_pose(motion)
    joints = (motion.joints[-1].astype(np.float64) - origin) @ rotation
    parts = rotation.T @ motion.joint_rotations[-1].astype(np.float64)
    last = np.zeros(len(JOINT_ORDER)) if before is None else before.angles
    angles = np.zeros(len(JOINT_ORDER))
    _fit_trunk(model, joints, parts, angles)
    poses = model.links(angles)
    torso, _ = poses["torso"]
    for s, side, sign in (("l", "left", 1.0), ("r", "right", -1.0)):
        arm = [joints[_AT[f"{side}_{name}"]] for name in ("elbow", "wrist")]
        start = poses[f"{s}_y_shoulder"][1]
        hint = parts[_AT[f"{side}_shoulder"]][:, 2]
        limb = _aim(start, arm[0], arm[1], hint, 1.0)
        names = [f"{s}_{name}" for name in ("y_shoulder", "p_shoulder", "r_shoulder")]
        chosen = _nearest(_shoulder_angles(torso.T @ limb, sign), names, last)
        _set(angles, names, chosen)
        frame = torso @ _shoulder(chosen, sign)
        _bend(angles, f"{s}_elbow", frame, start, arm[1], model.origins[f"{s}_elbow"])
        leg = [joints[_AT[f"{side}_{name}"]] for name in ("knee", "ankle")]
        start = poses[f"{s}_y_hip"][1]
        hint = parts[_AT[f"{side}_hip"]][:, 2]
        limb = _aim(start, leg[0], leg[1], hint, -1.0)
        names = [f"{s}_{name}" for name in ("y_hip", "p_hip", "r_hip")]
        chosen = _nearest(_hip_angles(limb, sign), names, last)
        _set(angles, names, chosen)
        _bend(angles, f"{s}_knee", _hip(chosen, sign), start, leg[1], model.origins[f"{s}_knee"])
    errors = model.landmarks(angles) - joints[LANDMARK_JOINTS]
    residual_m = math.sqrt(float((errors**2).sum(axis=1).mean()))
    return JointFit(model, angles, residual_m)


def _fit_trunk(
    model: PersonModel, joints: np.ndarray, parts: np.ndarray, angles: np.ndarray
) -> None:
    """Bend the waist towards shoulders and neck, and turn the head."""
    torso = model.origins["torso"]
    links = ("l_y_shoulder", "r_y_shoulder", "r_head")
    model_points = np.array([torso + model.origins[link] for link in links])
    points = joints[[_AT["left_shoulder"], _AT["right_shoulder"], _AT["neck"]]]
    (mx, _, mz), (px, _, pz) = model_points.T, points.T
    # The rotation about y that aligns the points best.
    bend = math.atan2(float(mz @ px - mx @ pz), float(mx @ px + mz @ pz))
    _set(angles, ["waist"], (bend,))
    chest = about((0.0, 1.0, 0.0), float(angles[INDEX["waist"]]))
    head = chest.T @ parts[_AT["head"]] @ SMPLX_FROM_REP
    # head = Rx(roll) Rz(yaw) Ry(-pitch)
    yaw = math.asin(min(1.0, max(-1.0, -head[0, 1])))
    roll, pitch = math.atan2(head[2, 1], head[1, 1]), -math.atan2(head[0, 2], head[0, 0])
    _set(angles, ["r_head", "y_head", "p_head"], (roll, yaw, pitch))


def _aim(
    start: np.ndarray, middle: np.ndarray, end: np.ndarray, hint: np.ndarray, bend: float
) -> np.ndarray:
    """Axes (3, 3) of an upper arm or thigh from start towards middle.

    The lower segment, towards end, defines x: it bends to +x (bend 1) or -x (bend -1). For a
    straight limb, hint is used, which is x in the recovered pose.
    """
    upper = _unit(middle - start)
    across = bend * _unit(end - middle)
    across -= (across @ upper) * upper
    front = hint - (hint @ upper) * upper
    front = _unit(front) if np.linalg.norm(front) > 1e-6 else _any_across(upper)
    size = float(np.linalg.norm(across))
    # An overstretched joint stays straight, instead of rolling the limb over.
    unclear = max(0.0, 1.0 - size / CLEAR_BEND)
    doubt = min(1.0, max(0.0, 2.0 - size / CLEAR_BEND))
    across = across - doubt * min(0.0, float(across @ front)) * front
    x = _unit(across + (CLEAR_BEND * unclear + 1e-9) * front)
    x = _unit(x - (x @ upper) * upper)
    z = -upper
    return np.stack([x, np.cross(z, x), z], axis=1)


def _bend(
    angles: np.ndarray,
    name: str,
    frame: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    offset: np.ndarray,
) -> None:
    """Bend an elbow or knee towards end; frame: (3, 3) axes of the upper segment from start."""
    x, _, z = frame.T @ (end - start - frame @ offset)
    _set(angles, [name], (math.atan2(x, -z),))


def _shoulder(angles: tuple[float, ...], sign: float) -> np.ndarray:
    yaw, pitch, roll = angles
    return (
        about((0.0, 0.0, -sign), yaw) @ about((sign, 0.0, 0.0), pitch)
        @ about((0.0, 0.0, sign), roll)
    )  # fmt: skip


def _shoulder_angles(matrix: np.ndarray, sign: float) -> list[tuple[float, ...]]:
    """The two sets of y, p, r angles for Rz(-sign y) Rx(sign p) Rz(sign r) = matrix."""
    slope = math.hypot(matrix[0, 2], matrix[1, 2])
    middle = math.atan2(slope, matrix[2, 2])
    if slope > 1e-6:
        first = math.atan2(matrix[0, 2], -matrix[1, 2])
        last = math.atan2(matrix[2, 0], matrix[2, 1])
    else:
        first, last = 0.0, math.atan2(matrix[1, 0], matrix[0, 0])
    both = ((first, middle, last), (first + math.pi, -middle, last + math.pi))
    return [(-sign * a, sign * b, sign * c) for a, b, c in both]


def _hip(angles: tuple[float, ...], sign: float) -> np.ndarray:
    yaw, pitch, roll = angles
    return (
        about((0.0, 0.0, -1.0), yaw) @ about((sign, 0.0, 0.0), pitch)
        @ about((0.0, -1.0, 0.0), roll)
    )  # fmt: skip


def _hip_angles(matrix: np.ndarray, sign: float) -> list[tuple[float, ...]]:
    """The two sets of y, p, r angles for Rz(-y) Rx(sign p) Ry(-r) = matrix."""
    middle = math.asin(min(1.0, max(-1.0, float(matrix[2, 1]))))
    first = math.atan2(-matrix[0, 1], matrix[1, 1])
    last = math.atan2(-matrix[2, 0], matrix[2, 2])
    both = ((first, middle, last), (first + math.pi, math.pi - middle, last + math.pi))
    return [(-a, sign * b, -c) for a, b, c in both]


def _nearest(
    choices: list[tuple[float, ...]], names: list[str], last: np.ndarray
) -> tuple[float, ...]:
    """The choice with the smallest violation of the limits, then nearest to the angles before."""
    indices = [INDEX[name] for name in names]
    best, least = np.zeros(len(names)), math.inf
    for choice in choices:
        wrapped = np.remainder(np.array(choice) + math.pi, 2 * math.pi) - math.pi
        allowed = np.clip(wrapped, LOWER[indices], UPPER[indices])
        apart = np.remainder(allowed - last[indices] + math.pi, 2 * math.pi) - math.pi
        cost = 100.0 * float(((wrapped - allowed) ** 2).sum()) + float((apart**2).sum())
        if cost < least:
            best, least = allowed, cost
    return tuple(best.tolist())


def _set(angles: np.ndarray, names: list[str], values: tuple[float, ...]) -> None:
    for name, value in zip(names, values, strict=True):
        index = INDEX[name]
        angles[index] = min(UPPER[index], max(LOWER[index], value))


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-9)


def _any_across(direction: np.ndarray) -> np.ndarray:
    """A unit vector across a direction."""
    other = np.zeros(3)
    other[int(np.abs(direction).argmin())] = 1.0
    return _unit(other - (other @ direction) * direction)
