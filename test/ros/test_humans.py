"""BodyMotion to Human messages."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from moro_ros.msg import Human, HumanArray, HumanJoint
from rclpy.serialization import deserialize_message, serialize_message
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.ros.humans import human_array


@pytest.fixture
def motion(fake_node: ModuleType):
    return fake_node.body_motion(7, 123, depth_m=4.0)


def test_every_field_arrives(motion) -> None:
    sent = human_array((motion,), Header(frame_id="lens"))
    array = deserialize_message(serialize_message(sent), HumanArray)
    human = array.humans[0]
    assert (array.header.frame_id, human.id) == ("lens", 7)
    assert human.tracking_state == Human.TRACKING_OBSERVED
    assert human.confidence == pytest.approx(float(motion.confidence.mean()))
    for field, values in (
        ("betas", motion.smplx.betas),
        ("global_orient", motion.smplx.global_orient[-1]),
        ("body_pose", motion.smplx.body_pose[-1]),
        ("transl", motion.smplx.transl[-1]),
        ("contacts", motion.contact[-1]),
    ):
        np.testing.assert_array_equal(getattr(human, field), values, err_msg=field)
    for index, joint in enumerate(human.joints):
        p, q = joint.pose.position, joint.pose.orientation
        np.testing.assert_allclose([p.x, p.y, p.z], motion.joints[-1, index])
        rotation = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
        np.testing.assert_allclose(rotation, motion.joint_rotations[-1, index], atol=1e-6)
        seen = joint.state == HumanJoint.STATE_OBSERVED
        assert seen == motion.observed[-1, index]
        assert joint.confidence == pytest.approx(motion.confidence[-1, index])


def test_joint_constants_of_the_message_are_the_order_of_the_joints() -> None:
    assert [getattr(Human, name.upper()) for name in JOINT_NAMES] == list(range(len(JOINT_NAMES)))
