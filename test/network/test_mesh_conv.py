"""Graph convolution and pooling against their plain forms in the paper's notation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from moro_ros.network.mesh_conv import MeshConv, MeshPool

INPUTS, OUTPUTS, NEIGHBOURS, BATCH = 30, 12, 7, 3


@pytest.fixture()
def ids() -> np.ndarray:
    """Neighbour ids with padding, (N_out, K)."""
    rng = np.random.default_rng(0)
    table = np.stack([rng.permutation(INPUTS)[:NEIGHBOURS] for _ in range(OUTPUTS)])
    table[np.arange(NEIGHBOURS) >= rng.integers(1, NEIGHBOURS + 1, (OUTPUTS, 1))] = INPUTS
    return table


def padded(features: torch.Tensor) -> torch.Tensor:
    return torch.cat([features, torch.zeros(1, *features.shape[1:])])


def test_mixing_inputs_first_equals_expanding_kernels(ids):
    torch.manual_seed(0)
    conv = MeshConv(ids, INPUTS, 4, 5)
    torch.nn.init.normal_(conv.bias)
    features = torch.randn(INPUTS, BATCH, 4, requires_grad=True)
    present = torch.from_numpy(ids < INPUTS)
    # The published form, a kernel for each neighbour k of each vertex p:
    # W[p,k,o,i] = sum_w (m w_weights)[p,k,w] weights[w, o Cin + i].
    mixing = conv.mixing * present[..., None]
    expanded = torch.einsum("pkw,woi->pkoi", mixing, conv.kernels.view(9, 5, 4))
    neighbours = padded(features)[torch.from_numpy(ids).long()]  # (N_out, K, B, C)
    plain = torch.einsum("pkoi,pkbi->pbo", expanded, neighbours) + conv.bias
    ours = conv(features)
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-5)
    probe = torch.randn_like(plain)
    wanted = (features, conv.mixing, conv.kernels, conv.bias)
    slow = torch.autograd.grad((plain * probe).sum(), wanted, retain_graph=True)
    fast = torch.autograd.grad((ours * probe).sum(), wanted)
    for a, b in zip(fast, slow, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_pool_is_a_weighted_mean_over_present_neighbours(ids):
    torch.manual_seed(0)
    pool = MeshPool(ids, INPUTS)
    features = torch.randn(INPUTS, BATCH, 4)
    output = pool(features)
    for vertex in range(OUTPUTS):
        present = ids[vertex] < INPUTS
        weight = pool.weight[vertex][torch.from_numpy(present)].abs()
        mean = torch.einsum("k,kbc->bc", weight, features[ids[vertex][present]]) / weight.sum()
        torch.testing.assert_close(output[vertex], mean, rtol=1e-5, atol=1e-6)


def test_pool_keeps_constants(ids):
    features = torch.full((INPUTS, BATCH, 2), 3.0)
    torch.testing.assert_close(
        MeshPool(ids, INPUTS)(features), torch.full((OUTPUTS, BATCH, 2), 3.0), rtol=1e-5, atol=1e-5
    )


def test_initial_outputs_neither_vanish_nor_explode(ids):
    torch.manual_seed(0)
    dense = np.tile(np.arange(INPUTS), (200, 1))
    conv = MeshConv(dense, INPUTS, 16, 16)
    spread = float(conv(torch.randn(INPUTS, 8, 16)).detach().std())
    # 30 neighbours, 9 kernels, 16 channels of unit variance, mixed by 1 / (30 * 9).
    assert spread == pytest.approx((30 * 9 * 16) ** 0.5 / (30 * 9), rel=0.2)
