"""The keypoint encoder: unseen points leave no trace, seen ones and the box do."""

from __future__ import annotations

import pytest
import torch

from moro_ros.network.image_encoders import UPRIGHT_FACING, KeypointImageEncoder, box_features


@pytest.fixture()
def encoder() -> KeypointImageEncoder:
    torch.manual_seed(0)
    return KeypointImageEncoder(
        dim=16, num_keypoints=5, hidden=32, blocks=2, tokens=3, visibility_threshold=0.4
    ).eval()


def observation(count: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    points = torch.randn(count, 5, 2, generator=generator)
    return torch.cat((points, torch.rand(count, 5, 2, generator=generator)), dim=-1)


def boxes(count: int = 6) -> torch.Tensor:
    return torch.tensor([0.1, -0.2, 0.3]).expand(count, 3)


def test_what_comes_out(encoder):
    features = encoder(observation(), boxes())
    assert features.image_tokens.shape == (6, 3, 16)
    assert features.weak_camera.shape == (6, 9)


def test_unseen_points_leave_no_trace(encoder):
    seen, guessed = observation(), observation()
    seen[:, 2, 2] = 0.39
    guessed[:, 2] = torch.tensor([70.0, float("nan"), 0.1, 1.0])
    expected = encoder(seen, boxes())
    features = encoder(guessed, boxes())
    assert torch.equal(features.image_tokens, expected.image_tokens)
    assert torch.equal(features.weak_camera, expected.weak_camera)


@pytest.mark.parametrize("entry", [0, 1, 2, 3])
def test_seen_points_matter(encoder, entry):
    base = observation()
    base[:, 2, 2] = 0.5
    moved = base.clone()
    moved[:, 2, entry] += 0.3
    change = encoder(moved, boxes()).image_tokens - encoder(base, boxes()).image_tokens
    assert (change.abs().amax((1, 2)) > 1e-4).all()


def test_an_unseen_point_is_not_one_in_the_middle(encoder):
    middle = observation()
    middle[:, 2] = torch.tensor([0.0, 0.0, 0.4, 0.0])
    unseen = middle.clone()
    unseen[:, 2, 2] = 0.0
    change = encoder(middle, boxes()).image_tokens - encoder(unseen, boxes()).image_tokens
    assert change.abs().max() > 1e-3


def test_images_do_not_see_each_other(encoder):
    together = encoder(observation(), boxes())
    alone = encoder(observation()[2:3], boxes(1))
    torch.testing.assert_close(together.image_tokens[2:3], alone.image_tokens)


def test_begins_upright_and_facing_the_camera(encoder):
    torch.nn.init.zeros_(encoder.camera_head.weight)
    camera = encoder(observation(), boxes()).weak_camera
    assert torch.equal(camera, torch.tensor(UPRIGHT_FACING).expand(6, 9))


def test_box_features():
    found = box_features(torch.tensor([[0.2, -0.1, 0.5]]))
    torch.testing.assert_close(found, torch.tensor([[0.4, -0.2, 0.2, -0.1, -0.6931472]]))
