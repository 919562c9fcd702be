"""Optimisers, learning-rate schedule and stochastic depth of every stage.

The paper (arXiv 2601.16079) trains with AdamW. For short trainings on a CPU, Muon on the hidden
matrices reached the same error in about half the steps (docs/training.md), so the open model uses
both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from moro_ros.training.distributed import autocast_dtype
from moro_ros.training.stage import LoopNumbers


class DropPath:
    """A forward hook that drops a branch's output (N, ...) for some of the N samples at random.

    Stochastic depth (Huang et al., ECCV 2016): the other samples' output is scaled up. It is a
    hook, because the network is independent of training.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, module: nn.Module, _: object, output: Tensor) -> Tensor:
        """Return the output unchanged in evaluation, or each sample zeroed or scaled."""
        if not module.training or self.rate == 0.0:
            return output
        keep = 1.0 - self.rate
        shape = (output.shape[0], *(1,) * (output.dim() - 1))
        kept = torch.rand(shape, device=output.device) < keep
        return output * (kept.to(output.dtype) / keep)


def add_drop_path(blocks: Iterable[nn.Module], largest: float) -> list[DropPath]:
    """Give each block's attention and MLP a rate that rises linearly from 0 to `largest`.

    blocks: with the branches `attention` and `mlp`, in running order.
    """
    blocks = list(blocks)
    hooks = []
    for number, block in enumerate(blocks):
        hook = DropPath(largest * number / max(1, len(blocks) - 1))
        for branch in (block.attention, block.mlp):
            assert isinstance(branch, nn.Module)
            branch.register_forward_hook(hook)
        hooks.append(hook)
    return hooks


# Matrices of other layers than hidden ones use AdamW.
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


class Muon(torch.optim.Optimizer):
    """Muon (Jordan 2024); matrices of one shape are orthogonalised together.

    precision: of the orthogonalisation. torch.optim.Muon always uses bfloat16, which CPUs without
    AMX or AVX512_BF16 emulate: there one 256 x 512 matrix takes 32 times as long as in float32. The
    step is matched to AdamW's in size (Liu et al. 2025).
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        steps: int = 4,
        precision: torch.dtype = torch.float32,
    ) -> None:
        self.precision = precision
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "steps": steps}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            shapes: dict[tuple[int, ...], list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes.setdefault(tuple(sorted(parameter.shape)), []).append(parameter)
            for (short, long), alike in shapes.items():
                updates = []
                for parameter in alike:
                    gradient = parameter.grad
                    assert gradient is not None
                    mean = self.state[parameter].setdefault("mean", torch.zeros_like(parameter))
                    mean.lerp_(gradient, 1 - group["momentum"])
                    update = gradient.lerp(mean, group["momentum"])
                    updates.append(update if len(update) == short else update.mT)
                found = orthogonal(torch.stack(updates), group["steps"], self.precision)
                size = -0.2 * group["lr"] * long**0.5
                for parameter, update in zip(alike, found, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(update if len(parameter) == short else update.mT, alpha=size)


def orthogonal(
    matrices: torch.Tensor, steps: int, precision: torch.dtype = torch.float32
) -> torch.Tensor:
    """Return nearly orthogonal matrices (N, m, n), m <= n, with the singular vectors of others.

    Newton-Schulz iteration in `precision` with the coefficients of Jordan 2024.
    """
    x = (matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)).to(precision)
    for _ in range(steps):
        square = x @ x.mT
        odd = torch.baddbmm(square, square, square, beta=-4.7750, alpha=2.0315)
        x = torch.baddbmm(x, odd, x, beta=3.4445)
    return x.to(matrices.dtype)


class Optimizer:
    """AdamW, optionally with Muon for hidden matrices, stepped together.

    numbers.learning_rate is shared: Muon's update is matched to AdamW's in size.
    """

    def __init__(self, module: nn.Module, numbers: LoopNumbers) -> None:
        hidden, rest = split_parameters(module)
        if numbers.optimizer == "adamw":
            hidden, rest = [], hidden + rest
        self.numbers = numbers
        self.parameters = hidden + rest
        rate, decay = numbers.learning_rate, numbers.weight_decay
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(rest, lr=rate, betas=(0.9, numbers.beta2), weight_decay=decay)
        ]
        if hidden:
            precision = autocast_dtype(numbers.precision, hidden[0].device) or torch.float32
            self.parts.append(Muon(hidden, lr=rate, weight_decay=decay, precision=precision))

    def step(self, progress: float) -> torch.Tensor:
        """Clip the gradients, step at the rate of a progress in [0, 1]; return their norm."""
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.numbers.clip)
        rate = self.numbers.learning_rate * rate_scale(progress, self.numbers)
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = rate
            part.step()
            part.zero_grad(set_to_none=True)
        return norm

    def state_dict(self) -> list[dict[str, object]]:
        """Return the state of both optimisers."""
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, state: Iterable[dict[str, object]]) -> None:
        """Restore both optimisers."""
        for part, saved in zip(self.parts, state, strict=True):
            part.load_state_dict(saved)


def rate_scale(progress: float, numbers: LoopNumbers) -> float:
    """Return the learning rate over its peak: linear warm-up, then a cosine, as published."""
    if progress < numbers.warm_up:
        return numbers.first + (1.0 - numbers.first) * progress / numbers.warm_up
    phase = min(1.0, (progress - numbers.warm_up) / max(1e-9, 1.0 - numbers.warm_up))
    return numbers.last + (1.0 - numbers.last) * 0.5 * (1.0 + math.cos(math.pi * phase))
