"""Motion in another frame: joints, parameters, velocity, covariance and heights agree."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from moro_ros.geometry.rotation import matrix_to_rotvec, rotvec_to_matrix
from moro_ros.recover.ground import (
    GroundPlane,
    moved,
)


def test_parameters_in_the_world_give_the_joints_in_the_world(open_body, motion_of):
    motion = motion_of(open_body)
    rotation, translation = Rotation.random(random_state=1).as_matrix(), np.array([1.0, -2.0, 0.7])
    there = moved(motion, rotation, translation)
    expected = motion.joints @ rotation.T + translation
    np.testing.assert_allclose(there.joints, expected, atol=1e-5)
    np.testing.assert_allclose(there.vertices, expected, atol=1e-5)
    smplx = there.smplx
    # Fusion poses a body by them, in float32.
    turns = torch.from_numpy(np.concatenate([smplx.global_orient, smplx.body_pose], 1))
    rest = open_body.skeleton(torch.from_numpy(smplx.betas)[None]).joints[:, :22]
    chain, joints = open_body.forward_kinematics(
        rotvec_to_matrix(turns.unflatten(1, (22, 3))), rest
    )
    joints = joints + (torch.from_numpy(smplx.transl) + rest[:, 0])[:, None]
    np.testing.assert_allclose(joints.numpy(), expected, atol=1e-4)
    difference = matrix_to_rotvec(chain.mT @ torch.from_numpy(there.joint_rotations))
    assert difference.abs().max() < 1e-3


def test_velocity_and_covariance_turn_with_the_frame(open_body, motion_of):
    motion = motion_of(open_body)
    rotation = Rotation.random(random_state=2).as_matrix()
    there = moved(motion, rotation, np.array([5.0, 5.0, 5.0]))
    np.testing.assert_allclose(there.velocity @ rotation, motion.velocity, atol=1e-5)
    direction = np.array([0.6, -0.8, 0.0])
    before = np.einsum("i,fjik,k->fj", direction, motion.covariance, direction)
    turned = rotation @ direction
    after = np.einsum("i,fjik,k->fj", turned, there.covariance, turned)
    np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-6)


def test_heights_do_not_depend_on_the_frame():
    plane = GroundPlane(np.array([0.0, -0.6, 0.8]), 1.2)
    points = np.random.default_rng(0).normal(size=(7, 3))
    rotation, translation = Rotation.random(random_state=3).as_matrix(), np.array([3.0, 1.0, -2.0])
    there = plane.moved(rotation, translation)
    np.testing.assert_allclose(
        there.heights(points @ rotation.T + translation), plane.heights(points), atol=1e-9
    )
