"""Optimisers: who gets Muon, how the rate goes, and that a restored one goes on the same way."""

import pytest
import torch

from moro_ros.model_config import KeypointsConfig, MoroConfig
from moro_ros.network.build import build_moro
from moro_ros.training.optim import Optimizer, rate_scale, split_parameters
from moro_ros.training.stage import LoopNumbers

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
