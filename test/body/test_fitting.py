"""SMPL-X fitting: parameters from the open body's own meshes give that mesh back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from moro_ros.body.body_model import BodyModel, load_body_model
from moro_ros.body.fitting import SmplxFitter, posed_joint_regressor
from moro_ros.types import SmplxParams

pytestmark = pytest.mark.slow

OPEN_BODY = Path(__file__).parents[2] / "models/open_body/OPEN_NEUTRAL.npz"
FRAMES = 12


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return load_body_model(OPEN_BODY)


@pytest.fixture(scope="module")
def fitter(body: BodyModel) -> SmplxFitter:
    return SmplxFitter(body)


@pytest.fixture(scope="module")
def motion() -> SmplxParams:
    """Random poses of one random person, 3 m before the camera."""
    rng = np.random.default_rng(4)
    pose = rng.normal(0, 0.35, (FRAMES, 63))
    return SmplxParams(
        betas=rng.normal(0, 1, 10).astype(np.float32),
        global_orient=rng.normal(0, 1, (FRAMES, 3)).astype(np.float32),
        body_pose=pose.astype(np.float32),
        transl=rng.normal((0, 0, 3), 0.3, (FRAMES, 3)).astype(np.float32),
    )


def vertices_of(body: BodyModel, params: SmplxParams) -> np.ndarray:
    frames = len(params.transl)
    output = body(
        torch.tensor(params.betas).expand(frames, -1),
        torch.tensor(params.global_orient),
        torch.tensor(params.body_pose),
        torch.tensor(params.transl),
    )
    return output.vertices.numpy()


def mean_error_m(body: BodyModel, params: SmplxParams, vertices: np.ndarray) -> float:
    return float(np.linalg.norm(vertices_of(body, params) - vertices, axis=-1).mean())


def test_round_trip_below_5_mm_and_nearer_with_more_iterations(body, fitter, motion) -> None:
    vertices = vertices_of(body, motion)
    once = mean_error_m(body, fitter.fit(vertices), vertices)
    thrice = mean_error_m(body, fitter.fit(vertices, iterations=3), vertices)
    assert once < 5e-3
    assert thrice < 2.5e-3
    assert thrice < once


def test_a_part_of_the_vertices_is_enough(body, motion) -> None:
    vertices = vertices_of(body, motion)
    params = SmplxFitter(body, vertex_count=9383).fit(vertices[:, :9383], iterations=3)
    assert mean_error_m(body, params, vertices) < 4e-3


def test_follows_a_translation_exactly(body, fitter, motion) -> None:
    vertices = vertices_of(body, motion)
    shift = np.array([0.5, -0.25, 1.0], np.float32)
    here, there = fitter.fit(vertices), fitter.fit(vertices + shift)
    np.testing.assert_allclose(there.transl - here.transl, shift + 0 * here.transl, atol=1e-3)
    np.testing.assert_allclose(there.body_pose, here.body_pose, atol=2e-2)


def test_frames_with_their_own_shape_keep_their_place(body, fitter, motion) -> None:
    vertices = vertices_of(body, motion)
    params = fitter.fit(vertices, iterations=3, share_betas=False)
    assert params.betas.shape == (10,)
    assert mean_error_m(body, params, vertices) < 5e-3


def test_posed_regressor_finds_the_joints_of_unseen_poses(body, motion) -> None:
    pose = np.concatenate([motion.global_orient, motion.body_pose], 1)
    output = body(
        torch.tensor(motion.betas).expand(FRAMES, -1),
        torch.tensor(pose[:, :3]),
        torch.tensor(pose[:, 3:]),
        torch.tensor(motion.transl),
    )
    regressor = posed_joint_regressor(body, body.num_vertices)
    np.testing.assert_allclose(regressor.sum(1), 1, atol=1e-5)
    found = np.einsum("jv,nvc->njc", regressor, output.vertices.numpy())
    error = np.linalg.norm(found - output.joints.numpy(), axis=-1)[:, :22]
    assert error.mean() < 4e-3


def test_refuses_another_topology(fitter) -> None:
    with pytest.raises(ValueError, match="expected"):
        fitter.fit(np.zeros((2, 100, 3), np.float32))
