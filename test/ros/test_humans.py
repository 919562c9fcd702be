"""BodyMotion to Human messages, and who is published as lost."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from moro_ros.msg import Human, HumanArray, HumanJoint
from rclpy.serialization import deserialize_message, serialize_message
from scipy.spatial.transform import Rotation

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.recover.ground import GroundPlane
from moro_ros.ros.outputs.base import Scene
from moro_ros.ros.outputs.humans import NO_FIT, human_array

MakeScene = Callable[..., Scene]


@pytest.fixture
def motion(fake_node: ModuleType):
    return fake_node.body_motion(7, 123, depth_m=4.0)


def sent(scene: Scene, *lost) -> HumanArray:
    return deserialize_message(serialize_message(human_array(scene, lost)), HumanArray)


def test_every_field_arrives(motion, make_scene: MakeScene) -> None:
    scene = make_scene((motion,), postures={7: Human.POSTURE_SITTING}, residuals_m={7: 0.0125})
    array = sent(scene)
    human = array.humans[0]
    assert (array.header.frame_id, human.id) == ("lens", 7)
    assert human.tracking_state == Human.TRACKING_OBSERVED
    assert human.posture == Human.POSTURE_SITTING
    assert human.joint_fit_residual == pytest.approx(0.0125)
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
        p, q, v = joint.pose.position, joint.pose.orientation, joint.velocity
        np.testing.assert_allclose([p.x, p.y, p.z], motion.joints[-1, index])
        np.testing.assert_allclose([v.x, v.y, v.z], motion.velocity[-1, index])
        covariance = np.reshape(joint.covariance, (3, 3))
        np.testing.assert_array_equal(covariance, motion.covariance[-1, index])
        rotation = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
        np.testing.assert_allclose(rotation, motion.joint_rotations[-1, index], atol=1e-6)
        seen = joint.state == HumanJoint.STATE_OBSERVED
        assert seen == motion.observed[-1, index]
        assert joint.confidence == pytest.approx(motion.confidence[-1, index])


def test_what_nobody_measured_is_said_to_be_unknown(motion, make_scene: MakeScene) -> None:
    human = sent(make_scene((motion,))).humans[0]
    assert human.joint_fit_residual == NO_FIT
    assert human.posture == Human.POSTURE_OTHER
    assert {joint.height for joint in human.joints} == {0.0}


def test_somebody_unseen_is_extrapolated(motion, make_scene: MakeScene) -> None:
    unseen = dataclasses.replace(
        motion,
        observed=np.zeros_like(motion.observed),
        keypoints_seen=np.array([False]),
    )
    human = sent(make_scene((unseen,))).humans[0]
    assert human.tracking_state == Human.TRACKING_EXTRAPOLATED
    assert {joint.state for joint in human.joints} == {HumanJoint.STATE_EXTRAPOLATED}


def test_a_pose_that_was_held_says_so_of_every_joint(motion, make_scene: MakeScene) -> None:
    held = dataclasses.replace(motion, held=np.array([True]))
    human = sent(make_scene((held,))).humans[0]
    assert human.tracking_state == Human.TRACKING_OBSERVED
    assert {joint.state for joint in human.joints} == {HumanJoint.STATE_HELD}


def test_only_who_fell_is_said_to_have(fake_node, make_scene: MakeScene) -> None:
    people = fake_node.body_motion(1, 0), fake_node.body_motion(2, 0)
    assert [h.fall for h in sent(make_scene(people, fallen=frozenset({2}))).humans] == [False, True]
    assert not any(h.fall for h in sent(make_scene(people)).humans)


def test_heights_are_above_the_ground(motion, make_scene: MakeScene) -> None:
    # The ground 1.5 m below the lens of a level camera, whose y axis points down.
    array = sent(make_scene((motion,), ground=GroundPlane(np.array([0.0, -1.0, 0.0]), 1.5)))
    np.testing.assert_allclose(array.ground_plane, [0.0, -1.0, 0.0, 1.5])
    for index, joint in enumerate(array.humans[0].joints):
        assert joint.height == pytest.approx(1.5 - motion.joints[-1, index, 1], abs=1e-6)
    assert not sent(make_scene((motion,))).ground_plane.any()


def test_the_lost_come_last_with_their_last_pose(fake_node, make_scene: MakeScene) -> None:
    here, gone = fake_node.body_motion(1, 0), fake_node.body_motion(2, 0)
    array = sent(make_scene((here,)), gone)
    states = [(human.id, human.tracking_state) for human in array.humans]
    assert states == [(1, Human.TRACKING_OBSERVED), (2, Human.TRACKING_LOST)]
    place = array.humans[1].joints[0].pose.position
    np.testing.assert_allclose([place.x, place.y, place.z], gone.joints[-1, 0])


def test_joint_constants_of_the_message_are_the_order_of_the_joints() -> None:
    assert [getattr(Human, name.upper()) for name in JOINT_NAMES] == list(range(len(JOINT_NAMES)))
