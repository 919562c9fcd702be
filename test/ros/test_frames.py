"""TF frames of a body: the axes of REP-155 and REP-103, whichever way the person turns."""

from __future__ import annotations

import dataclasses
from types import ModuleType

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.errors import ConfigError
from moro_ros.ros.frames import (
    SMPLX_FROM_REP,
    body_pose,
    body_transform,
    check_level,
    hand_and_face_transforms,
    joint_transforms,
    quaternions,
)


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
    body = body_transform(motion, header)
    assert body.header == header and body.child_frame_id == "body_12"
    joints = joint_transforms(motion, header)
    assert {t.header.frame_id for t in joints} == {"body_12"}
    assert [t.child_frame_id for t in joints] == [f"{name}_12" for name in JOINT_NAMES]


def test_hands_at_rest_turn_with_the_wrist(fake_node: ModuleType) -> None:
    motion, header = fake_node.body_motion(1, 0), Header()
    pipeline = fake_node.FakePipeline(None, 0.0)
    rest, parents = pipeline.rest_joints(motion.smplx.betas), pipeline.joint_parents
    transforms = hand_and_face_transforms(motion, header, rest, parents)
    names = [t.child_frame_id for t in transforms]
    assert len(names) == len(set(names)) == 33
    assert names[0] == "jaw_1" and names[-1] == "right_thumb3_1"
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


def test_a_level_needs_its_joints() -> None:
    for level in ("none", "body", "rep155", "smplx22"):
        check_level(level, 22)
    check_level("smplx55", 55)
    with pytest.raises(ConfigError, match="has 22 joints instead of 55; expected smplx22"):
        check_level("smplx55", 22)
