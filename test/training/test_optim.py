"""Optimisers: who gets Muon, how the rate goes, and that a restored one goes on the same way."""

from __future__ import annotations

import pytest
import torch

from moro_ros.model_config import KeypointsConfig, MoroConfig
from moro_ros.network.build import build_moro
from moro_ros.network.layers import TransformerBlock
from moro_ros.training.optim import DropPath, Optimizer, add_drop_path, rate_scale, split_parameters
from moro_ros.training.stage import LoopNumbers


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


TINY = MoroConfig(
    layout="frame", image="keypoints", trajectory="box", rotation_head=True, dim=32, heads=4,
    mlp_ratio=2, encoder_depth=1, decoder_depth=1, num_tokens=6, num_codes=32, logit_rank=8,
    keypoints=KeypointsConfig(hidden=32, blocks=1),
)  # fmt: skip


def test_muon_gets_the_hidden_matrices_only():
    moro = build_moro(TINY)
    hidden, rest = split_parameters(moro)
    assert hidden and all(parameter.ndim == 2 for parameter in hidden)
    assert any(parameter.ndim == 1 for parameter in rest)
    assert len(Optimizer(moro, LoopNumbers(optimizer="muon")).parts) == 2
    (adam,) = Optimizer(moro, LoopNumbers(beta2=0.99, weight_decay=0.3)).parts
    group = adam.param_groups[0]
    assert len(group["params"]) == len(hidden) + len(rest)
    assert group["betas"] == (0.9, 0.99) and group["weight_decay"] == 0.3


def test_frozen_parameters_are_left_alone():
    moro = build_moro(TINY)
    moro.image_encoder.requires_grad_(False)
    own = {id(parameter) for parameter in moro.image_encoder.parameters()}
    assert not own & {id(parameter) for parameter in Optimizer(moro, LoopNumbers()).parameters}


def test_the_papers_schedule():
    """2,000 of 40,000 steps from 0.01 to 1, then a cosine to 0.1."""
    numbers = LoopNumbers(steps=40_000, warm_up=0.05, first=0.01, last=0.1)
    scale = [rate_scale(step / 40_000, numbers) for step in (0, 1000, 2000, 21_000, 40_000)]
    assert scale == pytest.approx([0.01, 0.505, 1.0, 0.55, 0.1])
    assert rate_scale(0.0, LoopNumbers(warm_up=0.0)) == 1.0


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_restored_optimiser_steps_alike(kind):
    numbers = LoopNumbers(optimizer=kind, learning_rate=1e-2, clip=0.5)

    def stepped(resume: bool) -> torch.Tensor:
        torch.manual_seed(0)
        layer = torch.nn.Sequential(torch.nn.Linear(4, 4))
        optimizer = Optimizer(layer, numbers)
        for step in range(4):
            if resume and step == 2:
                state = optimizer.state_dict()
                optimizer = Optimizer(layer, numbers)
                optimizer.load_state_dict(state)
            (100 * layer(torch.ones(2, 4)).square().sum()).backward()
            assert float(optimizer.step(0.5)) > 0.5
            assert all(parameter.grad is None for parameter in layer.parameters())
        return layer[0].weight.detach()

    assert torch.equal(stepped(False), stepped(True))
