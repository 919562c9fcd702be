"""Optimiser and learning-rate schedule of the open model.

The paper trains with AdamW (spec 7.1). For short trainings on a CPU, Muon on the hidden matrices
reached the same error in about half the steps (docs/training.md), so it is used for them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

# Matrices that map from or to something other than hidden features keep AdamW.
EDGE_MODULES = ("embed", "head", "regressor", "codebook")


def split_parameters(module: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return (hidden matrices, everything else) of the trainable parameters."""
    hidden: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        edge = any(word in name for word in EDGE_MODULES)
        (rest if parameter.ndim != 2 or edge else hidden).append(parameter)
    return hidden, rest


class TwoOptimizers:
    """Muon for hidden matrices and AdamW for the rest, stepped together.

    peak: learning rate at scale 1, shared (Muon's is matched to AdamW's update size).
    """

    def __init__(self, module: nn.Module, peak: float, weight_decay: float = 0.01) -> None:
        hidden, rest = split_parameters(module)
        self.peak = peak
        self.parameters = hidden + rest
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(rest, lr=peak, betas=(0.9, 0.98), weight_decay=weight_decay)
        ]
        if hidden:
            self.parts.append(
                torch.optim.Muon(
                    hidden,
                    lr=peak,
                    weight_decay=weight_decay,
                    adjust_lr_fn="match_rms_adamw",
                    ns_steps=4,
                )
            )

    def step(self, scale: float, clip: float = 1.0) -> float:
        """Clip the gradients to a norm, step at peak * scale, clear; return the gradient norm."""
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, clip)
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = self.peak * scale
            part.step()
            part.zero_grad(set_to_none=True)
        return float(norm)

    def state_dict(self) -> list[dict[str, object]]:
        """Return the state of both optimisers."""
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, state: Iterable[dict[str, object]]) -> None:
        """Restore both optimisers."""
        for part, saved in zip(self.parts, state, strict=True):
            part.load_state_dict(saved)


def warm_cosine(progress: float, warm: float = 0.02, floor: float = 0.02) -> float:
    """Return the learning-rate scale at a progress in [0, 1]: linear warm-up, cosine decay."""
    if progress < warm:
        return max(progress / warm, 1e-3)
    phase = min(1.0, (progress - warm) / (1.0 - warm))
    return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * phase))


class RunningMean:
    """An exponential running mean of named scalars, for the progress line."""

    def __init__(self, keep: float = 0.98) -> None:
        self.keep = keep
        self.values: dict[str, float] = {}

    def update(self, values: dict[str, Tensor | float]) -> dict[str, float]:
        """Mix in new values and return all means."""
        for name, value in values.items():
            number = float(value)
            old = self.values.get(name, number)
            self.values[name] = self.keep * old + (1 - self.keep) * number
        return self.values
