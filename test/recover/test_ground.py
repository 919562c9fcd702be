"""Motion in another frame, and the ground that is learned from standing feet."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from moro_ros.body.topology import CONTACT_JOINTS, JOINT_NAMES
from moro_ros.geometry.rotation import matrix_to_rotvec, rotvec_to_matrix
from moro_ros.recover.ground import JOINT_HEIGHT_M, GroundEstimator, GroundPlane, fit_ground, moved
from moro_ros.types import BodyMotion, SmplxParams

NECK = JOINT_NAMES.index("neck")


def motion_of(body, seed=0, frames=2) -> BodyMotion:
    """A body whose joints follow from its parameters."""
    rng = np.random.default_rng(seed)
    turns = torch.from_numpy(rng.normal(0, 0.4, (frames, 22, 3))).float()
    betas = torch.from_numpy(rng.normal(size=10)).float()
    transl = torch.from_numpy(rng.normal((0, 0, 4), 1, (frames, 3))).float()
    rest = body.skeleton(betas[None]).joints[:, :22]
    chain, joints = body.forward_kinematics(rotvec_to_matrix(turns), rest)
    joints = joints + (transl + rest[:, 0])[:, None]
    spread = rng.normal(0, 0.1, (frames, 22, 3, 3))
    smplx = SmplxParams(
        betas.numpy(), turns[:, 0].numpy(), turns[:, 1:].flatten(1).numpy(), transl.numpy()
    )
    return BodyMotion(
        track_id=1,
        stamps_ns=np.arange(frames),
        joints=joints.numpy(),
        joint_rotations=chain.numpy(),
        velocity=rng.normal(size=(frames, 22, 3)),
        covariance=spread @ spread.swapaxes(-1, -2),
        confidence=np.ones((frames, 22)),
        observed=np.ones((frames, 22), bool),
        contact=np.ones((frames, 4)),
        smplx=smplx,
        vertices=joints.numpy(),
        token_ids=np.zeros((frames, 1), np.int64),
        keypoints_seen=np.ones(frames, bool),
        held=np.zeros(frames, bool),
    )


def test_parameters_in_the_world_give_the_joints_in_the_world(open_body):
    motion = motion_of(open_body)
    rotation, translation = Rotation.random(random_state=1).as_matrix(), np.array([1.0, -2.0, 0.7])
    there = moved(motion, rotation, translation)
    expected = motion.joints @ rotation.T + translation
    np.testing.assert_allclose(there.joints, expected, atol=1e-5)
    np.testing.assert_allclose(there.vertices, expected, atol=1e-5)
    smplx = there.smplx
    turns = torch.from_numpy(np.concatenate([smplx.global_orient, smplx.body_pose], 1)).float()
    rest = open_body.skeleton(torch.from_numpy(smplx.betas)[None]).joints[:, :22]
    chain, joints = open_body.forward_kinematics(
        rotvec_to_matrix(turns.unflatten(1, (22, 3))), rest
    )
    joints = joints + (torch.from_numpy(smplx.transl) + rest[:, 0])[:, None]
    np.testing.assert_allclose(joints.numpy(), expected, atol=1e-4)
    difference = matrix_to_rotvec(chain.mT @ torch.from_numpy(there.joint_rotations))
    assert difference.abs().max() < 1e-3


def test_velocity_and_covariance_turn_with_the_frame(open_body):
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


def walk(up, height, rng, reach, frames=80, lean=0.05):
    """Standing feet on the plane height below the lens, seen by a camera whose up is given."""
    across = np.linalg.svd(up[None])[2][1:]
    feet = list(CONTACT_JOINTS)
    for _ in range(frames):
        joints = np.zeros((1, 22, 3))
        place = rng.uniform(-reach, reach, 2) @ across - height * up
        joints[0, feet] = (
            place + rng.uniform(-0.15, 0.15, (4, 2)) @ across + JOINT_HEIGHT_M[:, None] * up
        )
        joints[0, feet] += rng.normal(0, 0.02, (4, 3))
        axis = up + rng.normal(0, lean, 3)
        joints[0, NECK] = joints[0, feet].mean(axis=0) + 1.45 * axis
        yield joints


@pytest.mark.parametrize(("reach", "tilt"), [(0.3, 0.0), (2.5, 0.35), (4.0, -0.7)])
def test_the_ground_is_found_under_a_tilted_camera(open_body, reach, tilt):
    rng = np.random.default_rng(4)
    up = Rotation.from_euler("xz", [tilt, 0.1]).apply([0.0, -1.0, 0.0])
    estimator = GroundEstimator()
    template = replace(motion_of(open_body, frames=1), velocity=np.zeros((1, 22, 3)))
    for joints in walk(up, 1.6, rng, reach):
        estimator.add(replace(template, joints=joints))
    plane = estimator.plane
    assert np.degrees(np.arccos(plane.normal @ up)) < 2.0
    assert np.linalg.norm(plane.normal) == pytest.approx(1.0)
    assert plane.heights(np.zeros(3)) == pytest.approx(1.6, abs=0.05)


def test_wide_contacts_know_the_slope_better_than_leaning_people():
    rng = np.random.default_rng(5)
    up = np.array([0.0, -1.0, 0.0])
    flat = rng.uniform(-3, 3, (300, 2))
    points = np.stack([flat[:, 0], np.full(300, 1.5), flat[:, 1] + 4], 1)
    points[:, 1] += rng.normal(0, 0.02, 300)
    leaning = Rotation.from_euler("x", 8, degrees=True).apply(up)
    plane = fit_ground(points, leaning)
    assert np.degrees(np.arccos(plane.normal @ up)) < 1.5
    # Some contacts that are none (a foot on a step) do not move it.
    points[:30, 1] -= 0.4
    assert np.degrees(np.arccos(fit_ground(points, leaning).normal @ up)) < 2.0


def test_who_does_not_stand_says_nothing_and_a_kept_plane_stays(open_body):
    rng = np.random.default_rng(6)
    up = np.array([0.0, -1.0, 0.0])
    still = replace(motion_of(open_body, frames=1), velocity=np.zeros((1, 22, 3)))
    swinging = replace(still, velocity=np.full((1, 22, 3), 1.0))
    lifted = replace(still, contact=np.full((1, 4), 0.3))
    unseen = replace(still, observed=np.zeros((1, 22), bool))
    estimator = GroundEstimator()
    for joints in walk(up, 1.0, rng, 2.0):
        for template in (swinging, lifted, unseen):
            estimator.add(replace(template, joints=joints))
    assert estimator.plane is None
    assert estimator.keep() is None and not estimator.kept
    plane = GroundPlane(up, 2.0)
    assert estimator.keep(plane) is plane
    for joints in walk(up, 1.0, rng, 2.0):
        estimator.add(replace(still, joints=joints))
    assert estimator.plane is plane
    estimator.reset()
    assert estimator.plane is None and not estimator.kept
