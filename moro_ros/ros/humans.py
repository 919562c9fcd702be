"""HumanArray messages of recovered motion."""

from __future__ import annotations

import numpy as np
from std_msgs.msg import Header

from moro_ros.msg import Human, HumanArray, HumanJoint
from moro_ros.ros.frames import quaternions
from moro_ros.types import BodyMotion


def human_array(motions: tuple[BodyMotion, ...], header: Header) -> HumanArray:
    """The newest frame of everybody; the latency is left to the publisher."""
    return HumanArray(header=header, humans=[human_message(motion) for motion in motions])


def human_message(motion: BodyMotion) -> Human:
    """The newest frame of one person."""
    seen = bool(motion.keypoints_seen[-1])
    message = Human(
        id=motion.track_id,
        tracking_state=Human.TRACKING_OBSERVED if seen else Human.TRACKING_INFERRED,
        confidence=float(motion.confidence[-1].mean()),
    )
    message.joints = _joints(motion)
    message.contacts = motion.contact[-1].astype(np.float32)
    message.betas = motion.smplx.betas.astype(np.float32)
    message.global_orient = motion.smplx.global_orient[-1].astype(np.float32)
    message.body_pose = motion.smplx.body_pose[-1].astype(np.float32)
    message.transl = motion.smplx.transl[-1].astype(np.float32)
    return message


def _joints(motion: BodyMotion) -> list[HumanJoint]:
    rows = zip(
        motion.joints[-1].tolist(),
        quaternions(motion.joint_rotations[-1]).tolist(),
        motion.confidence[-1].tolist(),
        motion.observed[-1].tolist(),
        strict=True,
    )
    joints = []
    for place, turn, confidence, observed in rows:
        joint = HumanJoint(confidence=confidence)
        joint.state = HumanJoint.STATE_OBSERVED if observed else HumanJoint.STATE_INFERRED
        position, orientation = joint.pose.position, joint.pose.orientation
        position.x, position.y, position.z = place
        orientation.x, orientation.y, orientation.z, orientation.w = turn
        joints.append(joint)
    return joints
