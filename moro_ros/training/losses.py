"""The token loss: cross-entropy over masked tokens, of the very code or spread over near ones."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def near_codes(codebook: Tensor, spread: float) -> Tensor:
    """Return what share of a token each code should get, (C, C): row = true code, rows sum to one.

    A Gaussian of the distance between codes (C, code width) whose deviation is `spread` times the
    mean distance of a code to its nearest: a code beside the true one is hardly a mistake.
    """
    gap = torch.cdist(codebook, codebook)
    nearest = gap.masked_fill(torch.eye(len(gap), dtype=torch.bool), torch.inf).amin(1).mean()
    return (-0.5 * (gap / (spread * nearest)) ** 2).softmax(-1)


def token_loss(
    logits: Tensor, labels: Tensor, masked: Tensor, near: Tensor | None = None
) -> Tensor:
    """Return the cross-entropy over masked tokens: logits (B, F, T, C), the rest (B, F, T).

    near: (C, C) shares of near_codes, or None for the true code alone.
    """
    target = labels.flatten() if near is None else near[labels.flatten()]
    each = cross_entropy(logits.float().flatten(0, 2), target, reduction="none")
    weight = masked.flatten().float()
    return (each * weight).sum() / weight.sum().clamp_min(1.0)
