"""The training masks: what each scheme hides, how much, and the noise it leaves."""

from __future__ import annotations

import math

import pytest
import torch

from moro_ros.training.masking import MASKS, least_confident_mask, mask_count, mask_tokens

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
