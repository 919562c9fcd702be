"""The TF frames of a person: body_<id> with the axes of REP-155, and one frame per joint."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from geometry_msgs.msg import TransformStamped
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.types import BodyMotion

# SMPL-X part frames have x to the person's left, y up, z front; REP-155 (after REP-103) has x
# front, y left, z to the head. Columns: the REP axes in SMPL-X coordinates.
SMPLX_FROM_REP = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
_PELVIS = JOINT_NAMES.index("pelvis")
_HIPS = [JOINT_NAMES.index("left_hip"), JOINT_NAMES.index("right_hip")]


def body_frame(track_id: int) -> str:
    """Name of a person's body frame (REP-155)."""
    return f"body_{track_id}"


def joint_frame(joint: str, track_id: int) -> str:
    """Name of a joint's frame (REP-155: every frame of a body is suffixed with its id)."""
    return f"{joint}_{track_id}"


def body_pose(motion: BodyMotion) -> tuple[np.ndarray, np.ndarray]:
    """Pose of the body frame of the newest frame: origin mid-hip, x forward, y left, z to the head.

    Returns the origin (3,) m and rotation_camera_from_body (3, 3), camera optical frame.
    """
    origin = motion.joints[-1, _HIPS].astype(np.float64).mean(axis=0)
    rotation = motion.joint_rotations[-1, _PELVIS].astype(np.float64) @ SMPLX_FROM_REP
    return origin, rotation


def quaternions(rotations: np.ndarray) -> np.ndarray:
    """Unit quaternions x, y, z, w, (..., 4) float64, of rotation matrices (..., 3, 3)."""
    # scipy rather than geometry.rotation: no torch has to load before a wrong parameter is told.
    return Rotation.from_matrix(rotations).as_quat()


def body_transforms(
    motion: BodyMotion, header: Header, joint_frames: bool = True
) -> list[TransformStamped]:
    """Transforms of the newest frame: header.frame_id -> body_<id> -> <joint>_<id>.

    Joint frames keep the SMPL-X axes of the joints in HumanArray.
    """
    origin, rotation = body_pose(motion)
    parent = body_frame(motion.track_id)
    body = _transform(header, parent, origin, quaternions(rotation))
    if not joint_frames:
        return [body]
    places = (motion.joints[-1].astype(np.float64) - origin) @ rotation
    turns = quaternions(rotation.T @ motion.joint_rotations[-1].astype(np.float64))
    child_header = Header(stamp=header.stamp, frame_id=parent)
    joints = zip(JOINT_NAMES, places, turns, strict=True)
    return [
        body,
        *(
            _transform(child_header, joint_frame(name, motion.track_id), place, turn)
            for name, place, turn in joints
        ),
    ]


def _transform(
    header: Header, child: str, place: Iterable[float], turn: Iterable[float]
) -> TransformStamped:
    message = TransformStamped(header=header, child_frame_id=child)
    translation, rotation = message.transform.translation, message.transform.rotation
    translation.x, translation.y, translation.z = map(float, place)
    rotation.x, rotation.y, rotation.z, rotation.w = map(float, turn)
    return message
