"""The transformer layers shared by the motion encoder and the decoder (DSTFormer).

Tokens are (B, F, N, D): batch, frames, tokens per frame, width. Spatial attention mixes the N
tokens of a frame, temporal attention the F frames of a token.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

ROPE_BASE = 10_000.0
SHORT = 128  # up to this length the whole matrix of attention weights fits the caches


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """What temporal attention knows of time, computed once per forward pass.

    turn: (F, head width / 2) complex64, the rotary position of each frame as unit numbers;
    near: (F, F) bool, True where two frames see each other, or None when all do.
    """

    turn: torch.Tensor
    near: torch.Tensor | None

    @staticmethod
    def of(length: int, span: int, head_width: int, device: torch.device) -> TimeAxis:
        """Rotary positions of frames 0..length-1 and the band |i - j| <= span."""
        frames = torch.arange(length, device=device)
        exponents = torch.arange(0, head_width, 2, device=device) / head_width
        angles = frames[:, None] * ROPE_BASE**-exponents
        near = None
        if length > span + 1:
            near = (frames[:, None] - frames[None, :]).abs() <= span
        return TimeAxis(torch.polar(torch.ones_like(angles), angles), near)

    def rotate(self, x: torch.Tensor) -> torch.Tensor:
        """Turn neighbouring channel pairs of x (..., F, head width) by the frame's angle."""
        pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
        return torch.view_as_real(pairs * self.turn).flatten(-2).to(x.dtype)


class Mlp(nn.Module):
    """Two linear maps with an exact GELU between them."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., D) -> (..., D)."""
        return self.fc2(functional.gelu(self.fc1(x)))


class Attention(nn.Module):
    """Multi-head self-attention; over time with rotary positions when a TimeAxis is given."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(
        self, x: torch.Tensor, time: TimeAxis | None = None, queries: int | None = None
    ) -> torch.Tensor:
        """(S, L, D) -> (S, L, D): S sequences of L tokens.

        queries: compute the outputs of the first tokens only, (S, queries, D).
        """
        if queries is None:
            query, key, value = self._heads(self.qkv(x), 3)
        else:
            weight, bias, dim = self.qkv.weight, self.qkv.bias, x.shape[-1]
            first = functional.linear(x[:, :queries], weight[:dim], bias[:dim])
            (query,) = self._heads(first, 1)
            key, value = self._heads(functional.linear(x, weight[dim:], bias[dim:]), 2)
        if time is not None:
            query, key = time.rotate(query), time.rotate(key)
        near = None if time is None else time.near
        mixed = attend(query, key, value, near)
        return self.proj(mixed.transpose(1, 2).flatten(2))

    def _heads(self, x: torch.Tensor, parts: int) -> tuple[torch.Tensor, ...]:
        """Cut (S, L, parts D) into parts of shape (S, heads, L, D / heads)."""
        return x.unflatten(-1, (parts, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, near: torch.Tensor | None
) -> torch.Tensor:
    """Softmax attention over the second to last dimension: (..., heads, L, width) -> the same.

    near: (L, L) bool, True where attention is allowed, or None.
    """
    if (
        query.requires_grad
        and query.dtype is torch.bfloat16
        and query.device.type == "cpu"
        and key.shape[-2] <= SHORT
    ):
        # The backward pass of the fused kernel takes 50 ms where these products take 3 ms
        # (24 clips x 8 heads x 48 frames x width 48, 2 cores); for float32 the two are level.
        scores = (query @ key.mT) * query.shape[-1] ** -0.5
        if near is not None:
            scores = scores.masked_fill(~near, float("-inf"))
        return scores.softmax(-1) @ value
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=near)


class TransformerBlock(nn.Module):
    """Pre-norm attention and MLP, each added to its input."""

    def __init__(self, dim: int, heads: int, mlp_ratio: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attention = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, mlp_ratio * dim)

    def forward(
        self, x: torch.Tensor, time: TimeAxis | None = None, queries: int | None = None
    ) -> torch.Tensor:
        """(S, L, D) -> (S, L, D), or its first tokens (S, queries, D)."""
        x = x[:, :queries] + self.attention(self.norm1(x), time, queries)
        return x + self.mlp(self.norm2(x))


def over_time(block: TransformerBlock, x: torch.Tensor, time: TimeAxis) -> torch.Tensor:
    """Apply a block to every token's sequence of frames: (B, F, N, D) -> the same."""
    batch, _, tokens, _ = x.shape
    sequences = x.transpose(1, 2).flatten(0, 1)  # (B * N, F, D)
    return block(sequences, time).unflatten(0, (batch, tokens)).transpose(1, 2)


def over_space(
    block: TransformerBlock, x: torch.Tensor, queries: int | None = None
) -> torch.Tensor:
    """Apply a block to every frame's set of tokens: (B, F, N, D) -> (B, F, N or queries, D)."""
    return block(x.flatten(0, 1), queries=queries).unflatten(0, x.shape[:2])


class SpatioTemporalBlock(nn.Module):
    """A spatial and a temporal transformer block, in either order."""

    def __init__(self, dim: int, heads: int, mlp_ratio: int, *, space_first: bool) -> None:
        super().__init__()
        self.space = TransformerBlock(dim, heads, mlp_ratio)
        self.time = TransformerBlock(dim, heads, mlp_ratio)
        self.space_first = space_first

    def forward(
        self,
        x: torch.Tensor,
        time: TimeAxis,
        timed: torch.Tensor | None = None,
        queries: int | None = None,
    ) -> torch.Tensor:
        """(B, F, N, D) -> (B, F, N or queries, D).

        timed: what the temporal block made earlier of the last tokens, (B, F, S, D); used if time
        comes first. queries: only the first tokens are wanted.
        """
        if self.space_first:
            return over_time(self.time, over_space(self.space, x, queries), time)
        if timed is None:
            return over_space(self.space, over_time(self.time, x, time), queries)
        moving = over_time(self.time, x[:, :, : -timed.shape[2]], time)
        return over_space(self.space, torch.cat((moving, timed), dim=2), queries)


class DualLayer(nn.Module):
    """Both orders of space and time side by side, mixed with learned weights per token."""

    def __init__(self, dim: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.space_first = SpatioTemporalBlock(dim, heads, mlp_ratio, space_first=True)
        self.time_first = SpatioTemporalBlock(dim, heads, mlp_ratio, space_first=False)
        self.fusion = nn.Linear(2 * dim, 2)

    def forward(
        self,
        x: torch.Tensor,
        time: TimeAxis,
        timed: torch.Tensor | None = None,
        queries: int | None = None,
    ) -> torch.Tensor:
        """(B, F, N, D) -> (B, F, N or queries, D); timed, queries: see SpatioTemporalBlock."""
        space_first = self.space_first(x, time, queries=queries)
        time_first = self.time_first(x, time, timed, queries)
        weights = self.fusion(torch.cat((space_first, time_first), dim=-1)).softmax(-1)
        weights = weights.to(space_first.dtype)
        return weights[..., :1] * space_first + weights[..., 1:] * time_first


class TemporalLayer(nn.Module):
    """A temporal transformer block alone: with one token per frame space has nothing to mix."""

    def __init__(self, dim: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.block = TransformerBlock(dim, heads, mlp_ratio)

    def forward(self, x: torch.Tensor, time: TimeAxis) -> torch.Tensor:
        """(B, F, N, D) -> the same."""
        return over_time(self.block, x, time)


LAYERS = {"dual": DualLayer, "temporal": TemporalLayer}


class DSTFormer(nn.Module):
    """A stack of spatio-temporal layers.

    attention_span: frames that one temporal attention sees to either side; branches: "dual" as in
    the paper, or "temporal".
    """

    def __init__(
        self,
        *,
        dim: int,
        depth: int,
        heads: int,
        mlp_ratio: int,
        attention_span: int,
        branches: str = "dual",
    ) -> None:
        super().__init__()
        self.head_width = dim // heads
        self.attention_span = attention_span
        layer = LAYERS[branches]
        self.layers = nn.ModuleList(layer(dim, heads, mlp_ratio) for _ in range(depth))

    def time_axis(self, x: torch.Tensor) -> TimeAxis:
        """The TimeAxis of tokens (B, F, N, D)."""
        return TimeAxis.of(x.shape[1], self.attention_span, self.head_width, x.device)

    def forward(
        self, x: torch.Tensor, timed: torch.Tensor | None = None, queries: int | None = None
    ) -> torch.Tensor:
        """(B, F, N, D) -> (B, F, N or queries, D).

        timed: first_over_time of the last tokens of x, (B, F, S, D), made once for many passes in
        which these tokens do not change. queries: outputs of only the first tokens are wanted;
        the others then serve the last layer as keys and values alone. Both need dual branches.
        """
        time = self.time_axis(x)
        for number, layer in enumerate(self.layers):
            shortcuts: dict[str, torch.Tensor | int] = {}
            if timed is not None and number == 0:
                shortcuts["timed"] = timed
            if queries is not None and number == len(self.layers) - 1:
                shortcuts["queries"] = queries
            x = layer(x, time, **shortcuts)
        return x

    def first_over_time(self, x: torch.Tensor) -> torch.Tensor:
        """What the first layer's time-first branch makes of tokens before space: same shape."""
        first = self.layers[0]
        assert isinstance(first, DualLayer)
        return over_time(first.time_first.time, x, self.time_axis(x))


def initialise(module: nn.Module) -> None:
    """Set all linear maps of a module to truncated normal weights (std 0.02) and zero bias.

    The fusion of the two branches starts as their mean.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.02)
            nn.init.zeros_(part.bias)
    for part in module.modules():
        if isinstance(part, DualLayer):
            nn.init.zeros_(part.fusion.weight)
            nn.init.constant_(part.fusion.bias, 0.5)
