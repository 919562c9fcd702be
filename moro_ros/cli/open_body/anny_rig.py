"""Anny's rig read as SMPL-X's: 55 joints, merged skin weights, the T-pose, named surface points."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch

from moro_ros.body.topology import PARENTS
from moro_ros.data.retarget import shortest_arc

_LEFT_HAND, _RIGHT_HAND = 25, 40
# Anny's finger number -> first joint of that finger within an SMPL-X hand.
_FINGERS: dict[int, tuple[str, int]] = {
    2: ("index", 0),
    3: ("middle", 3),
    5: ("pinky", 6),
    4: ("ring", 9),
    1: ("thumb", 12),
}
_HAND_PARENTS = tuple(
    wrist if joint % 3 == 0 else first + joint - 1
    for wrist, first in ((20, _LEFT_HAND), (21, _RIGHT_HAND))
    for joint in range(15)
)
# Parents of SMPL-X's 55 joints: 22 of the body, jaw and eyes on the head, 15 of each hand.
SMPLX_PARENTS: tuple[int, ...] = (*PARENTS, 15, 15, 15, *_HAND_PARENTS)
NUM_ALL_JOINTS = len(SMPLX_PARENTS)

# Which joint moves the skin of which bones: (pattern, joint of the middle or left, of the right).
_BONES: tuple[tuple[str, int, int], ...] = (
    (r"root|pelvis|spine05", 0, 0),
    (r"upperleg.*", 1, 2),
    (r"spine0[34]", 3, 3),
    (r"lowerleg.*", 4, 5),
    (r"spine02", 6, 6),
    (r"foot", 7, 8),
    (r"spine01", 9, 9),
    (r"toe.*", 10, 11),
    (r"neck.*", 12, 12),
    (r"clavicle|shoulder01", 13, 14),
    (r"head", 15, 15),
    (r"upperarm.*", 16, 17),
    (r"lowerarm.*", 18, 19),
    (r"wrist|metacarpal.*", 20, 21),
    (r"eye", 23, 24),
)
# The bone at whose head each joint lies. The pelvis, the feet and the jaw are corrected below.
_HEADS: dict[int, str] = {
    0: "root",
    1: "upperleg01.L",
    2: "upperleg01.R",
    3: "spine04",
    4: "lowerleg01.L",
    5: "lowerleg01.R",
    6: "spine02",
    7: "foot.L",
    8: "foot.R",
    9: "spine01",
    10: "toe1-1.L",
    11: "toe1-1.R",
    12: "neck01",
    13: "clavicle.L",
    14: "clavicle.R",
    15: "head",
    16: "upperarm01.L",
    17: "upperarm01.R",
    18: "lowerarm01.L",
    19: "lowerarm01.R",
    20: "wrist.L",
    21: "wrist.R",
    22: "head",
    23: "eye.L",
    24: "eye.R",
    **{
        first + offset + segment: f"finger{number}-{segment + 1}.{side}"
        for first, side in ((_LEFT_HAND, "L"), (_RIGHT_HAND, "R"))
        for number, (_, offset) in _FINGERS.items()
        for segment in range(3)
    },
}
# Anny is z-up and looks along -y; SMPL-X is y-up and looks along +z.
_SMPLX_FROM_ANNY = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0.0]])


def joint_of_bone(label: str) -> int:
    """The joint (0..54) that moves the skin of an Anny bone.

    Raises: KeyError when the rig has a bone that this table does not know.
    """
    bone, _, side = label.partition(".")
    right = side == "R"
    finger = re.fullmatch(r"finger(\d)-(\d)", bone)
    if finger:
        first = _RIGHT_HAND if right else _LEFT_HAND
        return first + _FINGERS[int(finger[1])][1] + int(finger[2]) - 1
    for pattern, left_joint, right_joint in _BONES:
        if re.fullmatch(pattern, bone):
            return right_joint if right else left_joint
    raise KeyError(label)


def skin_weights(anny_model: Any) -> np.ndarray:
    """Anny's skin weights merged to the 55 joints, (V, 55) float64, rows summing to 1."""
    joint = np.array([joint_of_bone(label) for label in anny_model.bone_labels])
    bones = anny_model.vertex_bone_indices.numpy()  # (V, bones per vertex)
    values = anny_model.vertex_bone_weights.numpy()
    weights = np.zeros((len(bones), NUM_ALL_JOINTS))
    for slot in range(bones.shape[1]):
        np.add.at(weights, (np.arange(len(bones)), joint[bones[:, slot]]), values[:, slot])
    return weights / weights.sum(1, keepdims=True)


def rest_body(
    anny_model: Any, phenotype: dict[str, float], weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One body in SMPL-X's T-pose and axes, the pelvis at the origin.

    phenotype: Anny's shape parameters by name. weights: (V, 55).
    Returns vertices (V, 3) and joints (55, 3), float64, metres.
    """
    bones = anny_model.bone_count
    straight = torch.eye(4, dtype=torch.float64).expand(1, bones, 4, 4).clone()
    shape = {name: phenotype[name] for name in anny_model.phenotype_labels}
    output = anny_model(pose_parameters=straight, phenotype_kwargs=shape)
    vertices = output["rest_vertices"][0].numpy() @ _SMPLX_FROM_ANNY.T
    heads = output["rest_bone_heads"][0].numpy() @ _SMPLX_FROM_ANNY.T
    place = {name: heads[index] for index, name in enumerate(anny_model.bone_labels)}
    joints = np.stack([place[_HEADS[joint]] for joint in range(NUM_ALL_JOINTS)])
    for joint, side in ((10, "L"), (11, "R")):  # one foot joint for five toes
        joints[joint] = np.mean([place[f"toe{toe}-1.{side}"] for toe in range(1, 6)], 0)
    # Anny's root lies behind and below the place where SMPL-X has its pelvis; no jaw bone exists.
    joints[0] = 0.75 * joints[0] + 0.25 * joints[3] * np.array([0, 1, 1])
    joints[22] = joints[15] + np.array([0, -0.01, 0.02])
    return _to_t_pose(vertices, joints, weights)


def _to_t_pose(
    vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Skin a body from Anny's A-pose to the T-pose; the pelvis lands at the origin."""
    rotation = _t_pose_rotations(joints)  # (55, 3, 3)
    moved = joints.copy()
    for joint in range(1, NUM_ALL_JOINTS):
        parent = SMPLX_PARENTS[joint]
        moved[joint] = moved[parent] + rotation[parent] @ (joints[joint] - joints[parent])
    shift = moved - np.einsum("jab,jb->ja", rotation, joints)
    posed = np.einsum("vj,jab,vb->va", weights, rotation, vertices) + weights @ shift
    return posed - moved[0], moved - moved[0]


def _t_pose_rotations(joints: np.ndarray) -> np.ndarray:
    """The rotation of each joint, in body axes, from the A-pose to the T-pose, (55, 3, 3)."""
    rotation = np.tile(np.eye(3), (NUM_ALL_JOINTS, 1, 1))
    for side, sign in ((0, 1.0), (1, -1.0)):
        hip, knee, ankle = 1 + side, 4 + side, 7 + side
        down = np.array([0.03 * sign, -1, 0])
        rotation[hip] = shortest_arc(joints[knee] - joints[hip], down)
        rotation[knee] = shortest_arc(joints[ankle] - joints[knee], down)

        shoulder, elbow, wrist = 16 + side, 18 + side, 20 + side
        hand = (_LEFT_HAND, _RIGHT_HAND)[side]
        outward = np.array([sign, 0, 0])
        fingers = joints[hand + 3] - joints[wrist]
        across = joints[hand] - joints[hand + 6]  # little finger to forefinger
        palm_down = _frame(outward, np.array([0, 0, 1.0])) @ _frame(fingers, across).T
        forearm = shortest_arc(joints[wrist] - joints[elbow], outward)
        # The twist between hand and forearm is shared: half by the forearm, a little by the arm.
        twist = palm_down @ forearm.T
        angle = np.arctan2(twist[2, 1] - twist[1, 2], twist[1, 1] + twist[2, 2])
        upper = shortest_arc(joints[elbow] - joints[shoulder], outward)
        rotation[elbow] = _rotation_about_x(0.5 * angle) @ forearm
        rotation[shoulder] = _rotation_about_x(0.15 * angle) @ upper
        rotation[wrist] = palm_down
        rotation[hand : hand + 15] = palm_down
    return rotation


def surface_points(vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray) -> dict[str, int]:
    """Find nose, eyes, ears, toes, heels and finger tips on a body in the T-pose.

    vertices: (V, 3), joints: (55, 3), metres, body axes. weights: (V, 55).
    Returns name -> vertex id.
    Raises: ValueError when two names fall on one vertex.
    """
    head = np.flatnonzero(weights[:, 15] > 0.6)
    eye_height = joints[23, 1]
    skin = vertices[head]
    middle_front = skin[:, 2] - 3 * np.abs(skin[:, 0])
    below_eyes = np.abs(skin[:, 1] - (eye_height - 0.035))
    points = {"nose": int(head[np.argmax(middle_front - 0.5 * below_eyes)])}
    for side, (name, sign) in enumerate((("left", 1), ("right", -1))):
        # The mesh has no eyeballs: the skin in front of the eye stands for it.
        eye_front = joints[23 + side] + [0, 0, 0.012]
        distance = np.linalg.norm(vertices - eye_front, axis=1)
        points[f"{name}_eye"] = int(np.argmin(distance))
        ear_band = head[np.abs(vertices[head, 1] - (eye_height - 0.01)) < 0.03]
        points[f"{name}_ear"] = int(ear_band[np.argmax(sign * vertices[ear_band, 0])])
        foot = np.flatnonzero(weights[:, [7 + side, 10 + side]].sum(1) > 0.7)
        forward = vertices[foot, 2]
        outward = sign * (vertices[foot, 0] - joints[7 + side, 0])
        points[f"{name}_big_toe"] = int(foot[np.argmax(forward - 0.6 * outward)])
        points[f"{name}_small_toe"] = int(foot[np.argmax(forward + 1.2 * outward)])
        points[f"{name}_heel"] = int(foot[np.argmin(forward + 0.8 * vertices[foot, 1])])
        for finger, offset in _FINGERS.values():
            last = (_LEFT_HAND, _RIGHT_HAND)[side] + offset + 2
            tip = np.flatnonzero(weights[:, last] > 0.5)
            reach = np.linalg.norm(vertices[tip] - joints[20 + side], axis=1)
            points[f"{name}_{finger}"] = int(tip[np.argmax(reach)])
    if len(set(points.values())) != len(points):
        raise ValueError(f"two surface points fall on one vertex: {points}")
    return points


def _rotation_about_x(angle: float) -> np.ndarray:
    """Rotation about the x axis, (3, 3); angle in rad."""
    sine, cosine = np.sin(angle), np.cos(angle)
    return np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])


def _frame(along: np.ndarray, towards: np.ndarray) -> np.ndarray:
    """Right-handed axes as columns, (3, 3): x along the first, y in the plane of both."""
    x = along / np.linalg.norm(along)
    z = np.cross(x, towards)
    z /= np.linalg.norm(z)
    return np.stack([x, np.cross(z, x), z], 1)
