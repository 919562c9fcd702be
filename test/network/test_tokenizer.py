"""The paper's mesh tokenizer: recorded values of the published one, and its invariants."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from moro_ros.body.hierarchy import ConnectionTables, build_connection_tables
from moro_ros.network import tokenizer as tokenizer_module
from moro_ros.network.tokenizer import MeshConvTokenizer


@pytest.fixture(scope="module")
def tables(sphere) -> ConnectionTables:
    return build_connection_tables(*sphere, levels=(40, 16, 6), rings=1)


@pytest.fixture()
def tokenizer(tables) -> MeshConvTokenizer:
    torch.manual_seed(0)
    return MeshConvTokenizer.from_tables(tables, channels=(8, 12, 16), codes=32).eval()


def test_sizes_follow_the_tables(tokenizer, sphere):
    vertices = len(sphere[0])
    assert tokenizer.num_tokens == 6
    assert tokenizer.num_vertices == vertices
    mesh = torch.randn(3, vertices, 3)
    ids = tokenizer.encode(mesh)
    assert ids.shape == (3, 6)
    assert tokenizer.decode(ids).shape == mesh.shape
    assert tokenizer.full_mesh(mesh) is mesh


def test_latents_pass_the_elu(tokenizer):
    latent = tokenizer.encode_latent(10 * torch.randn(4, tokenizer.num_vertices, 3))
    assert float(latent.detach().min()) > -1.0


def test_chunks_do_not_change_the_result(tokenizer, monkeypatch):
    mesh = torch.randn(5, tokenizer.num_vertices, 3)
    latent = tokenizer.encode_latent(mesh)
    output = tokenizer.decode_codes(latent)
    monkeypatch.setattr(tokenizer_module, "MESHES_AT_ONCE", 2)
    torch.testing.assert_close(tokenizer.encode_latent(mesh), latent)
    torch.testing.assert_close(tokenizer.decode_codes(latent), output)


def test_a_saved_tokenizer_is_self_contained(tokenizer):
    other = MeshConvTokenizer.from_state(tokenizer.state_dict()).eval()
    mesh = torch.randn(2, tokenizer.num_vertices, 3)
    assert torch.equal(other.encode_latent(mesh), tokenizer.encode_latent(mesh))
    assert torch.equal(other.decode_codes(mesh[:, :6].repeat(1, 1, 3)),
                       tokenizer.decode_codes(mesh[:, :6].repeat(1, 1, 3)))  # fmt: skip


def test_patches_lie_around_their_token(tokenizer, tables, sphere):
    points = sphere[0]
    patches = tokenizer.patch_vertices
    assert patches.shape[0] == 6
    centres = tables.pool[1][:, 1][tables.pool[3][:, 1]][tables.pool[5][:, 1]]
    for patch, centre in zip(patches.numpy(), centres, strict=True):
        assert centre in patch
        spread = np.linalg.norm(points[patch] - points[centre], axis=1)
        assert spread.max() < 1.8


def test_learns_one_shape(tokenizer, sphere):
    tokenizer.train()
    mesh = torch.from_numpy(sphere[0]).float()[None] * torch.linspace(0.8, 1.2, 6)[:, None, None]
    optimizer = torch.optim.Adam(tokenizer.parameters(), 5e-3)
    errors = []
    for _ in range(40):
        output, commitment = tokenizer.reconstruct(mesh)
        error = (output - mesh).norm(dim=-1).mean()
        (error + 0.25 * commitment).backward()
        optimizer.step()
        optimizer.zero_grad()
        errors.append(float(error.detach()))
    assert errors[-1] < 0.5 * errors[0]
