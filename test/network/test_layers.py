"""The transformer layers: what may see what, rotary positions, shortcuts that change nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from moro_ros.network import layers
from moro_ros.network.layers import Attention, DSTFormer, TimeAxis, TransformerBlock, initialise

DIM, HEADS = 32, 4


def former(span: int = 60, depth: int = 2, branches: str = "dual") -> DSTFormer:
    torch.manual_seed(0)
    module = DSTFormer(
        dim=DIM, depth=depth, heads=HEADS, mlp_ratio=2, attention_span=span, branches=branches
    )
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return module


def tokens(batch: int = 2, frames: int = 9, count: int = 5) -> torch.Tensor:
    return torch.randn(batch, frames, count, DIM, generator=torch.Generator().manual_seed(1))


def test_attention_is_that_of_pytorch():
    torch.manual_seed(0)
    ours = Attention(DIM, HEADS)
    theirs = torch.nn.MultiheadAttention(DIM, HEADS, batch_first=True)
    theirs.in_proj_weight.data, theirs.in_proj_bias.data = ours.qkv.weight, ours.qkv.bias
    theirs.out_proj.load_state_dict(ours.proj.state_dict())
    x = torch.randn(3, 7, DIM)
    torch.testing.assert_close(ours(x), theirs(x, x, x)[0], rtol=1e-5, atol=1e-6)


def test_rotary_positions_are_relative():
    """Products of turned queries and keys depend on how far apart the frames are, and only so."""
    axis = TimeAxis.of(20, 60, 8, torch.device("cpu"))
    query, key = torch.randn(8), torch.randn(8)
    scores = axis.rotate(query.expand(20, 8)) @ axis.rotate(key.expand(20, 8)).T
    for distance in (-7, 0, 3):
        diagonal = scores.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=0, atol=1e-4)
    assert scores[0].std() > 1e-2


def test_rotary_angles():
    """Channels 2m and 2m+1 turn by frame * 10000^(-2m / width)."""
    axis = TimeAxis.of(6, 60, 8, torch.device("cpu"))
    x = torch.zeros(6, 8)
    x[:, 2] = 1
    angle = 5 * 10_000 ** (-2 / 8)
    turned = axis.rotate(x)[5]
    torch.testing.assert_close(turned[2:4], torch.tensor([angle, angle - torch.pi / 2]).cos())
    assert not turned[:2].any() and not turned[4:].any()


@pytest.mark.parametrize("frames", [5, 6, 12])
def test_reach_of_one_temporal_attention(frames):
    span = 4
    block = former(span).layers[0].time_first.time
    axis = TimeAxis.of(frames, span, DIM // HEADS, torch.device("cpu"))
    assert (axis.near is None) == (frames <= span + 1)
    x = tokens(frames=frames, count=1)[:, :, 0]
    changed = x.clone()
    changed[:, 0] = 0
    difference = (block(changed, axis) - block(x, axis)).abs().amax((0, 2))
    assert (difference[: span + 1] > 1e-4).all()
    assert not difference[span + 1 :].any()


@pytest.mark.parametrize("span", [3, 20, 60])
@pytest.mark.parametrize("frames", [62, layers.BLOCK, layers.BLOCK + 1, 2 * layers.BLOCK + 70])
def test_blocks_of_a_long_clip_are_the_whole_band(span, frames):
    """The plain form: all scores at once, those outside the band at minus infinity."""
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, HEADS, frames, 8).unbind(0)
    distance = (torch.arange(frames)[:, None] - torch.arange(frames)).abs()
    scores = (query @ key.mT * 8**-0.5).masked_fill(distance > span, float("-inf"))
    axis = TimeAxis.of(frames, span, 8, torch.device("cpu"))
    ours = axis.attend(query, key, value)
    torch.testing.assert_close(ours, scores.softmax(-1) @ value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("ahead", [0, 2, 9])
def test_ahead_limits_the_future_alone(ahead):
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, HEADS, 20, 8).unbind(0)
    offset = torch.arange(20) - torch.arange(20)[:, None]
    unseen = (offset < -5) | (offset > min(ahead, 5))
    scores = (query @ key.mT * 8**-0.5).masked_fill(unseen, float("-inf"))
    axis = TimeAxis.of(20, 5, 8, torch.device("cpu"), ahead)
    ours = axis.attend(query, key, value)
    torch.testing.assert_close(ours, scores.softmax(-1) @ value, rtol=1e-5, atol=1e-5)


class Largest(TorchDispatchMode):
    """Notes the largest number of elements that any operation returned."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None) -> Any:
        result = function(*args, **(kwargs or {}))
        for value in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(value, torch.Tensor):
                self.elements = max(self.elements, value.numel())
        return result


def test_memory_grows_with_the_length_and_not_its_square():
    """On the meta device attention writes all of its scores, which makes their size visible."""
    with torch.device("meta"):
        block = DSTFormer(
            dim=8, depth=1, heads=4, mlp_ratio=1, attention_span=60, branches="temporal"
        )
    sizes = []
    for frames in (5 * layers.BLOCK, 20 * layers.BLOCK):
        with Largest() as largest, torch.no_grad():
            block(torch.empty(1, frames, 1, 8, device="meta"))
        sizes.append(largest.elements)
    # Scores of a block, 4 heads x 128 x 248, or the tokens times the MLP's width.
    assert sizes[0] == 4 * layers.BLOCK * (layers.BLOCK + 120)
    assert sizes[1] <= 4 * sizes[0]


def test_a_clip_does_not_see_another():
    module, x = former(), tokens()
    torch.testing.assert_close(module(x)[1:], module(x[1:]), rtol=1e-5, atol=1e-5)


def test_attention_knows_no_order_of_tokens_in_a_frame():
    module, x = former(), tokens()
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(module(x[:, :, order]), module(x)[:, :, order], rtol=1e-5, atol=1e-5)


def test_fusion_starts_as_the_mean_of_both_orders():
    module, x = former(depth=1), tokens()
    initialise(module)
    layer, axis = module.layers[0], module.time_axis(x)
    mean = (layer.space_first(x, axis) + layer.time_first(x, axis)) / 2
    torch.testing.assert_close(module(x), mean)


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("span", [3, 60])
def test_shortcuts_change_nothing(depth, span):
    module, x = former(span, depth), tokens()
    whole = module(x)
    known = module.first_look(x[:, :, 3:])
    torch.testing.assert_close(module(x, known=known), whole, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(module(x, queries=2), whole[:, :, :2], rtol=1e-5, atol=1e-5)
    for queries in (2, 4):  # fewer than the tokens that move, and one that is known beforehand
        both = module(x, known=known, queries=queries)
        torch.testing.assert_close(both, whole[:, :, :queries], rtol=1e-5, atol=1e-5)


def test_shortcuts_keep_the_gradient():
    module, x = former(), tokens().requires_grad_()
    (plain,) = torch.autograd.grad(module(x)[:, :, :2].square().sum(), x)
    short = module(x, known=module.first_look(x[:, :, 3:]), queries=2)
    (gradient,) = torch.autograd.grad(short.square().sum(), x)
    torch.testing.assert_close(gradient, plain, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("near", [None, torch.ones(9, 9).tril().triu(-3).bool()])
def test_plain_products_are_the_fused_kernel(near):
    query, key, value = torch.randn(3, 2, HEADS, 9, 8).bfloat16().unbind(0)
    plain = layers.attend(query.requires_grad_(), key, value, near)
    fused = layers.attend(query.detach(), key, value, near)
    torch.testing.assert_close(plain, fused, rtol=0, atol=3e-2)


def test_temporal_layers_mix_frames_only():
    module, x = former(branches="temporal"), tokens(count=2)
    changed = x.clone()
    changed[:, :, 1] = 0
    torch.testing.assert_close(module(changed)[:, :, 0], module(x)[:, :, 0])
    changed[:, 3, 0] = 0
    assert (module(changed)[:, 0, 0] - module(x)[:, 0, 0]).abs().max() > 1e-5


def test_block_adds_to_its_input():
    block = TransformerBlock(DIM, HEADS, 2)
    for parameter in (*block.attention.proj.parameters(), *block.mlp.fc2.parameters()):
        torch.nn.init.zeros_(parameter)
    x = torch.randn(2, 5, DIM)
    torch.testing.assert_close(block(x), x)
