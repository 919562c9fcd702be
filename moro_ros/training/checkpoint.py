"""Training checkpoints: everything needed to go on after a kill as if nothing had happened."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from moro_ros.errors import CheckpointError


class Stateful(Protocol):
    """What can be saved and restored."""

    def state_dict(self) -> Any:
        """Return the state."""

    def load_state_dict(self, state: Any) -> Any:
        """Restore the state."""


def save_checkpoint_state(
    path: Path, step: int, module: nn.Module, optimizer: Stateful, rng: np.random.Generator
) -> None:
    """Write step, weights, optimiser and random states atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    torch.save(
        {
            "step": step,
            "module": module.state_dict(),
            "optimizer": optimizer.state_dict(),
            "torch_rng": torch.get_rng_state(),
            "numpy_rng": rng.bit_generator.state,
        },
        temporary,
    )
    os.replace(temporary, path)


def load_checkpoint_state(
    path: Path, module: nn.Module, optimizer: Stateful, rng: np.random.Generator
) -> int:
    """Restore what save_checkpoint_state wrote; return the step to go on from.

    Raises: CheckpointError if the file is damaged or belongs to another network.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        module.load_state_dict(state["module"])
        optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, KeyError, ValueError, OSError) as error:
        raise CheckpointError(
            f"{path}: cannot resume from this checkpoint ({error}). Start without --resume, or "
            "give the configuration that it was trained with."
        ) from error
    torch.set_rng_state(state["torch_rng"])
    rng.bit_generator.state = state["numpy_rng"]
    return int(state["step"])
