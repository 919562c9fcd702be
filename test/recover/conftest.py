"""A motion whose joints follow from its parameters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.types import BodyMotion, SmplxParams


@pytest.fixture
def motion_of() -> Callable[..., BodyMotion]:
    """Return motion_of(body, seed=0, frames=2)."""
    return make_motion


def make_motion(body, seed=0, frames=2) -> BodyMotion:
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
