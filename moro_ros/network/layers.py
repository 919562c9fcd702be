"""The transformer layers shared by the motion encoder and the decoder (DSTFormer).

Tokens are (B, F, N, D): batch, frames, tokens per frame, width. Spatial attention mixes the N
tokens of a frame, temporal attention the F frames of a token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn
from torch.nn import functional

ROPE_BASE = 10_000.0
SHORT = 128  # up to this length the full attention matrix fits the caches
BLOCK = 128  # frames of a long clip that attend together: fewer waste less, more start less often


class Time(Protocol):
    """Interface of time in temporal attention: TimeAxis for clips, rows.RowTime for live frames."""

    def rotate(self, x: torch.Tensor) -> torch.Tensor:
        """Rotate x (S, heads, F, head width) by the rotary positions of its frames."""

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attention of frames to those that they may see: (S, heads, F, head width) -> the same."""


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """Time for temporal attention, computed once per forward pass.

    turn: (F, head width / 2) complex64, the rotary position of each frame as unit numbers;
    span: frames that are seen to either side; near: (BLOCK, BLOCK + 2 span) bool, True where a
    frame of a block sees one of those from span before to span after the block, or None if all
    frames see each other. One mask is used for all blocks: no array grows with F x F.
    """

    turn: torch.Tensor
    span: int
    near: torch.Tensor | None

    @staticmethod
    def of(
        length: int, span: int, head_width: int, device: torch.device, ahead: int | None = None
    ) -> TimeAxis:
        """Rotary positions of frames 0..length-1 and the band i - span <= j <= i + ahead.

        ahead: frames of the future that each frame sees, at most span; None sees span.
        """
        frames = torch.arange(length, device=device)
        exponents = torch.arange(0, head_width, 2, device=device) / head_width
        angles = frames[:, None] * ROPE_BASE**-exponents
        near = None
        ahead = span if ahead is None else min(ahead, span)
        if length > min(span, ahead) + 1:
            other = torch.arange(BLOCK + 2 * span, device=device) - span
            offset = other[None, :] - torch.arange(BLOCK, device=device)[:, None]
            near = (offset >= -span) & (offset <= ahead)
        return TimeAxis(torch.polar(torch.ones_like(angles), angles), span, near)

    def rotate(self, x: torch.Tensor) -> torch.Tensor:
        """Rotate neighbouring channel pairs of x (..., F, head width) by the frame's angle."""
        pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
        return torch.view_as_real(pairs * self.turn).flatten(-2).to(x.dtype)

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attention of each frame to those within the span: (..., F, width) -> the same.

        Block by block of queries, each against the frames that it can see, so that operations and
        memory grow linearly with the length of the clip.
        """
        if self.near is None:
            return attend(query, key, value, None)
        length, parts = query.shape[-2], []
        for start in range(0, length, BLOCK):
            stop = min(start + BLOCK, length)
            first, last = max(0, start - self.span), min(length, stop + self.span)
            before = first - (start - self.span)
            near = self.near[: stop - start, before : before + last - first]
            seen = (key[..., first:last, :], value[..., first:last, :])
            parts.append(attend(query[..., start:stop, :], *seen, near))
        return torch.cat(parts, dim=-2)


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
        self,
        x: torch.Tensor,
        time: Time | None = None,
        queries: int | None = None,
        known: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(S, L, D) -> (S, L, D): S sequences of L tokens.

        queries: compute the outputs of the first tokens only, (S, queries, D). known: what qkv
        made earlier of further tokens that follow those of x, (S, K, 3 D); L then counts both.
        """
        if known is not None:
            query, key, value = self._heads(torch.cat((self.qkv(x), known), dim=1), 3)
            query = query[..., :queries, :]
        elif queries is None:
            query, key, value = self._heads(self.qkv(x), 3)
        else:
            weight, bias, dim = self.qkv.weight, self.qkv.bias, x.shape[-1]
            first = functional.linear(x[:, :queries], weight[:dim], bias[:dim])
            (query,) = self._heads(first, 1)
            key, value = self._heads(functional.linear(x, weight[dim:], bias[dim:]), 2)
        if time is None:
            mixed = attend(query, key, value, None)
        else:
            mixed = time.attend(time.rotate(query), time.rotate(key), value)
        return self.proj(mixed.transpose(1, 2).flatten(2))

    def _heads(self, x: torch.Tensor, parts: int) -> tuple[torch.Tensor, ...]:
        """Split (S, L, parts D) into parts of shape (S, heads, L, D / heads)."""
        return x.unflatten(-1, (parts, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, near: torch.Tensor | None
) -> torch.Tensor:
    """Softmax attention over the second to last dimension: (..., heads, L, width) -> the same.

    near: (L, L') bool, True where a query may attend to a key, or None; the number of keys and
    values may differ from that of queries.
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
        self,
        x: torch.Tensor,
        time: Time | None = None,
        queries: int | None = None,
        known: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(S, L, D) -> (S, L, D), or its first tokens (S, queries, D).

        known: project(last tokens of x), (S, K, 3 D), made earlier.
        """
        new = x if known is None else x[:, : -known.shape[1]]
        x = x[:, :queries] + self.attention(self.norm1(new), time, queries, known)
        return x + self.mlp(self.norm2(x))

    def project(self, x: torch.Tensor) -> torch.Tensor:
        """Queries, keys and values of the attention, side by side: (S, L, D) -> (S, L, 3 D)."""
        projected: torch.Tensor = self.attention.qkv(self.norm1(x))
        return projected


@dataclass(frozen=True, slots=True)
class FirstLook:
    """The first layer's results for tokens (B, F, K, D) before they interact with others.

    timed: (B, F, K, D), after the first temporal block of the time-first branch; projected:
    (B, F, K, 3 D), queries, keys and values of the first spatial block of the other branch.
    """

    timed: torch.Tensor
    projected: torch.Tensor


def over_time(block: TransformerBlock, x: torch.Tensor, time: Time) -> torch.Tensor:
    """Apply a block to every token's sequence of frames: (B, F, N, D) -> the same."""
    batch, _, tokens, _ = x.shape
    sequences = x.transpose(1, 2).flatten(0, 1)  # (B * N, F, D)
    return block(sequences, time).unflatten(0, (batch, tokens)).transpose(1, 2)


def over_space(
    block: TransformerBlock,
    x: torch.Tensor,
    queries: int | None = None,
    projected: torch.Tensor | None = None,
) -> torch.Tensor:
    """Apply a block to every frame's set of tokens: (B, F, N, D) -> (B, F, N or queries, D).

    projected: block.project of the last tokens, (B, F, K, 3 D), made earlier.
    """
    known = None if projected is None else projected.flatten(0, 1)
    return block(x.flatten(0, 1), queries=queries, known=known).unflatten(0, x.shape[:2])


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
        time: Time,
        known: FirstLook | None = None,
        queries: int | None = None,
    ) -> torch.Tensor:
        """(B, F, N, D) -> (B, F, N or queries, D).

        known: of the last tokens, if x is the input of the stack. queries: only the first tokens
        are wanted.
        """
        if self.space_first:
            projected = None if known is None else known.projected
            return over_time(self.time, over_space(self.space, x, queries, projected), time)
        if known is None:
            return over_space(self.space, over_time(self.time, x, time), queries)
        moving = over_time(self.time, x[:, :, : -known.timed.shape[2]], time)
        return over_space(self.space, torch.cat((moving, known.timed), dim=2), queries)


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
        time: Time,
        known: FirstLook | None = None,
        queries: int | None = None,
    ) -> torch.Tensor:
        """(B, F, N, D) -> (B, F, N or queries, D); known, queries: see SpatioTemporalBlock."""
        space_first = self.space_first(x, time, known, queries)
        time_first = self.time_first(x, time, known, queries)
        weights = self.fusion(torch.cat((space_first, time_first), dim=-1)).softmax(-1)
        weights = weights.to(space_first.dtype)
        return weights[..., :1] * space_first + weights[..., 1:] * time_first


class TemporalLayer(nn.Module):
    """Only a temporal transformer block: with one token per frame there is no spatial mixing."""

    def __init__(self, dim: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.block = TransformerBlock(dim, heads, mlp_ratio)

    def forward(self, x: torch.Tensor, time: Time) -> torch.Tensor:
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
        self.dim, self.head_width = dim, dim // heads
        self.attention_span = attention_span
        layer = LAYERS[branches]
        self.layers = nn.ModuleList(layer(dim, heads, mlp_ratio) for _ in range(depth))

    def time_axis(self, x: torch.Tensor, ahead: int | None = None) -> TimeAxis:
        """The TimeAxis of tokens (B, F, N, D)."""
        return TimeAxis.of(x.shape[1], self.attention_span, self.head_width, x.device, ahead)

    def forward(
        self,
        x: torch.Tensor,
        known: FirstLook | None = None,
        queries: int | None = None,
        ahead: int | None = None,
        time: Time | None = None,
    ) -> torch.Tensor:
        """(B, F, N, D) -> (B, F, N or queries, D).

        known: first_look of the last tokens of x, made once for many passes in which these tokens
        do not change. queries: outputs of only the first tokens are wanted; the others then serve
        the last layer as keys and values alone. Both need dual branches. ahead: frames of the
        future that each temporal attention sees, None for attention_span; time: instead of a clip
        whose frames follow one another.
        """
        time = time or self.time_axis(x, ahead)
        for number, layer in enumerate(self.layers):
            shortcuts: dict[str, FirstLook | int] = {}
            if known is not None and number == 0:
                shortcuts["known"] = known
            if queries is not None and number == len(self.layers) - 1:
                shortcuts["queries"] = queries
            x = layer(x, time, **shortcuts)
        return x

    def first_look(
        self, x: torch.Tensor, ahead: int | None = None, time: Time | None = None
    ) -> FirstLook:
        """The first layer's results for some tokens (B, F, K, D), independent of the others."""
        first = self.layers[0]
        assert isinstance(first, DualLayer)
        return FirstLook(
            timed=over_time(first.time_first.time, x, time or self.time_axis(x, ahead)),
            projected=first.space_first.space.project(x),
        )


def initialise(module: nn.Module) -> None:
    """Set all linear maps of a module to truncated normal weights (std 0.02) and zero bias.

    The fusion of the two branches is initialised as their mean.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.02)
            nn.init.zeros_(part.bias)
    for part in module.modules():
        if isinstance(part, DualLayer):
            nn.init.zeros_(part.fusion.weight)
            nn.init.constant_(part.fusion.bias, 0.5)
