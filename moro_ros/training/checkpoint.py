"""Training checkpoints: the complete state for resuming a run after it was killed.

Random numbers depend only on the step (clips.Draw), so no generator is stored.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from moro_ros.errors import CheckpointError

CHECKPOINT = "checkpoint.pt"


class Stateful(Protocol):
    """An object whose state can be saved and restored."""

    def state_dict(self) -> Any:
        """Return the state."""

    def load_state_dict(self, state: Any) -> Any:
        """Restore the state."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a run: steps and seconds."""

    step: int = 0
    seconds: float = 0.0


def save_checkpoint(path: Path, progress: Progress, module: nn.Module, optimizer: Stateful) -> None:
    """Write a run's state so that there is always a complete checkpoint on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    state = {
        "step": progress.step,
        "seconds": progress.seconds,
        "module": module.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def load_checkpoint_state(path: Path, module: nn.Module, optimizer: Stateful) -> Progress:
    """Restore a checkpoint of save_checkpoint and return the progress.

    Raises: CheckpointError if the file is damaged or belongs to another network or optimiser.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        module.load_state_dict(state["module"])
        optimizer.load_state_dict(state["optimizer"])
        return Progress(int(state["step"]), float(state["seconds"]))
    except (RuntimeError, KeyError, ValueError, OSError) as error:
        raise CheckpointError(
            f"{path}: cannot resume from this checkpoint ({error}). Start without --resume, or "
            "give the configuration that it was trained with."
        ) from error
