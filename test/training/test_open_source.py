"""Single frames of open motion: independent, repeatable, seen well enough to be found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from moro_ros.config import from_dict
from moro_ros.model_config import KeypointsConfig, MoroConfig
from moro_ros.network.build import build_moro
from moro_ros.training.clips import Draw
from moro_ros.training.frame_objective import FrameObjective
from moro_ros.training.open_source import FrameSource, mirrored
from moro_ros.training.optim import Muon, Optimizer, orthogonal
from moro_ros.training.stage import LoopNumbers, Stage

WEIGHTS = {
    "coarse_joints": 6.0, "coarse_keypoints": 3.0, "coarse_body_rotation": 1.5,
    "coarse_rotation": 1.5, "coarse_reprojection": 2.0, "coarse_depth": 1.0, "coarse_center": 1.0,
    "coarse_betas": 0.02,
}  # fmt: skip
NUMBERS = MoroConfig(
    layout="frame", image="keypoints", trajectory="box", rotation_head=True, dim=160, heads=4,
    mlp_ratio=2, encoder_depth=1, decoder_depth=1, num_tokens=6, num_codes=16, logit_rank=8,
    keypoints=KeypointsConfig(hidden=64, blocks=1, floor=True, estimate=True),
)  # fmt: skip


@pytest.fixture()
def source(walking, open_body):
    stage = from_dict(
        Stage, {"task": "estimate", "weights": WEIGHTS, "varied": 0.5, "seated": 0.3, "sized": 0.3}
    )
    return FrameSource(walking, open_body, stage, floor=True)


def test_frames_are_drawn_from_the_seed_alone(source):
    draws = [Draw(0, 3, 0, 64, 1), Draw(0, 3, 0, 64, 1), Draw(0, 4, 0, 64, 1)]
    first, again, other = source.batches(iter(draws))
    assert torch.equal(first.view.observation, again.view.observation)
    assert not torch.equal(first.view.observation, other.view.observation)
    assert first.shape == (64, 1)
    assert (first.view.observation[:, 0, :-1, 2] >= 0.5).sum(-1).min() >= 4


def test_the_joints_are_those_of_the_pose(source, open_body):
    clips = next(source.batches(iter([Draw(0, 0, 0, 32, 1)])))
    rotations = torch.cat([clips.rotation[:, :, None], clips.body_rotations], 2)
    rest = open_body.skeleton(clips.betas).joints[:, None, :22]
    joints = open_body.forward_kinematics(rotations, rest)[1] + clips.translation[:, :, None]
    torch.testing.assert_close(joints, clips.joints, atol=1e-4, rtol=0)


def test_estimates_of_single_frames_are_learned(source, open_body):
    torch.manual_seed(0)
    moro = build_moro(NUMBERS)
    moro.set_scale_betas(source.studio.scale_betas)
    objective = FrameObjective(moro, open_body, source.stage)
    optimizer = Optimizer(
        objective, LoopNumbers(optimizer="muon", learning_rate=5e-3, warm_up=0.0, last=1.0)
    )
    draw = Draw(0, 0, 0, 64, 1)
    batch = next(source.batches(iter([draw])))
    history = []
    for _ in range(30):
        terms = objective(batch, draw, 0.0)
        assert set(terms) == set(WEIGHTS)
        loss = source.stage.weights.total(terms)
        loss.backward()
        optimizer.step(0.5)
        history.append(float(loss.detach()))
    assert np.isfinite(history).all()
    assert history[-1] < 0.7 * history[0]


def test_children_are_where_a_floor_shows_their_size(source):
    source.stage = source.studio.stage = replace(
        source.stage, sized=1.0, sized_without_floor=0.0, varied=0.0, seated=0.0
    )
    clips = next(source.batches(iter([Draw(0, 0, 0, 256, 1)])))
    known = clips.view.observation[:, 0, -1, 3] > 0
    joints = source.studio.body.skeleton(clips.betas).joints
    leg = (joints[:, 1] - joints[:, 4]).norm(dim=-1)
    assert 0.35 < known.float().mean() < 0.65
    assert leg[known].mean() < 0.93 * leg[~known].mean()


def test_mirroring_twice_changes_nothing(source):
    some = source.rotations[:5]
    every = torch.ones(5, dtype=torch.bool)
    torch.testing.assert_close(mirrored(mirrored(some, every), every), some)
    assert not torch.equal(mirrored(some, every), some)


def test_muon_moves_all_directions_alike():
    torch.manual_seed(0)
    square = orthogonal(torch.randn(2, 8, 20), steps=6)
    singular = torch.linalg.svdvals(square)
    assert singular.min() > 0.5 and singular.max() < 1.5


def test_muon_learns_a_linear_map():
    torch.manual_seed(0)
    wanted, matrix = torch.randn(6, 12), torch.nn.Parameter(torch.zeros(6, 12))
    optimizer = Muon([matrix, torch.nn.Parameter(torch.zeros(3, 3))], lr=0.05)
    for _ in range(150):
        loss = (matrix - wanted).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert float(loss.detach()) < 0.05
