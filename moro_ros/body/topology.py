"""The joint tree of SMPL-X: names, parents, and the vertices of the face and foot points."""

from __future__ import annotations

# The 22 body joints, in SMPL-X order.
JOINT_NAMES: tuple[str, ...] = (
    "pelvis",
    "left_hip",
    "right_hip",
    "spine1",
    "left_knee",
    "right_knee",
    "spine2",
    "left_ankle",
    "right_ankle",
    "spine3",
    "left_foot",
    "right_foot",
    "neck",
    "left_collar",
    "right_collar",
    "head",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
)
NUM_JOINTS = len(JOINT_NAMES)

# Nobody's stature is out of this range [m].
LEAST_STATURE_M, MOST_STATURE_M = 0.4, 2.6

# Parent of each body joint; the pelvis has none.
PARENTS: tuple[int, ...] = (
    -1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19,
)  # fmt: skip

# The joint that replaces each joint in a mirrored body.
MIRRORED_JOINTS: tuple[int, ...] = (
    0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20,
)  # fmt: skip

# Joints whose ground contact MoRo predicts: left ankle, left toes, right ankle, right toes.
CONTACT_JOINTS: tuple[int, ...] = (7, 10, 8, 11)

# Vertex ids of named surface points in the SMPL-X topology; the open body keeps these places.
SURFACE_VERTICES: dict[str, int] = {
    "nose": 9120,
    "left_ear": 6,
    "right_ear": 616,
    "left_heel": 8846,
    "right_heel": 8635,
    "left_big_toe": 5770,
    "left_small_toe": 5780,
    "right_big_toe": 8463,
    "right_small_toe": 8474,
}

# The place of each 2D keypoint (types.KEYPOINTS order) on the body: the joint that carries it and,
# for surface points, the vertices whose mean it is (none: the joint itself).
KEYPOINT_ANCHORS: dict[str, tuple[str, tuple[str, ...]]] = {
    "nose": ("head", ("nose",)),
    "left_ear": ("head", ("left_ear",)),
    "right_ear": ("head", ("right_ear",)),
    "left_shoulder": ("left_shoulder", ()),
    "right_shoulder": ("right_shoulder", ()),
    "left_elbow": ("left_elbow", ()),
    "right_elbow": ("right_elbow", ()),
    "left_wrist": ("left_wrist", ()),
    "right_wrist": ("right_wrist", ()),
    "left_hip": ("left_hip", ()),
    "right_hip": ("right_hip", ()),
    "left_knee": ("left_knee", ()),
    "right_knee": ("right_knee", ()),
    "left_ankle": ("left_ankle", ()),
    "right_ankle": ("right_ankle", ()),
    "left_heel": ("left_ankle", ("left_heel",)),
    "right_heel": ("right_ankle", ("right_heel",)),
    "left_foot_index": ("left_foot", ("left_big_toe", "left_small_toe")),
    "right_foot_index": ("right_foot", ("right_big_toe", "right_small_toe")),
}

# Offsets of BlazePose's points from the places above, metres in the T-pose's axes (x left,
# y up, z front), of the left side; the right one is its mirror image. Fitted to four calibrated
# views (docs/training.md).
KEYPOINT_SHIFTS_M: dict[str, tuple[float, float, float]] = {
    "nose": (0.0, 0.009, -0.027),
    "left_ear": (-0.031, 0.0, 0.028),
    "left_shoulder": (-0.006, 0.006, 0.0),
    "left_hip": (-0.015, -0.033, -0.014),
    "left_knee": (0.0, -0.027, 0.0),
    "left_ankle": (0.0, 0.032, 0.0),
    "left_heel": (0.0, 0.033, 0.009),
}
