"""Masked decoding in a few passes: the tokens with the highest confidence are fixed first.

After MaskGIT (Chang et al., CVPR 2022), all tokens of a clip ranked together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from moro_ros.network.decoder import DecoderOutput
from moro_ros.network.moro import FrameFeatures

FIXED_SCORE = 1e5  # above every probability: a fixed token is never masked again


class MaskedModel(Protocol):
    """Interface of a network for masked decoding: MoRo, or the rows of a live step.

    token_embedding: (C + 1, code width), the codes and one row for masked tokens.
    """

    num_tokens: int
    token_embedding: torch.Tensor

    def context(self, features: FrameFeatures) -> Any:
        """Data that does not change between passes."""

    def decode_window(
        self,
        codes: torch.Tensor,
        features: FrameFeatures,
        rotation: torch.Tensor,
        translation: torch.Tensor,
        *,
        context: Any,
    ) -> DecoderOutput:
        """One pass."""


@dataclass(frozen=True, slots=True)
class KnownTokens:
    """Tokens known beforehand, where keep is True, with their confidence.

    ids, keep (bool), confidence: (B, F, T); codes: (B, F, T, code width).
    """

    ids: torch.Tensor
    keep: torch.Tensor
    codes: torch.Tensor
    confidence: torch.Tensor


@dataclass(frozen=True, slots=True)
class MaskedDecoding:
    """The tokens of B clips of F frames and what was decoded with them.

    ids: (B, F, T) int64; confidence: (B, F, T) probability of each id in the pass that fixed it,
    for known ones the given confidence; codes: (B, F, T, code width), of the ids, or
    probability-weighted means; output: of the decoder in the last pass.
    """

    ids: torch.Tensor
    confidence: torch.Tensor
    codes: torch.Tensor
    output: DecoderOutput


def decode_masked(
    model: MaskedModel,
    features: FrameFeatures,
    passes: int = 5,
    *,
    soft: bool = False,
    known: KnownTokens | None = None,
    order: torch.Generator | None = None,
) -> MaskedDecoding:
    """Recover the tokens and the trajectory of B clips from their images' features.

    passes: forward passes. soft: feed and return probability-weighted codes instead of the most
    likely ones. known: tokens that are not decoded. order: generator of a random order in which
    tokens are fixed, instead of by confidence; for comparison only.
    """
    state = _start(model, features) if known is None else _resume(known)
    unknown = state.unknown
    rotation, translation = features.rotation, features.translation
    context = model.context(features)
    for step in range(passes):
        masked = unknown
        if step:
            ratio = (1 + math.cos(math.pi * step / passes)) / 2
            count = (ratio * unknown.sum(dim=1, keepdim=True)).round().clamp_min(1)  # (B, 1)
            rank = state.scores.argsort(dim=1, stable=True).argsort(dim=1, stable=True)
            masked = (rank < count) & unknown
        visible = torch.where(masked[..., None], torch.zeros_like(state.codes), state.codes)
        output = model.decode_window(
            visible.unflatten(1, state.shape), features, rotation, translation, context=context
        )
        rotation, translation = output.rotation, output.translation
        state.fix(model, masked, output.logits, soft)
        if order is not None:
            state.shuffle(masked, order)
    return MaskedDecoding(
        ids=state.ids.unflatten(1, state.shape),
        confidence=state.confidence.unflatten(1, state.shape),
        codes=state.codes.unflatten(1, state.shape),
        output=output,
    )


@dataclass(slots=True)
class _State:
    """State of the tokens, with the clip's frames and tokens in one dimension N = F T.

    shape: (F, T); unknown: (B, N) bool, not given beforehand; scores: (B, N), least is masked next.
    """

    shape: tuple[int, int]
    unknown: torch.Tensor
    ids: torch.Tensor
    codes: torch.Tensor
    confidence: torch.Tensor
    scores: torch.Tensor

    def fix(
        self,
        model: MaskedModel,
        masked: torch.Tensor,
        logits: torch.Tensor,
        soft: bool,
    ) -> None:
        """Assign id, code and score to every masked token (B, N), from logits (B, F, T, C)."""
        logits = logits.flatten(1, 2).float()
        probability = logits.softmax(dim=-1)
        picked = logits.argmax(dim=-1)
        embedding = model.token_embedding
        codes = probability @ embedding[:-1] if soft else embedding[picked]
        sure = probability.gather(-1, picked[..., None]).squeeze(-1)
        self.ids = torch.where(masked, picked, self.ids)
        self.codes = torch.where(masked[..., None], codes, self.codes)
        self.confidence = torch.where(masked, sure, self.confidence)
        self.scores = torch.where(masked, sure, torch.full_like(sure, FIXED_SCORE))

    def shuffle(self, masked: torch.Tensor, order: torch.Generator) -> None:
        """Replace the scores of the tokens that were just assigned by random ones."""
        draw = torch.rand(masked.shape, generator=order).to(masked.device)
        self.scores = torch.where(masked, draw, self.scores)


def _resume(known: KnownTokens) -> _State:
    """Start from tokens known beforehand."""
    keep = known.keep.flatten(1)
    codes = known.codes.flatten(1, 2)
    sure = keep.to(codes.dtype)
    return _State(
        shape=(known.ids.shape[1], known.ids.shape[2]),
        unknown=~keep,
        ids=known.ids.flatten(1),
        codes=torch.where(keep[..., None], codes, torch.zeros_like(codes)),
        confidence=torch.where(keep, known.confidence.flatten(1), torch.zeros_like(sure)),
        scores=sure * FIXED_SCORE,
    )


def _start(model: MaskedModel, features: FrameFeatures) -> _State:
    """Start with all tokens masked."""
    batch, frames = features.box_condition.shape[:2]
    shape, embedding = (frames, model.num_tokens), model.token_embedding
    device = features.box_condition.device
    ids = torch.full((batch, frames * model.num_tokens), len(embedding) - 1, device=device)
    nothing = torch.zeros(ids.shape, dtype=embedding.dtype, device=device)
    return _State(
        shape=shape,
        unknown=torch.ones_like(ids, dtype=torch.bool),
        ids=ids,
        codes=embedding[ids],
        confidence=nothing,
        scores=nothing,
    )
