"""The canonical trajectory: free of the frame it is seen in, and invertible."""

from __future__ import annotations

import torch

from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.geometry.trajectory import (
    canonical_trajectory,
    integrate_trajectory,
    smooth_over_time,
    trajectory_statistics,
)

MEAN, STD = torch.linspace(-0.5, 0.5, 9), torch.linspace(0.5, 2, 9)


def walk(frames: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    steps = 0.2 * torch.randn(3, frames, 3, generator=generator)
    return rotvec_to_matrix(steps.cumsum(1)), steps.flip(0).cumsum(1)


def test_integration_inverts_it():
    rotation, translation = walk()
    canonical = canonical_trajectory(rotation, translation, MEAN, STD)
    assert canonical.shape == (3, 12, 9)
    back = integrate_trajectory(canonical, MEAN, STD, rotation[:, 0], translation[:, 0])
    torch.testing.assert_close(back[0], rotation, rtol=0, atol=1e-5)
    torch.testing.assert_close(back[1], translation, rtol=0, atol=1e-5)


def test_the_observer_does_not_matter():
    rotation, translation = walk()
    turn, shift = rotvec_to_matrix(torch.tensor([1.0, -2.0, 0.5])), torch.tensor([3.0, 1.0, 7.0])
    moved = canonical_trajectory(turn @ rotation, translation @ turn.T + shift, MEAN, STD)
    still = canonical_trajectory(rotation, translation, MEAN, STD)
    torch.testing.assert_close(moved, still, rtol=0, atol=1e-5)


def test_a_step_ahead_is_along_the_bodys_own_axis():
    rotation = rotvec_to_matrix(torch.tensor([0.0, torch.pi / 2, 0.0])).expand(1, 2, 3, 3)
    translation = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]])  # along the body's z
    step = canonical_trajectory(rotation, translation, torch.zeros(9), torch.ones(9))[0, 0]
    expected = torch.tensor([1.0, 0, 0, 0, 1, 0, 0, 0, 1])
    torch.testing.assert_close(step, expected, rtol=0, atol=1e-6)


def test_the_last_frame_repeats_and_a_single_one_is_zero():
    rotation, translation = walk()
    canonical = canonical_trajectory(rotation, translation, MEAN, STD)
    torch.testing.assert_close(canonical[:, -1], canonical[:, -2], rtol=0, atol=0)
    single = canonical_trajectory(rotation[:, :1], translation[:, :1], MEAN, STD)
    assert single.shape == (3, 1, 9) and not single.any()


def test_the_causal_form_is_one_frame_late():
    rotation, translation = walk()
    causal = canonical_trajectory(rotation, translation, MEAN, STD, causal=True)
    ahead = canonical_trajectory(rotation, translation, MEAN, STD)
    torch.testing.assert_close(causal[:, 1:], ahead[:, :-1], rtol=0, atol=0)
    assert not causal[:, 0].any()


def test_statistics_normalise_to_zero_mean_and_unit_deviation():
    rotation, translation = walk()
    mean, std = trajectory_statistics(rotation, translation)
    normalised = canonical_trajectory(rotation, translation, mean, std).flatten(0, 1)
    torch.testing.assert_close(normalised.mean(0), torch.zeros(9), rtol=0, atol=1e-4)
    torch.testing.assert_close(normalised.std(0, correction=0), torch.ones(9), rtol=0, atol=1e-4)


def test_smoothing_keeps_steady_motion_and_calms_noise():
    time = torch.arange(30.0)[None, :, None]
    line = 0.3 + 0.1 * time * torch.tensor([1.0, -2.0])
    torch.testing.assert_close(smooth_over_time(line, 6.0), line, atol=1e-4, rtol=0)
    noise = torch.randn(8, 30, 2, generator=torch.Generator().manual_seed(0))
    calm = smooth_over_time(noise, 6.0)
    assert calm.std() < 0.4 * noise.std()
    assert calm.diff(dim=1).std() < 0.05 * noise.diff(dim=1).std()
    one = noise[:, :1]
    torch.testing.assert_close(smooth_over_time(one, 6.0), one)
    two = noise[:, :2]
    torch.testing.assert_close(smooth_over_time(two, 6.0), two, atol=1e-5, rtol=0)


def test_smoothing_without_the_future():
    time = torch.arange(30.0)[None, :, None]
    line = 0.3 + 0.1 * time
    torch.testing.assert_close(smooth_over_time(line, 6.0, ahead=0), line, atol=1e-4, rtol=0)
    noise = torch.randn(8, 30, 2, generator=torch.Generator().manual_seed(0))
    beginning = smooth_over_time(noise[:, :12], 6.0, ahead=0)
    torch.testing.assert_close(smooth_over_time(noise, 6.0, ahead=0)[:, :12], beginning)
    assert smooth_over_time(noise, 6.0, ahead=0)[:, 10:].std() < 0.7 * noise.std()
