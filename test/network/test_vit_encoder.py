"""The image encoder of the paper: normalisation, positions, independence of the images."""

from __future__ import annotations

import math

import pytest
import torch

from moro_ros.network import image_encoders
from moro_ros.network.image_encoders import (
    ImageTransformer,
    VisionTransformer,
    VitImageEncoder,
    grid_position,
)


@pytest.fixture()
def vit() -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(
        embed_dim=16, depth=2, heads=2, mlp_ratio=2, image=(64, 48), patch=16, padding=2
    ).eval()


def test_one_token_per_patch(vit):
    assert vit.grid == (4, 3)
    assert vit(torch.randn(2, 3, 64, 48)).shape == (2, 12, 16)


def test_full_size_grid():
    vit = VisionTransformer(
        embed_dim=8, depth=1, heads=1, mlp_ratio=1, image=(256, 192), patch=16, padding=2
    )
    assert vit.grid == (16, 12)


def test_patches_are_numbered_row_by_row(vit):
    image = torch.zeros(1, 3, 64, 48)
    base = vit.embed(image)
    image[:, :, 20:26, 36:40] = 1.0  # second row, third column, padding of 2 included
    changed = (vit.embed(image) - base).abs().sum(-1)[0]
    assert changed.nonzero().flatten().tolist() == [1 * 3 + 2]


def test_the_class_tokens_position_is_added_to_every_token(vit):
    image = torch.randn(1, 3, 64, 48)
    before = vit(image)
    shift = torch.randn(16)
    with torch.no_grad():
        vit.position[:, 0] += shift
        vit.position[:, 1:] -= shift
    torch.testing.assert_close(vit(image), before, rtol=1e-4, atol=1e-5)


def test_batch_equals_one_by_one(vit):
    images = torch.randn(3, 3, 64, 48)
    single = torch.cat([vit(image[None]) for image in images])
    torch.testing.assert_close(vit(images), single, rtol=1e-4, atol=1e-5)


@pytest.fixture()
def encoder() -> VitImageEncoder:
    torch.manual_seed(0)
    vit = VisionTransformer(
        embed_dim=16, depth=1, heads=2, mlp_ratio=2, image=(64, 48), patch=16, padding=2
    )
    transformer = ImageTransformer(in_dim=16, grid=vit.grid, dim=24, heads=2, depth=2, mlp_ratio=2)
    return VitImageEncoder(vit, transformer).eval()


def observation(count: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, 64, 48), dtype=torch.uint8)


def test_what_comes_out(encoder):
    features = encoder(observation(5), torch.randn(5, 3))
    assert features.image_tokens.shape == (5, 12, 24)
    assert features.weak_camera.shape == (5, 9)


def test_images_do_not_see_each_other(encoder):
    images, boxes = observation(4), torch.randn(4, 3)
    together = encoder(images, boxes)
    alone = encoder(images[2:3], boxes[2:3])
    torch.testing.assert_close(together.image_tokens[2:3], alone.image_tokens)
    torch.testing.assert_close(together.weak_camera[2:3], alone.weak_camera)


def test_long_clips_pass_in_parts(encoder, monkeypatch):
    images, boxes = observation(5), torch.randn(5, 3)
    monkeypatch.setattr(image_encoders, "IMAGES_AT_ONCE", 2)
    whole = encoder(images, boxes)  # with gradients: in one piece
    with torch.no_grad():
        parts = encoder(images, boxes)
    assert whole.weak_camera.requires_grad
    torch.testing.assert_close(parts.image_tokens, whole.image_tokens, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(parts.weak_camera, whole.weak_camera, rtol=1e-4, atol=1e-5)


def test_image_normalisation_is_inside_and_takes_bytes(encoder):
    images = observation(2)
    normalised = encoder.normalise(images)
    torch.testing.assert_close(encoder.normalise(images.float()), normalised)
    red = (images[0, 0, 0, 0].double() / 255 - 0.485) / 0.229
    assert float(normalised[0, 0, 0, 0]) == pytest.approx(float(red), rel=1e-6)
    assert not any(name in encoder.state_dict() for name in ("mean", "std"))


def test_box_condition_reaches_camera_and_tokens(encoder):
    images = observation(1)
    near, far = (encoder(images, torch.tensor([[0.0, 0.0, size]])) for size in (1.0, 0.1))
    assert not torch.allclose(near.weak_camera, far.weak_camera)
    assert not torch.allclose(near.image_tokens, far.image_tokens)


def test_grid_position_follows_its_formula():
    code = grid_position(4, 3, 16).view(4, 3, 16)
    row, column, channel = 2, 1, 5
    angle = (row + 1) / (4 + 1e-6) * 2 * math.pi / 10_000 ** (2 * (channel // 2) / 8)
    assert float(code[row, column, channel]) == pytest.approx(math.cos(angle), abs=1e-6)
    angle = (column + 1) / (3 + 1e-6) * 2 * math.pi
    assert float(code[row, column, 8]) == pytest.approx(math.sin(angle), abs=1e-6)
    assert torch.equal(code[1, 0, :8], code[1, 2, :8])
    assert torch.equal(code[0, 2, 8:], code[3, 2, 8:])
