"""Stochastic depth for the image backbone (Huang et al., ECCV 2016).

A residual branch is left out for whole samples at random and scaled up for the others. It is hung
onto the branches from outside, because the network itself knows nothing of its training.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class DropPath:
    """A forward hook that drops a branch's output (N, ...) for some of the N samples."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, module: nn.Module, _: object, output: Tensor) -> Tensor:
        """Return the output unchanged out of training, or each sample zeroed or scaled."""
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
