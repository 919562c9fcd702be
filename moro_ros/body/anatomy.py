"""Measures of one body shape: positions of mouth, eyes and palms, and radii of the limbs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moro_ros.body.topology import JOINT_NAMES

_JOINT = {name: index for index, name in enumerate(JOINT_NAMES)}
# Joints of SMPL-X behind the 22 of the body: the eyes, and the first of each finger (the thumb's
# second), of the left hand; those of the right hand follow FINGER_JOINTS later.
EYES = (23, 24)
PINKY, INDEX, MIDDLE, THUMB, FINGER_JOINTS = 31, 25, 28, 38, 15
SMPLX_JOINTS = 55
# The mouth below and in front of the middle of the eyes, in distances between the eyes: at the
# lips of the open body's mean shape.
MOUTH_BELOW, MOUTH_BEFORE = 1.17, 0.52
# The part of a limb's length in which its radius is measured, and the maximum distance [m] of the
# palm's skin from the middle of the palm.
LIMB_PART = (0.3, 0.7)
PALM_RADIUS_M = 0.025


@dataclass(frozen=True, slots=True)
class Face:
    """The middle of the eyes and the mouth, (3,) m from the head's joint in the T-pose's axes."""

    eyes: np.ndarray
    mouth: np.ndarray


@dataclass(frozen=True, slots=True)
class Hand:
    """One hand, from its wrist in the T-pose's axes.

    joints: (15, 3) m, of the fingers in the order of SMPL-X: index, middle, pinky, ring, thumb,
    three each; knuckles: (3, 3) m, of pinky, index and thumb; palm: (3,) m, the middle of the
    palm's skin; axes: (3, 3) as columns: x out of the palm, z to the fingers.
    """

    joints: np.ndarray
    knuckles: np.ndarray
    palm: np.ndarray
    axes: np.ndarray


@dataclass(frozen=True, slots=True)
class Anatomy:
    """One body shape; hands: left, right. upper_arm_m, forearm_m, thigh_m: radii."""

    face: Face | None
    hands: tuple[Hand, Hand] | None
    upper_arm_m: float
    forearm_m: float
    thigh_m: float


def measure_anatomy(joints: np.ndarray, vertices: np.ndarray, parts: np.ndarray) -> Anatomy:
    """Measure a body at rest in the T-pose.

    joints: (N, 3) m; vertices: (V, 3) m; parts: (V,) the body joint that moves each vertex most.
    With fewer than 55 joints the body has neither face nor hands.
    """
    complete = len(joints) >= SMPLX_JOINTS
    return Anatomy(
        _face(joints) if complete else None,
        (_hand(joints, vertices, parts, 0), _hand(joints, vertices, parts, 1))
        if complete
        else None,
        *(
            _radius(joints, vertices, parts, *bone)
            for bone in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"))
        ),
    )


def _face(joints: np.ndarray) -> Face:
    left, right = joints[list(EYES)] - joints[_JOINT["head"]]
    eyes, apart = (left + right) / 2, float(np.linalg.norm(left - right))
    return Face(eyes, eyes + apart * np.array([0.0, -MOUTH_BELOW, MOUTH_BEFORE]))


def _hand(joints: np.ndarray, vertices: np.ndarray, parts: np.ndarray, side: int) -> Hand:
    wrist = _JOINT[("left_wrist", "right_wrist")[side]]
    first = INDEX + side * FINGER_JOINTS
    own = joints[first : first + FINGER_JOINTS] - joints[wrist]
    pinky, index, thumb, middle = (own[row - INDEX] for row in (PINKY, INDEX, THUMB, MIDDLE))
    fingers = middle / np.linalg.norm(middle)
    out = np.cross(fingers, index - pinky) * (1, -1)[side]
    out = out / np.linalg.norm(out)
    axes = np.stack([out, np.cross(fingers, out), fingers], axis=1)
    center = middle / 2
    skin = vertices[parts == wrist] - joints[wrist] - center
    high = skin @ out
    near = np.linalg.norm(skin - high[:, None] * out, axis=1) < PALM_RADIUS_M
    depth = float(high[near].max()) if near.any() else 0.0
    return Hand(own, np.stack([pinky, index, thumb]), center + depth * out, axes)


def _radius(
    joints: np.ndarray, vertices: np.ndarray, parts: np.ndarray, start: str, end: str
) -> float:
    """The median distance of the skin from the axis of a limb, of both sides, 0 without skin."""
    distances = [np.zeros(0)]
    for side in ("left", "right"):
        first, last = _JOINT[f"{side}_{start}"], _JOINT[f"{side}_{end}"]
        bone = joints[last] - joints[first]
        skin = vertices[parts == first] - joints[first]
        along = skin @ bone / (bone @ bone)
        inside = (along > LIMB_PART[0]) & (along < LIMB_PART[1])
        distances.append(np.linalg.norm(skin - along[:, None] * bone, axis=1)[inside])
    found = np.concatenate(distances)
    return float(np.median(found)) if found.size else 0.0
