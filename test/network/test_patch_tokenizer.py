"""The patch tokenizer: patches, averaging, saving, learning."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from moro_ros.network.patch_tokenizer import PatchTokenizer, build_patches

VERTICES, TOKENS, FULL = 60, 6, 90


def make_tokenizer(seed: int = 0) -> PatchTokenizer:
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    rest = rng.normal(0, 0.3, (VERTICES, 3)).astype(np.float32)
    patch_in, patch_out = build_patches(rest, np.arange(TOKENS), 16, 14)
    up_weight = rng.random((FULL, 4)).astype(np.float32)
    return PatchTokenizer(
        patch_in,
        patch_out,
        VERTICES,
        width=24,
        encoder_layers=1,
        decoder_layers=2,
        codes=32,
        rest=rest,
        coarse_index=rng.permutation(FULL)[:VERTICES],
        up_index=rng.integers(0, VERTICES, (FULL, 4)),
        up_weight=up_weight / up_weight.sum(1, keepdims=True),
    )


def bodies(tokenizer: PatchTokenizer, count: int) -> torch.Tensor:
    """Rest shapes bent by a few smooth random deformations, (count, M, 3)."""
    amount = torch.randn(count, 4)
    modes = torch.sin(tokenizer.rest @ (2 * torch.randn(4, 3, 3)))
    return tokenizer.rest + 0.05 * torch.einsum("bk,kvc->bvc", amount, modes)


def test_patches_cover_every_vertex_and_hold_the_nearest():
    rng = np.random.default_rng(3)
    points = rng.normal(size=(200, 3))
    centres = np.array([0, 50, 100, 150])
    patch_in, patch_out = build_patches(points, centres, 80, 20)
    assert set(patch_out.ravel()) == set(range(200))
    assert (patch_in[:, 0] == centres).all()
    distance = np.linalg.norm(points[centres][:, None] - points, axis=-1)
    for token, patch in enumerate(patch_out):
        assert set(np.flatnonzero(distance.argmin(0) == token)) <= set(patch)
        assert len(set(patch)) == len(patch)


def test_given_distances_take_the_place_of_euclidean_ones():
    points = np.zeros((4, 3))
    distance = np.array([[0.0, 1.0, 2.0, 3.0], [3.0, 2.0, 1.0, 0.0]])
    patch_in, _ = build_patches(points, np.array([0, 3]), 2, 2, distance)
    assert patch_in.tolist() == [[0, 1], [3, 2]]


def test_vertices_are_the_mean_of_their_patches():
    tokenizer = make_tokenizer()
    codes = torch.randn(3, TOKENS, 9, requires_grad=True)
    features = tokenizer.code_embed(codes) + tokenizer.token_embed
    for layer in tokenizer.decoder:
        features = layer(features)
    features = tokenizer.decoder_norm(features)
    total = torch.zeros(3, VERTICES, 3)
    count = torch.zeros(VERTICES)
    for token, patch in enumerate(tokenizer.patch_out.long()):
        flat = tokenizer.out_weight[token] @ features[:, token].T + tokenizer.out_bias[token]
        total = total.index_add(1, patch, flat.T.reshape(3, len(patch), 3))
        count[patch] += 1
    expected = tokenizer.rest + 0.3 * total / count[:, None]
    actual = tokenizer.decode_codes(codes)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)
    probe = torch.randn_like(expected)
    (slow,) = torch.autograd.grad((expected * probe).sum(), codes, retain_graph=True)
    (fast,) = torch.autograd.grad((actual * probe).sum(), codes)
    torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-6)


def test_patches_that_miss_a_vertex_are_refused():
    patch = np.array([[0, 1, 2]])
    with pytest.raises(ValueError, match="do not rebuild"):
        PatchTokenizer(patch, patch, 4, width=24)


def test_a_saved_tokenizer_is_self_contained():
    tokenizer = make_tokenizer().eval()
    other = PatchTokenizer.from_state(tokenizer.state_dict()).eval()
    mesh = bodies(tokenizer, 5)
    assert torch.equal(other.encode(mesh), tokenizer.encode(mesh))
    ids = tokenizer.encode(mesh)
    assert torch.equal(
        other.full_mesh(other.decode(ids)), tokenizer.full_mesh(tokenizer.decode(ids))
    )


def test_full_mesh_is_the_weighted_sum_of_coarse_vertices():
    tokenizer = make_tokenizer()
    coarse = torch.randn(2, 3, VERTICES, 3)
    gathered = coarse[..., tokenizer.up_index.long(), :]
    expected = (gathered * tokenizer.up_weight[..., None]).sum(-2)
    torch.testing.assert_close(tokenizer.full_mesh(coarse), expected)
    torch.testing.assert_close(tokenizer.full_mesh(coarse[0, 0]), expected[0, 0])


def test_batch_equals_one_by_one():
    tokenizer = make_tokenizer().eval()
    mesh = bodies(tokenizer, 4)
    single = torch.cat([tokenizer.encode_latent(one[None]) for one in mesh])
    torch.testing.assert_close(tokenizer.encode_latent(mesh), single, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_learns_to_rebuild_bodies_in_bfloat16():
    tokenizer = make_tokenizer(1)
    optimizer = torch.optim.AdamW(tokenizer.parameters(), 3e-3)
    mesh = bodies(tokenizer, 64)
    first = (mesh - tokenizer.rest).norm(dim=-1).mean()
    for _ in range(60):
        with torch.autocast("cpu", torch.bfloat16):
            output, commitment = tokenizer.reconstruct(mesh)
        error = (output - mesh).norm(dim=-1).mean()
        (error + 0.25 * commitment).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert float(error.detach()) < 0.6 * float(first)
    assert len(tokenizer.encode(mesh).unique()) > 8
