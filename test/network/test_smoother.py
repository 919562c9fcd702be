"""The temporal smoother: reach, ends, sharing over tokens."""

from __future__ import annotations

import pytest
import torch

from moro_ros.network.smoother import TemporalSmoother


@pytest.fixture()
def smoother() -> TemporalSmoother:
    torch.manual_seed(0)
    return TemporalSmoother(dim=3, hidden=8).eval()


def test_a_frame_sees_four_frames_to_either_side(smoother):
    codes = torch.randn(1, 21, 2, 3)
    changed = codes.clone()
    changed[:, 10] += 1
    difference = (smoother(changed) - smoother(codes)).abs().amax((0, 2, 3))
    assert (difference[6:15] > 0).all()
    assert (difference[:6] == 0).all()
    assert (difference[15:] == 0).all()


def test_constant_motion_stays_constant_up_to_the_ends(smoother):
    codes = torch.randn(2, 1, 5, 3).expand(2, 9, 5, 3)
    smoothed = smoother(codes)
    torch.testing.assert_close(smoothed, smoothed[:, :1].expand_as(smoothed))
    torch.testing.assert_close(smoother(codes[:, :1]), smoothed[:, :1])


def test_tokens_do_not_see_each_other(smoother):
    codes = torch.randn(2, 9, 4, 3)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(smoother(codes[:, :, order]), smoother(codes)[:, :, order])


def test_alpha_gates_the_correction(smoother):
    codes = torch.randn(1, 9, 4, 3)
    full = smoother(codes) - codes
    with torch.no_grad():
        smoother.alpha.mul_(0.5)
    torch.testing.assert_close(smoother(codes) - codes, full / 2)
