"""TF frames of a body: the axes of REP-155 and REP-103, whichever way the person turns."""

from __future__ import annotations

import dataclasses
from types import ModuleType

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from moro_ros.body.hand_pose import HandPose
from moro_ros.body.topology import JOINT_NAMES
from moro_ros.errors import ConfigError
from moro_ros.ros.outputs.tf import (
    body_transform,
    check_level,
    hand_and_face_transforms,
    joint_transforms,
    link_transforms,
    quaternions,
)
from moro_ros.ros.rep155.describer import Describer
from moro_ros.ros.rep155.model import SMPLX_FROM_REP, body_pose


def test_rep_axes_are_forward_left_up() -> None:
    """SMPL-X: x to the person's left, y up, z front."""
    forward, left, up = SMPLX_FROM_REP.T
    np.testing.assert_array_equal(forward, [0, 0, 1])
    np.testing.assert_array_equal(left, [1, 0, 0])
    np.testing.assert_array_equal(up, [0, 1, 0])
    np.testing.assert_array_equal(np.cross(forward, left), up)


def test_body_turns_with_the_person(fake_node: ModuleType) -> None:
    motion = fake_node.body_motion(1, 0)
    for turn in Rotation.random(5, random_state=3).as_matrix():
        rotations = turn @ motion.joint_rotations.astype(float)
        turned = dataclasses.replace(
            motion, joint_rotations=rotations, joints=motion.joints @ turn.T
        )
        place, rotation = body_pose(turned)
        first_place, first_rotation = body_pose(motion)
        np.testing.assert_allclose(place, turn @ first_place, atol=1e-6)
        np.testing.assert_allclose(rotation, turn @ first_rotation, atol=1e-6)
        assert np.linalg.det(rotation) > 0.999


def test_quaternions_stay_exact_near_half_turns() -> None:
    axes = np.vstack([np.eye(3), -np.eye(3), [[0.6, 0.8, 0.0]]])
    for angle in (0.0, 1e-5, np.pi - 1e-6, np.pi):
        matrices = Rotation.from_rotvec(axes * angle).as_matrix()
        back = Rotation.from_quat(quaternions(matrices)).as_matrix()
        np.testing.assert_allclose(back, matrices, atol=1e-9)


def test_frames_are_named_by_id_and_hang_on_the_camera(fake_node: ModuleType) -> None:
    motion, header = fake_node.body_motion(12, 0), Header(frame_id="lens")
    body = body_transform(motion, header, "b12")
    assert body.header == header and body.child_frame_id == "body_b12"
    joints = joint_transforms(motion, header, "b12")
    assert {t.header.frame_id for t in joints} == {"body_b12"}
    assert [t.child_frame_id for t in joints] == [f"{name}_b12" for name in JOINT_NAMES]


def test_links_of_rep_155_make_one_tree_that_ends_where_the_joints_are(
    fake_node: ModuleType,
) -> None:
    motion, header = fake_node.body_motion(1, 0), Header(frame_id="lens")
    # A pose that the model can take: everything straight.
    motion = dataclasses.replace(motion, joints=standing(motion.joints[0, 0])[None])
    fit = Describer().fit(motion)
    transforms = link_transforms(fit, header, "b1")
    parents = {t.child_frame_id: t.header.frame_id for t in transforms}
    assert len(parents) == len(transforms), "a frame has two parents"
    places = {"body_b1": body_pose(motion)}
    for item in transforms:
        origin, rotation = places[item.header.frame_id]
        t, q = item.transform.translation, item.transform.rotation
        turn = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
        places[item.child_frame_id] = origin + rotation @ [t.x, t.y, t.z], rotation @ turn
    for link, joint in (("l_knee", "left_knee"), ("r_wrist", "right_wrist"), ("head", "head")):
        expected = motion.joints[-1, JOINT_NAMES.index(joint)]
        np.testing.assert_allclose(places[f"{link}_b1"][0], expected, atol=1e-3)


def standing(pelvis: np.ndarray) -> np.ndarray:
    """Joints of a person in the T-pose who faces the camera, (22, 3) m."""
    at = {
        "hip": (0.1, 0.08), "knee": (0.1, 0.48), "ankle": (0.1, 0.88), "foot": (0.1, 0.95),
        "collar": (0.06, -0.42), "shoulder": (0.18, -0.45), "elbow": (0.45, -0.45),
        "wrist": (0.7, -0.45), "spine1": (0, -0.1), "spine2": (0, -0.22), "spine3": (0, -0.3),
        "neck": (0, -0.5), "head": (0, -0.62), "pelvis": (0, 0),
    }  # fmt: skip
    joints = []
    for name in JOINT_NAMES:
        side, _, part = name.rpartition("_")
        x, y = at[part]
        joints.append((-x if side == "right" else x, y, 0.0))
    return (np.array(joints) + pelvis).astype(np.float32)


def test_hands_at_rest_turn_with_the_wrist(fake_node: ModuleType) -> None:
    motion, header = fake_node.body_motion(1, 0), Header()
    pipeline = fake_node.FakePipeline(None, 0.0)
    rest, parents = pipeline.rest_joints(motion.smplx.betas), pipeline.joint_parents
    transforms = hand_and_face_transforms(motion, header, "b1", rest, parents)
    names = [t.child_frame_id for t in transforms]
    assert len(names) == len(set(names)) == 33
    assert names[0] == "jaw_b1" and names[-1] == "right_thumb3_b1"
    wrist = 21
    origin, rotation = body_pose(motion)
    for joint in range(25, 55):
        place = transforms[joint - 22].transform.translation
        placed = rotation @ [place.x, place.y, place.z] + origin
        distance = np.linalg.norm(placed - motion.joints[-1, parents[joint]])
        if parents[joint] == wrist:
            expected = np.linalg.norm(rest[joint] - rest[wrist])
            assert distance == pytest.approx(expected, abs=1e-5)
            q = transforms[joint - 22].transform.rotation
            turned = rotation @ Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
            np.testing.assert_allclose(turned, motion.joint_rotations[-1, wrist], atol=1e-6)


def test_fingers_that_are_seen_turn_below_their_wrist(fake_node: ModuleType) -> None:
    motion, header = fake_node.body_motion(1, 0), Header()
    pipeline = fake_node.FakePipeline(None, 0.0)
    rest, parents = pipeline.rest_joints(motion.smplx.betas), pipeline.joint_parents
    hand = HandPose(0.9, 0.5, np.zeros(3), np.eye(3), np.linspace(-1.0, 1.0, 45))
    plain = hand_and_face_transforms(motion, header, "b1", rest, parents)
    moved = hand_and_face_transforms(motion, header, "b1", rest, parents, (None, hand))
    for joint in range(22, 55):
        before, after = (
            Rotation.from_quat([q.x, q.y, q.z, q.w])
            for q in (list_[joint - 22].transform.rotation for list_ in (plain, moved))
        )
        vector = hand.fingers.reshape(15, 3)[joint - 40] if joint >= 40 else np.zeros(3)
        found = (before.inv() * after).as_matrix()
        np.testing.assert_allclose(found, Rotation.from_rotvec(vector).as_matrix(), atol=1e-6)


def test_a_level_needs_its_joints() -> None:
    for level in ("none", "body", "rep155", "smplx22"):
        check_level(level, 22)
    check_level("smplx55", 55)
    with pytest.raises(ConfigError, match="has 22 joints instead of 55; expected smplx22"):
        check_level("smplx55", 22)
