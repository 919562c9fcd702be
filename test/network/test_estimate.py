"""Estimates of single frames: how they are mixed, updated, and scaled to a body's size."""

from __future__ import annotations

import pytest
import torch

from moro_ros.body.size import scale_betas
from moro_ros.geometry.rotation import rotation_6d_to_matrix
from moro_ros.model_config import ESTIMATE_NUMBERS
from moro_ros.network.estimate import (
    ESTIMATE,
    PLACED,
    EstimateUpdate,
    betas_of,
    value_groups,
)
from moro_ros.network.image_encoders import KeypointImageEncoder, floor_features
from moro_ros.network.layers import TimeAxis, initialise

FRAMES = 21


@pytest.fixture()
def update() -> EstimateUpdate:
    torch.manual_seed(0)
    module = EstimateUpdate(160, 32)
    initialise(module)
    module.reset()
    return module.eval()


def steady_frames() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The same estimate in every frame: numbers (1, F, 160), rotation, translation."""
    generator = torch.Generator().manual_seed(1)
    numbers = torch.zeros(1, FRAMES, 160)
    rotations = rotation_6d_to_matrix(torch.randn(22, 6, generator=generator))
    numbers[..., : 6 * 21] = rotations[1:, :2].flatten()
    numbers[..., 6 * 21 : ESTIMATE - 1] = torch.randn(10, generator=generator)
    place = torch.tensor([0.4, -0.2, 3.0])
    return numbers, rotations[0].expand(1, FRAMES, 3, 3), place.expand(1, FRAMES, 3)


def time_axis() -> TimeAxis:
    return TimeAxis.of(FRAMES, 60, 32, torch.device("cpu"))


def test_every_number_is_mixed_once():
    assert sorted(n for group in value_groups() for n in group) == list(range(PLACED))
    assert ESTIMATE == ESTIMATE_NUMBERS


def test_an_untrained_update_keeps_a_steady_estimate(update):
    numbers, rotation, translation = steady_frames()
    body = update(torch.randn(1, FRAMES, 160), numbers, rotation, translation, time_axis())
    turned = numbers[..., : 6 * 21].unflatten(-1, (21, 2, 3))
    torch.testing.assert_close(body.body_rotations[..., :2, :], turned, atol=0.15, rtol=0)
    torch.testing.assert_close(body.rotation, rotation, atol=0.15, rtol=0)
    torch.testing.assert_close(body.translation, translation, atol=0.5, rtol=0)


def test_near_frames_count_most(update):
    """A single frame's outlier moves itself and its neighbours, hardly those far away."""
    numbers, rotation, translation = steady_frames()
    features, time = torch.zeros(1, FRAMES, 160), time_axis()
    before = update(features, numbers, rotation, translation, time).betas
    numbers = numbers.clone()
    numbers[0, 10, 6 * 21] += 1.0
    moved = (update(features, numbers, rotation, translation, time).betas - before)[0, :, 0]
    assert 0.3 < moved[10] < 0.8
    assert moved[9] > 0.1 and moved[11] > 0.1
    assert moved[:6].abs().max() < 0.02 and moved[15:].abs().max() < 0.02


@pytest.mark.parametrize("scale", [0.55, 0.8, 1.1])
def test_betas_scale_the_body(open_body, scale):
    torch.manual_seed(0)
    direction = scale_betas(open_body)
    betas = torch.randn(4, 10)
    logarithm = torch.full((4, 1), scale).log()
    sized = betas_of(torch.cat([betas, logarithm], -1), direction)
    own = open_body.skeleton(betas).joints[:, :22]
    small = open_body.skeleton(sized).joints[:, :22]
    difference = (small - small[:, :1]) - scale * (own - own[:, :1])
    assert difference.norm(dim=-1).mean() < 0.04 * abs(1 - scale) + 1e-4


def test_a_floor_that_is_not_known_says_nothing():
    torch.manual_seed(0)
    encoder = KeypointImageEncoder(
        dim=160, num_keypoints=19, hidden=32, blocks=1, floor=True, estimate=True
    )
    observation = torch.rand(3, 20, 4)
    observation[:, -1] = 0.0
    box = torch.tensor([0.1, 0.0, 0.4]).expand(3, 3)
    unknown = encoder(observation, box)
    assert unknown.image_tokens.shape == (3, 2, 160)
    features = floor_features(observation[:, :-1], box, observation[:, -1], 0.5)
    assert not features.any()
    observation[:, -1] = torch.tensor([0.0, -0.7, 0.1, 1.0])
    assert (encoder(observation, box).image_tokens - unknown.image_tokens).abs().max() > 1e-3


def test_the_floor_tells_the_scale_of_a_point_on_it():
    """A point 4 m away on the floor of a level camera 1.5 m high."""
    height, depth, side = 1.5, 4.0, 0.5
    point = torch.tensor([0.2, height / depth])  # y points down
    observation = torch.zeros(1, 1, 4)
    observation[0, 0, :2] = point / (side / 2)
    observation[0, 0, 2] = 1.0
    floor = torch.tensor([[0.0, -1.0 / height, 0.0, 1.0]])
    features = floor_features(observation, torch.tensor([[0.0, 0.0, side]]), floor, 0.5)[0]
    assert features[0].exp() == pytest.approx(2 / (side * depth), rel=1e-4)
    assert features[1:4].tolist() == pytest.approx([0.0, -1.0, 0.0], abs=1e-5)
    assert features[4].exp() == pytest.approx(height, rel=1e-4)
