"""TF frames of a body: the axes of REP-155 and REP-103, whichever way the person turns."""

from __future__ import annotations

import dataclasses
from types import ModuleType

import numpy as np
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from moro_ros.body.topology import NUM_JOINTS
from moro_ros.ros.frames import SMPLX_FROM_REP, body_pose, body_transforms, quaternions


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
    transforms = body_transforms(motion, header)
    assert len(transforms) == 1 + NUM_JOINTS
    assert transforms[0].header == header and transforms[0].child_frame_id == "body_12"
    assert {t.header.frame_id for t in transforms[1:]} == {"body_12"}
    assert "left_knee_12" in {t.child_frame_id for t in transforms}
    assert body_transforms(motion, header, joint_frames=False) == transforms[:1]
