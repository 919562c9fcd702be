"""The codebook: nearest code, straight-through gradient, and how codes follow the latents."""

from __future__ import annotations

import pytest
import torch

from moro_ros.network.quantizer import VectorQuantizer


@pytest.fixture()
def quantizer() -> VectorQuantizer:
    torch.manual_seed(0)
    return VectorQuantizer(codes=32, dim=4)


def test_picks_the_nearest_code(quantizer):
    latents = torch.randn(3, 7, 4)
    ids = quantizer.encode(latents)
    brute = torch.cdist(latents, quantizer.embedding[None]).argmin(-1)
    assert torch.equal(ids, brute)
    assert torch.equal(quantizer.encode(quantizer.embed(ids)), ids)


def test_gradient_passes_straight_through(quantizer):
    quantizer.eval()
    latents = torch.randn(2, 5, 4, requires_grad=True)
    codes, ids, commitment = quantizer(latents)
    torch.testing.assert_close(codes, quantizer.embed(ids))
    (codes * torch.arange(4.0)).sum().backward()
    torch.testing.assert_close(latents.grad, torch.arange(4.0).expand(2, 5, 4))
    expected = (latents - codes).square().mean()
    torch.testing.assert_close(commitment, expected)


def test_evaluation_leaves_the_codes_alone(quantizer):
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    quantizer.eval()(torch.randn(8, 9, 4))
    for name, value in quantizer.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_codes_converge_to_the_means_of_their_clusters():
    torch.manual_seed(1)
    quantizer = VectorQuantizer(codes=4, dim=2, decay=0.9)
    centres = torch.tensor([[5.0, 5.0], [-5.0, 5.0], [5.0, -5.0], [-5.0, -5.0]])
    for _ in range(200):
        latents = (centres[:, None] + 0.3 * torch.randn(4, 50, 2)).flatten(0, 1)
        quantizer(latents[torch.randperm(len(latents))][None])
    distance = torch.cdist(centres, quantizer.embedding).amin(1)
    assert distance.max() < 0.1
    assert (quantizer.usage > 1).all()


def test_unused_codes_move_onto_the_batch(quantizer):
    quantizer.embedding[5:].fill_(1e3)  # nothing will choose them
    latents = torch.randn(16, 4, 4) * 0.1
    quantizer(latents)
    flat = latents.flatten(0, 1)
    torch.testing.assert_close(quantizer.embedding[5:], flat[5:32])


def test_a_batch_smaller_than_the_codebook_is_fine(quantizer):
    latents = torch.randn(1, 3, 4)
    quantizer(latents)
    assert quantizer.embedding.isfinite().all()
    assert (torch.cdist(quantizer.embedding, latents[0]).amin(1) < 1e2).all()


def test_ids_do_not_depend_on_autocast(quantizer):
    latents = torch.randn(4, 50, 4)
    plain = quantizer.encode(latents)
    with torch.autocast("cpu", torch.bfloat16):
        codes, ids, _ = quantizer.eval()(latents)
    assert torch.equal(ids, plain)
    assert codes.dtype == torch.float32
