"""The kinematic model of REP-155 in the size of one person, and its forward kinematics.

Links and joints have the names, axes and tree of the reference model of REP-155 ("Kinematic Model
of the Human"); lengths are the person's own, and the limits are wide enough to sit, crouch and
reach. At zero the person stands with hanging arms. Link axes (REP-103): x front, y left, z to the
head. Names are without the suffix _<body id>.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moro_ros.body.topology import JOINT_NAMES, NUM_JOINTS, PARENTS
from moro_ros.types import BodyMotion

# Part frames of SMPL-X have x to the person's left, y up, z front; REP-155 (after REP-103) has x
# front, y left, z to the head. Columns: the REP axes in SMPL-X coordinates.
SMPLX_FROM_REP = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])


@dataclass(frozen=True, slots=True)
class Joint:
    """One joint: it hangs link `child` on link `parent`.

    axis: unit vector in the link's axes, None for a fixed joint; lower, upper: limits, rad.
    """

    name: str
    parent: str
    child: str
    axis: tuple[float, float, float] | None = None
    lower: float = 0.0
    upper: float = 0.0


def _arm(side: str, sign: float) -> tuple[Joint, ...]:
    s, z = side, -sign
    return (
        Joint(f"{s}_y_shoulder", "torso", f"{s}_y_shoulder", (0.0, 0.0, z), -2.0, 2.6),
        Joint(f"{s}_p_shoulder", f"{s}_y_shoulder", f"{s}_p_shoulder", (sign, 0.0, 0.0), -0.7, 3.3),
        Joint(f"{s}_r_shoulder", f"{s}_p_shoulder", f"{s}_shoulder", (0.0, 0.0, sign), -3.2, 3.2),
        Joint(f"{s}_elbow", f"{s}_shoulder", f"{s}_elbow", (0.0, -1.0, 0.0), 0.0, 2.8),
        Joint(f"{s}_wrist", f"{s}_elbow", f"{s}_wrist"),
    )


def _leg(side: str, sign: float) -> tuple[Joint, ...]:
    s = side
    return (
        Joint(f"{s}_y_hip", "body", f"{s}_y_hip", (0.0, 0.0, -1.0), -1.8, 1.8),
        Joint(f"{s}_p_hip", f"{s}_y_hip", f"{s}_p_hip", (sign, 0.0, 0.0), -1.2, 3.3),
        Joint(f"{s}_r_hip", f"{s}_p_hip", f"{s}_hip", (0.0, -1.0, 0.0), -1.2, 2.6),
        Joint(f"{s}_knee", f"{s}_hip", f"{s}_knee", (0.0, -1.0, 0.0), -2.8, 0.0),
        Joint(f"{s}_ankle", f"{s}_knee", f"{s}_ankle"),
    )


# Parents come before their children.
JOINTS: tuple[Joint, ...] = (
    Joint("waist", "body", "waist", (0.0, 1.0, 0.0), -1.2, 1.8),
    Joint("torso", "waist", "torso"),
    Joint("r_head", "torso", "r_head", (1.0, 0.0, 0.0), -1.2, 1.2),
    Joint("y_head", "r_head", "y_head", (0.0, 0.0, 1.0), -1.6, 1.6),
    Joint("p_head", "y_head", "p_head", (0.0, -1.0, 0.0), -1.6, 1.6),
    Joint("head", "p_head", "head"),
    *_arm("l", 1.0),
    *_arm("r", -1.0),
    *_leg("l", 1.0),
    *_leg("r", -1.0),
)
# The 20 movable joints, in the order of joint_states.
MOVING: tuple[Joint, ...] = tuple(joint for joint in JOINTS if joint.axis is not None)
JOINT_ORDER: tuple[str, ...] = tuple(joint.name for joint in MOVING)
INDEX: dict[str, int] = {name: index for index, name in enumerate(JOINT_ORDER)}
LOWER = np.array([joint.lower for joint in MOVING])
UPPER = np.array([joint.upper for joint in MOVING])

# The SMPL-X joint at the origin of each link. Hips and torso carry the rest.
LANDMARKS: dict[str, str] = {
    "r_head": "neck",
    "head": "head",
    "l_y_shoulder": "left_shoulder",
    "l_elbow": "left_elbow",
    "l_wrist": "left_wrist",
    "r_y_shoulder": "right_shoulder",
    "r_elbow": "right_elbow",
    "r_wrist": "right_wrist",
    "l_y_hip": "left_hip",
    "l_knee": "left_knee",
    "l_ankle": "left_ankle",
    "r_y_hip": "right_hip",
    "r_knee": "right_knee",
    "r_ankle": "right_ankle",
}
_PELVIS = JOINT_NAMES.index("pelvis")
_HIPS = [JOINT_NAMES.index("left_hip"), JOINT_NAMES.index("right_hip")]
LANDMARK_JOINTS = [JOINT_NAMES.index(name) for name in LANDMARKS.values()]


def body_pose(motion: BodyMotion) -> tuple[np.ndarray, np.ndarray]:
    """Pose of the body frame of the newest frame: origin mid-hip, x forward, y left, z to the head.

    Returns the origin (3,) m and rotation_camera_from_body (3, 3), camera optical frame.
    """
    origin = motion.joints[-1, _HIPS].astype(np.float64).mean(axis=0)
    rotation = motion.joint_rotations[-1, _PELVIS].astype(np.float64) @ SMPLX_FROM_REP
    return origin, rotation


def rest_skeleton(motion: BodyMotion) -> np.ndarray:
    """The joints at rest (T-pose), (22, 3) m in SMPL-X axes from the pelvis, of the newest frame.

    A bone at rest is the bone rotated back by the rotation of the joint that carries it.
    """
    joints = motion.joints[-1].astype(np.float64)
    rotations = motion.joint_rotations[-1].astype(np.float64)
    rest = np.zeros((NUM_JOINTS, 3))
    for joint in range(1, NUM_JOINTS):
        parent = PARENTS[joint]
        rest[joint] = rest[parent] + rotations[parent].T @ (joints[joint] - joints[parent])
    return rest


@dataclass(frozen=True, slots=True)
class PersonModel:
    """The model of REP-155 in the size of one person.

    origins: of each link's joint in its parent link, (3,) m, by link; the orientation is the
        parent's.
    """

    origins: dict[str, np.ndarray]

    @classmethod
    def from_rest(cls, rest: np.ndarray) -> PersonModel:
        """Build the model of a body at rest, (22, 3) m in SMPL-X axes."""
        at = {name: rest[JOINT_NAMES.index(name)] @ SMPLX_FROM_REP for name in JOINT_NAMES}
        hips = (at["left_hip"] + at["right_hip"]) / 2
        shoulders = (at["left_shoulder"] + at["right_shoulder"]) / 2
        origins = {joint.child: np.zeros(3) for joint in JOINTS}
        origins["torso"] = shoulders - hips
        origins["r_head"] = at["neck"] - shoulders
        origins["head"] = at["head"] - at["neck"]
        for s, side in (("l", "left"), ("r", "right")):
            origins[f"{s}_y_shoulder"] = at[f"{side}_shoulder"] - shoulders
            origins[f"{s}_y_hip"] = at[f"{side}_hip"] - hips
            for link, near, far in (
                ("elbow", "shoulder", "elbow"),
                ("wrist", "elbow", "wrist"),
                ("knee", "hip", "knee"),
                ("ankle", "knee", "ankle"),
            ):
                length = np.linalg.norm(at[f"{side}_{far}"] - at[f"{side}_{near}"])
                origins[f"{s}_{link}"] = np.array([0.0, 0.0, -length])
        return cls(origins)

    def differs(self, other: PersonModel, tolerance_m: float) -> bool:
        """Whether a length differs by more than a tolerance."""
        return any(
            float(np.abs(origin - other.origins[link]).max()) > tolerance_m
            for link, origin in self.origins.items()
        )

    def links(self, angles: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Pose of every link in the body's frame: rotation (3, 3) and origin (3,) m, by link.

        angles: (20,) rad in the order of JOINT_ORDER.
        """
        poses = {"body": (np.identity(3), np.zeros(3))}
        for parent, child, place, turn in self.transforms(angles):
            rotation, origin = poses[parent]
            poses[child] = rotation @ turn, origin + rotation @ place
        return poses

    def transforms(self, angles: np.ndarray) -> list[tuple[str, str, np.ndarray, np.ndarray]]:
        """Parent link, child link, origin (3,) m and rotation (3, 3) of every joint.

        angles: (20,) rad in the order of JOINT_ORDER.
        """
        result = []
        for joint in JOINTS:
            rotation = np.identity(3)
            if joint.axis is not None:
                rotation = about(joint.axis, float(angles[INDEX[joint.name]]))
            result.append((joint.parent, joint.child, self.origins[joint.child], rotation))
        return result

    def landmarks(self, angles: np.ndarray) -> np.ndarray:
        """Positions of LANDMARKS (14, 3) m in the body's frame; angles: (20,) rad."""
        poses = self.links(angles)
        return np.array([poses[link][1] for link in LANDMARKS])


def about(axis: tuple[float, float, float], angle: float) -> np.ndarray:
    """Rotation (3, 3) by an angle, rad, about a coordinate axis, which may be negative."""
    first = next(index for index, value in enumerate(axis) if value)
    j, k = (first + 1) % 3, (first + 2) % 3
    cos, sin = np.cos(angle), axis[first] * np.sin(angle)
    matrix = np.identity(3)
    matrix[j, j], matrix[k, k], matrix[j, k], matrix[k, j] = cos, cos, -sin, sin
    return matrix
