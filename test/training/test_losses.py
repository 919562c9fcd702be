"""The losses: zero at the truth, positive beside it, and with gradients where they should have."""

import numpy as np
import pytest
import torch

from moro_ros.data.occlusion import ObservationNoise
from moro_ros.data.synthesis import look, place_cameras
from moro_ros.network.decoder import DecoderOutput
from moro_ros.network.moro import FrameFeatures
from moro_ros.training.losses import (
    LossWeights,
    contact_labels,
    motion_terms,
    near_codes,
    token_loss,
    trajectory_terms,
    weighted,
)


@pytest.fixture()
def observed(walking, open_body):
    rng = np.random.default_rng(0)
    windows = walking.draw(3, 12, rng)
    truth = place_cameras(windows, torch.randn(3, 10), open_body, rng)
    return look(truth, open_body, ObservationNoise(), rng)


def perfect(observed, shift=0.0):
    truth = observed.truth
    frames = truth.translation.shape[1]
    contact = contact_labels(observed.joints, 30.0)
    logits = torch.nn.functional.pad(40 * (contact - 0.5), (0, 0, 0, 1))
    return DecoderOutput(
        logits=torch.zeros(3, frames, 4, 8),
        contact=logits,
        rotation=truth.rotation,
        translation=truth.translation + shift,
        clean_trajectory=torch.zeros(3, frames, 9),
        body_rotations=truth.body_rotations,
        betas=truth.betas[:, None].expand(-1, frames, -1),
    )


def test_every_motion_term_is_zero_at_the_truth(observed, open_body):
    terms = motion_terms(perfect(observed), observed, open_body, 30.0)
    assert set(terms) <= set(LossWeights.__dataclass_fields__)
    for name, value in terms.items():
        assert float(value) < 1e-3, name


def test_terms_grow_with_the_error(observed, open_body):
    off = perfect(observed)
    moved = torch.zeros_like(off.translation)
    moved[:, ::2, 0] = 0.05
    shaky = motion_terms(
        DecoderOutput(
            off.logits, off.contact, off.rotation, off.translation + moved, off.clean_trajectory,
            off.body_rotations, off.betas + 0.5,
        ),
        observed, open_body, 30.0,
    )  # fmt: skip
    for name in ("velocity", "acceleration", "reprojection", "betas", "joints"):
        assert float(shaky[name]) > 1e-3, name


def test_trajectory_terms_see_depth_and_rotation_apart(observed):
    truth = observed.truth
    features = FrameFeatures(
        torch.zeros(3, 12, 1, 4), observed.boxes.condition(), truth.rotation, truth.translation
    )
    exact = trajectory_terms(perfect(observed), features, observed)
    assert all(float(value) < 1e-4 for value in exact.values())
    farther = perfect(observed, torch.tensor([0.0, 0.0, 0.5]))
    terms = trajectory_terms(farther, features, observed)
    assert float(terms["depth"]) > 0.03
    assert float(terms["coarse_depth"]) < 1e-4 and float(terms["root_rotation"]) < 1e-4


def test_token_loss_counts_only_masked_tokens():
    logits = torch.zeros(1, 2, 3, 5)
    labels = torch.zeros(1, 2, 3, dtype=torch.int64)
    logits[0, 0, 0, 0] = 50.0
    masked = torch.zeros(1, 2, 3, dtype=torch.bool)
    masked[0, 0, 0] = True
    assert float(token_loss(logits, labels, masked)) < 1e-6
    masked[0, 1, 1] = True
    assert abs(float(token_loss(logits, labels, masked)) - np.log(5) / 2) < 1e-5


def test_neighbouring_codes_are_hardly_a_mistake():
    codebook = torch.tensor([[0.0], [1.0], [10.0]])
    near = near_codes(codebook, 1.0)
    torch.testing.assert_close(near.sum(1), torch.ones(3))
    labels, everywhere = torch.zeros(1, 1, 1, dtype=torch.long), torch.ones(1, 1, 1).bool()

    def loss(code: int, shares: torch.Tensor | None) -> float:
        logits = 5.0 * torch.eye(3)[code].view(1, 1, 1, 3)
        return float(token_loss(logits, labels, everywhere, shares))

    assert loss(0, near) < loss(1, near) < loss(2, near)
    assert abs(loss(1, None) - loss(2, None)) < 1e-6
    torch.testing.assert_close(near_codes(codebook, 0.01).diag(), torch.ones(3))


def test_weighted_sum_uses_the_named_weights():
    weights = LossWeights()
    total = weighted({"joints": torch.tensor(2.0), "betas": torch.tensor(1.0)}, weights)
    assert float(total) == pytest.approx(2 * weights.joints + weights.betas)
