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
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from moro_ros.body.hand_pose import HandPose
from moro_ros.body.topology import JOINT_NAMES
from moro_ros.recover.ground import GroundPlane
from moro_ros.recover.uncertainty import distance_sigma
from moro_ros.ros.outputs.base import Scene
from moro_ros.ros.outputs.humans import NO_FIT, WorldHumansOutput, human_array
from moro_ros.ros.outputs.tf import transform_message
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.transforms import Placement
from moro_ros.types import PLACE_SOURCES, Place

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


def test_it_says_what_the_distance_rests_on(motion, make_scene: MakeScene) -> None:
    human = sent(make_scene((motion,))).humans[0]
    assert human.place_source == Human.PLACE_STATURE_PRIOR
    # Of the stand-in's covariance, nearly along its line of sight.
    assert human.place_sigma == pytest.approx(distance_sigma(motion, np.zeros(3)))
    assert human.place_sigma > 0.01
    for number in range(len(PLACE_SOURCES)):
        placed = dataclasses.replace(motion, place=Place(number, 0.02))
        assert sent(make_scene((placed,))).humans[0].place_source == number
    unknown = dataclasses.replace(motion, covariance=np.zeros_like(motion.covariance))
    assert sent(make_scene((unknown,))).humans[0].place_sigma == 0.0


def test_the_sigma_of_the_distance_is_the_same_in_every_frame(
    motion, make_scene: MakeScene, client
) -> None:
    """It lies along the line of sight of the camera, wherever the frame's origin is."""
    placement = Placement(client.node, "map", "")
    turn = Rotation.from_euler("xyz", [-1.9, 0.2, 2.5])
    link = transform_message(Header(frame_id="map"), "lens", (4.0, -7.0, 1.5), turn.as_quat())
    placement.tree.take_static(TFMessage(transforms=[link]))
    world = WorldHumansOutput(client.node, placement)
    scene = make_scene((motion,))
    (there,) = world.messages(scene, NodeConfig())
    here = sent(scene).humans[0]
    assert there.humans[0].joints[0].pose.position != here.joints[0].pose.position
    assert there.humans[0].place_sigma == pytest.approx(here.place_sigma, rel=1e-4)
    # Of several cameras there is no line of sight.
    several = sent(dataclasses.replace(scene, eye=None)).humans[0]
    assert several.place_sigma == pytest.approx(0.03)
    world.destroy(client.node)
    placement.destroy(client.node)


def test_the_numbers_of_the_sources_are_the_message_s() -> None:
    names = [name.replace(" ", "_").upper() for name in PLACE_SOURCES]
    assert [getattr(Human, f"PLACE_{name}") for name in names] == list(range(len(names)))


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


def test_fingers_that_are_seen_are_sent_and_others_are_zero(motion, make_scene: MakeScene) -> None:
    fingers = np.linspace(-0.5, 0.5, 45)
    hand = HandPose(0.9, 0.5, np.zeros(3), np.eye(3), fingers)
    human = sent(make_scene((motion,))).humans[0]
    assert not np.any(human.left_hand_pose) and not np.any(human.right_hand_pose)
    human = sent(make_scene((motion,), hands={7: (None, hand), 8: (hand, hand)})).humans[0]
    assert not np.any(human.left_hand_pose)
    np.testing.assert_allclose(human.right_hand_pose, fingers, rtol=1e-6)
