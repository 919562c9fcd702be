"""The open model's terms: zero at the truth, positive beside it."""

import dataclasses

import numpy as np
import pytest
import torch

from moro_ros.data.occlusion import ObservationNoise
from moro_ros.data.synthesis import look, place_cameras
from moro_ros.network.decoder import DecoderOutput
from moro_ros.network.moro import FrameFeatures
from moro_ros.training.head_terms import box_trajectory_terms, rotation_head_terms
from moro_ros.training.open_source import filmed_clips
from moro_ros.training.weights import TermWeights


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
