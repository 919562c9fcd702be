"""The training masks: what each scheme hides, how much, and the noise it leaves."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.spatial.transform import Rotation

from moro_ros.training.masking import (
    MASKS,
    euler_zxy,
    least_confident_mask,
    mask_count,
    mask_tokens,
    matrix_zxy,
    noise_at,
    shaken,
)

PAPER = ((0.0, 0.0, 0.0), (0.3, 0.01, 1.0), (0.6, 0.03, 2.0))


def test_angles_are_those_of_scipy_and_come_back():
    rotation = Rotation.random(200, random_state=0)
    matrix = torch.from_numpy(rotation.as_matrix())
    angles = euler_zxy(matrix)
    assert angles.numpy() == pytest.approx(rotation.as_euler("ZXY"), abs=1e-9)
    assert torch.allclose(matrix_zxy(angles), matrix, atol=1e-12)


def test_the_schedule_rises_in_steps():
    found = [noise_at(PAPER, progress) for progress in (0.0, 0.29, 0.3, 0.59, 0.6, 1.0)]
    assert found == [(0, 0), (0, 0), (0.01, 1), (0.01, 1), (0.03, 2), (0.03, 2)]
    assert noise_at((), 0.5) == (0, 0)


def test_noise_has_the_size_that_was_asked_for():
    rotation, translation = torch.eye(3).expand(4, 500, 3, 3), torch.zeros(4, 500, 3)
    generator = torch.Generator().manual_seed(0)
    turned, moved = shaken(rotation, translation, 0.03, 2.0, generator)
    assert float(moved.std()) == pytest.approx(0.03, rel=0.05)
    assert float(euler_zxy(turned).std()) == pytest.approx(math.radians(2), rel=0.05)
    assert torch.allclose(turned @ turned.mT, rotation, atol=1e-6)
    same = shaken(rotation, translation, 0.0, 0.0, generator)
    assert same[0] is rotation and same[1] is translation


CODES = 50
SHAPE = (400, 12, 8)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ids() -> torch.Tensor:
    return torch.randint(CODES, SHAPE, generator=generator(9))


@pytest.mark.parametrize("scheme", MASKS)
def test_only_masked_tokens_change(scheme):
    hidden = mask_tokens(ids(), scheme, num_codes=CODES, generator=generator())
    assert hidden.masked.shape == SHAPE and hidden.masked.dtype is torch.bool
    assert torch.equal(hidden.ids[~hidden.masked], ids()[~hidden.masked])
    assert hidden.masked.flatten(1).any(1).all()  # every sample has something to recover
    assert torch.equal(hidden.masked, mask_tokens(
        ids(), scheme, num_codes=CODES, generator=generator()).masked)  # fmt: skip


@pytest.mark.parametrize("scheme", ["random", "joint", "frame"])
def test_a_tenth_of_the_masked_shows_a_random_id(scheme):
    hidden = mask_tokens(ids(), scheme, num_codes=CODES, generator=generator())
    shown = hidden.ids[hidden.masked]
    assert float((shown != CODES).float().mean()) == pytest.approx(0.1, abs=0.01)
    assert shown[shown != CODES].unique().numel() == CODES


def test_full_hides_all():
    hidden = mask_tokens(ids(), "full", num_codes=CODES, generator=generator())
    assert (hidden.ids == CODES).all() and hidden.masked.all()


def test_joint_hides_tokens_in_all_frames():
    masked = MASKS["joint"](SHAPE, generator())
    assert torch.equal(masked, masked[:, :1].expand(SHAPE))
    assert masked[:, 0].float().mean(0).std() < 0.05  # every token is as likely


def test_frame_hides_a_run_of_frames():
    masked = MASKS["frame"](SHAPE, generator())
    assert torch.equal(masked, masked[:, :, :1].expand(SHAPE))
    frame = torch.nn.functional.pad(masked[:, :, 0].int(), (1, 1))
    starts = (frame.diff(dim=1) == 1).sum(1)
    assert (starts == 1).all()
    first = frame.argmax(1)[frame.sum(1) == 3]
    assert {1, 10} <= set(first.tolist())  # runs reach both ends of the clip


def test_random_hides_tokens_anywhere():
    masked = MASKS["random"](SHAPE, generator()).float()
    assert masked.mean(0).std() < 0.05
    assert (masked.std(1) > 0).any() and (masked.std(2) > 0).any()


def test_share_is_cosine_distributed():
    share = mask_count(20_000, 1000, generator()) / 1000
    assert float(share.min()) >= 1e-3
    assert float(share.mean()) == pytest.approx(2 / math.pi, abs=0.01)
    assert float(share.median()) == pytest.approx(math.cos(math.pi / 4), abs=0.01)
    assert int(mask_count(1000, 3, generator()).min()) == 1


def test_least_confident_are_hidden():
    confidence = torch.rand(SHAPE, generator=generator(3))
    masked = least_confident_mask(confidence, generator())
    assert masked.shape == SHAPE and masked.flatten(1).any(1).all()
    surest_masked = torch.where(masked, confidence, -1.0).flatten(1).amax(1)
    least_shown = torch.where(masked, 2.0, confidence).flatten(1).amin(1)
    assert (surest_masked < least_shown).all()
