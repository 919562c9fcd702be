"""The open model's terms: zero at the truth, positive beside it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from moro_ros.data.occlusion import ObservationNoise
from moro_ros.data.synthesis import look, place_cameras
from moro_ros.network.decoder import DecoderOutput
from moro_ros.network.moro import FrameFeatures
from moro_ros.training.head_terms import (
    box_trajectory_terms,
    near_codes,
    rotation_head_terms,
    token_loss,
)
from moro_ros.training.open_source import filmed_clips
from moro_ros.training.weights import TermWeights


def test_token_loss_counts_only_masked_tokens():
    logits = torch.zeros(1, 2, 3, 5)
    labels = torch.zeros(1, 2, 3, dtype=torch.int64)
    logits[0, 0, 0, 0] = 50.0
    masked = torch.zeros(1, 2, 3, dtype=torch.bool)
    masked[0, 0, 0] = True
    assert float(token_loss(logits, labels, masked)) < 1e-6
    masked[0, 1, 1] = True
    assert abs(float(token_loss(logits, labels, masked)) - np.log(5) / 2) < 1e-5


def test_near_codes_share_a_token_by_their_distance():
    codebook = torch.tensor([[0.0, 0.0], [1.0, 0.0], [8.0, 0.0]])
    shares = near_codes(codebook, 0.5)
    assert torch.allclose(shares.sum(1), torch.ones(3))
    assert (shares.diagonal() > 0.5).all()
    assert shares[0, 1] > 0.05 > shares[0, 2]
    near, far = (torch.full((1, 1, 1, 3), -5.0) for _ in range(2))
    near[..., 1], far[..., 2] = 5.0, 5.0
    label, masked = torch.zeros(1, 1, 1, dtype=torch.int64), torch.ones(1, 1, 1, dtype=torch.bool)
    losses = [float(token_loss(logits, label, masked, shares)) for logits in (near, far)]
    assert losses[0] < losses[1]
    assert float(token_loss(near, label, masked)) == pytest.approx(
        float(token_loss(far, label, masked))
    )


@pytest.fixture()
def clips(walking, open_body):
    rng = np.random.default_rng(0)
    windows = walking.draw(3, 12, rng)
    truth = place_cameras(windows, torch.randn(3, 10), open_body, rng)
    return filmed_clips(look(truth, open_body, ObservationNoise(), rng), None, 30.0)


def perfect(clips, shift=0.0):
    frames = clips.shape[1]
    return DecoderOutput(
        logits=torch.zeros(3, frames, 4, 8),
        contact=torch.zeros(3, frames, 4),
        rotation=clips.rotation,
        translation=clips.translation + shift,
        clean_trajectory=torch.zeros(3, frames, 9),
        body_rotations=clips.body_rotations,
        betas=clips.betas[:, None].expand(-1, frames, -1),
    )


def test_every_term_is_zero_at_the_truth(clips, open_body):
    terms = rotation_head_terms(perfect(clips), clips, clips.view, open_body)
    assert set(terms) <= {item.name for item in dataclasses.fields(TermWeights)}
    for name, value in terms.items():
        assert float(value) < 1e-3, name


def test_terms_grow_with_the_error(clips, open_body):
    off = perfect(clips)
    moved = torch.zeros_like(off.translation)
    moved[:, ::2, 0] = 0.05
    wrong = dataclasses.replace(off, translation=off.translation + moved, betas=off.betas + 0.5)
    shaky = rotation_head_terms(wrong, clips, clips.view, open_body)
    for name in ("velocity", "acceleration", "reprojection", "betas", "joints"):
        assert float(shaky[name]) > 1e-3, name


def test_trajectory_terms_see_depth_and_rotation_apart(clips):
    features = FrameFeatures(
        torch.zeros(3, 12, 1, 4), clips.view.box, clips.rotation, clips.translation
    )
    exact = box_trajectory_terms(perfect(clips), features, clips, clips.view)
    assert all(float(value) < 1e-4 for value in exact.values())
    farther = perfect(clips, torch.tensor([0.0, 0.0, 0.5]))
    terms = box_trajectory_terms(farther, features, clips, clips.view)
    assert float(terms["depth"]) > 0.03
    assert float(terms["coarse_depth"]) < 1e-4 and float(terms["root_rotation"]) < 1e-4
