"""Stochastic depth: branches of whole samples vanish in training, and none otherwise."""

import pytest
import torch

from moro_ros.network.layers import TransformerBlock
from moro_ros.training.drop_path import DropPath, add_drop_path


def test_samples_are_dropped_whole_and_the_mean_stays():
    torch.manual_seed(0)
    module, ones = torch.nn.Identity(), torch.ones(4000, 3, 2)
    output = DropPath(0.4)(module.train(), None, ones)
    per_sample = output.flatten(1)
    assert (per_sample == per_sample[:, :1]).all()
    assert float((per_sample[:, 0] == 0).float().mean()) == pytest.approx(0.4, abs=0.03)
    assert float(output.mean()) == pytest.approx(1.0, abs=0.05)
    assert torch.equal(DropPath(0.4)(module.eval(), None, ones), ones)


def test_rates_rise_linearly_and_the_network_feels_them():
    torch.manual_seed(0)
    blocks = torch.nn.Sequential(*(TransformerBlock(8, 2, 2) for _ in range(3)))
    x = torch.randn(64, 5, 8)
    before = blocks(x)
    hooks = add_drop_path(blocks, 0.5)
    assert [hook.rate for hook in hooks] == [0.0, 0.25, 0.5]
    assert torch.equal(blocks.eval()(x), before)
    assert not torch.allclose(blocks.train()(x), before)
    single = TransformerBlock(8, 2, 2).train()
    for branch in (single.attention, single.mlp):
        branch.register_forward_hook(DropPath(0.5))
    passed_by = (single(x.repeat(8, 1, 1)) == x.repeat(8, 1, 1)).flatten(1).all(1)
    assert float(passed_by.float().mean()) == pytest.approx(0.25, abs=0.06)
