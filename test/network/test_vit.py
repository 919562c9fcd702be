"""The vision transformer: patches, positions, sizes."""

from __future__ import annotations

import pytest
import torch

from moro_ros.network.vit import VisionTransformer


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
