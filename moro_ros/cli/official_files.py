"""The files that the paper's authors published, read without running anything that they contain."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from moro_ros.data.pickles import unpickled
from moro_ros.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class TrajectoryStatistics:
    """Mean and standard deviation of the canonical trajectory, (9,) float32 each."""

    mean: np.ndarray
    std: np.ndarray


def read_statistics(path: Path) -> TrajectoryStatistics:
    """Read `Mean` and `Std` of the authors' amass_cum_traj.pkl.

    Raises: CheckpointError if the file is missing, holds other objects than arrays, or numbers
    that cannot be these statistics.
    """
    try:
        with path.open("rb") as file:
            values = unpickled(file)
        mean, std = (np.asarray(values[key]).reshape(9) for key in ("Mean", "Std"))
        mean, std = mean.astype(np.float32), std.astype(np.float32)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path} does not exist. The authors distribute it separately from the checkpoint. "
            "Without it, give videos to --estimate-trajectory-stats."
        ) from error
    except (pickle.UnpicklingError, OSError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not a pickle of the arrays Mean and Std with 9 numbers each ({error})."
        ) from error
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
        raise CheckpointError(
            f"{path}: Mean {mean} and Std {std} cannot normalise a trajectory. All Std must be "
            "positive; a file with zeros comes from clips of one frame. Get the original file, or "
            "give videos to --estimate-trajectory-stats."
        )
    return TrajectoryStatistics(mean, std)


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a Lightning checkpoint; they stay on disk until they are used.

    Raises: CheckpointError if the file is missing, truncated or holds more than plain data.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist. Give the path of the authors' checkpoint.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, OSError, EOFError, ValueError, KeyError,
            pickle.UnpicklingError) as error:  # fmt: skip
        first_line = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"{path} cannot be read as a PyTorch checkpoint of tensors ({first_line}). It is "
            "truncated or not a checkpoint: download it again."
        ) from error
    state = content.get("state_dict") if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(
            f"{path} has no 'state_dict' of tensors; expected a Lightning checkpoint such as "
            "the authors' last.ckpt or tokenizer.ckpt."
        )
    return dict(state)


def require_tensors(
    path: Path, state: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...] | None]
) -> None:
    """Check that a checkpoint holds exactly the tensors expected, by name and shape, all finite.

    shapes: expected shape of each name, None where any will do.
    Raises: CheckpointError that lists the missing, unexpected and mis-shaped ones.
    """
    missing = sorted(set(shapes) - set(state))
    unexpected = sorted(set(state) - set(shapes))
    mis_shaped = [
        f"{name} {tuple(state[name].shape)} instead of {shape}"
        for name, shape in shapes.items()
        if shape is not None and name in state and tuple(state[name].shape) != tuple(shape)
    ]
    parts = [
        f"{len(names)} {kind}: " + ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        for kind, names in (
            ("missing", missing), ("unexpected", unexpected), ("mis-shaped", mis_shaped),
        )
        if names
    ]  # fmt: skip
    if parts:
        raise CheckpointError(
            f"{path} is not the expected checkpoint ({len(shapes)} tensors). " + "; ".join(parts)
            + ". Nothing was imported."
        )  # fmt: skip
    broken = [
        name
        for name, shape in shapes.items()
        if shape is not None and not bool(torch.isfinite(state[name]).all())
    ]
    if broken:
        raise CheckpointError(
            f"{path}: {', '.join(broken[:12])} contain values that are not finite."
        )
