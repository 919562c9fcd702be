"""The 2D observation of a person, and which joints it shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moro_ros.body.topology import JOINT_NAMES, NUM_JOINTS
from moro_ros.types import KEYPOINTS, NUM_KEYPOINTS

# The 2D keypoints that show where a joint is; a joint counts as observed if all of them are seen.
JOINT_EVIDENCE: dict[str, tuple[str, ...]] = {
    "pelvis": ("left_hip", "right_hip"),
    "left_hip": ("left_hip",),
    "right_hip": ("right_hip",),
    "spine1": ("left_hip", "right_hip"),
    "left_knee": ("left_knee",),
    "right_knee": ("right_knee",),
    "spine2": ("left_hip", "right_hip", "left_shoulder", "right_shoulder"),
    "left_ankle": ("left_ankle",),
    "right_ankle": ("right_ankle",),
    "spine3": ("left_shoulder", "right_shoulder"),
    "left_foot": ("left_foot_index",),
    "right_foot": ("right_foot_index",),
    "neck": ("left_shoulder", "right_shoulder"),
    "left_collar": ("left_shoulder",),
    "right_collar": ("right_shoulder",),
    "head": ("nose", "left_ear", "right_ear"),
    "left_shoulder": ("left_shoulder",),
    "right_shoulder": ("right_shoulder",),
    "left_elbow": ("left_elbow",),
    "right_elbow": ("right_elbow",),
    "left_wrist": ("left_wrist",),
    "right_wrist": ("right_wrist",),
}


@dataclass(frozen=True, slots=True)
class Sight:
    """The observation of one person at one time.

    time: frames; stamp_ns: of the image, if any; points: (K, 2) on the normalised image plane;
    visibility, presence: (K,) in [0, 1]; all three float32; box_size: side of the person's box on
    the normalised image plane, once it is known.
    """

    time: float
    stamp_ns: int
    points: np.ndarray
    visibility: np.ndarray
    presence: np.ndarray
    box_size: float = 1.0

    @staticmethod
    def nothing(time: float, stamp_ns: int = 0) -> Sight:
        """Return the observation of a frame in which nothing is seen."""
        zeros = np.zeros(NUM_KEYPOINTS, np.float32)
        return Sight(time, stamp_ns, np.zeros((NUM_KEYPOINTS, 2), np.float32), zeros, zeros)


def evidence_matrix() -> np.ndarray:
    """Return (22, K) bool: which keypoints are evidence for which joint."""
    names = list(KEYPOINTS)
    matrix = np.zeros((NUM_JOINTS, len(names)), dtype=bool)
    for joint, points in JOINT_EVIDENCE.items():
        matrix[JOINT_NAMES.index(joint), [names.index(p) for p in points]] = True
    return matrix


EVIDENCE = evidence_matrix()


def joint_visibility(visibility: np.ndarray) -> np.ndarray:
    """Return the minimum visibility of each joint's evidence: (F, K) -> (F, 22)."""
    return np.where(EVIDENCE, visibility[:, None, :], 1.0).min(-1).astype(np.float32)
