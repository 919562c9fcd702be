"""Where a stage's clips come from: the data sets that its recipe names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from moro_ros.data.pool import WindowPool
from moro_ros.errors import ConfigError
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.geometry.trajectory import trajectory_statistics
from moro_ros.training.clips import TrainingClips
from moro_ros.training.distributed import World
from moro_ros.training.draw import Draw
from moro_ros.training.loop import Source
from moro_ros.training.objective import Bodies
from moro_ros.training.open_source import OpenSource
from moro_ros.training.setup import AnyTokenizer, Training, motion_pool
from moro_ros.training.stage import Stage

OPEN = "open"
# A channel that never changes (a toy data set) must not be divided by zero.
SMALLEST_DEVIATION = 1e-4


@dataclass(frozen=True, slots=True)
class MadeSource:
    """A Source, the files behind it, and the statistics of its canonical trajectories."""

    source: Source
    files: tuple[Path, ...]
    statistics: Callable[[], tuple[Tensor, Tensor]]

    def batches(self, draws: Iterator[Draw]) -> Iterator[TrainingClips]:
        """Yield one batch for each draw."""
        return self.source.batches(draws)


def make_source(
    training: Training, stage: Stage, bodies: Bodies, tokenizer: AnyTokenizer, world: World,
    folder: Path,
) -> MadeSource:  # fmt: skip
    """Build the source of a stage.

    folder: of all runs, where the pool of open motion is kept.
    Raises: ConfigError for sets that cannot be mixed or are not known; DataError if data is missing
    or damaged.
    """
    if stage.data == (OPEN,):
        pool = motion_pool(training, stage, bodies, tokenizer, world, folder)
        source = OpenSource(pool, bodies.whole, stage.observation, filmed=stage.task != "motion")
        files = (Path(training.data.motion),)
        return MadeSource(source, files, lambda: pool_statistics(pool))
    raise ConfigError(f"data: got {', '.join(stage.data)}; expected '{OPEN}' alone.")


def needed_statistics(stage: Stage) -> bool:
    """Return whether a stage must find the statistics of canonical trajectories itself.

    Single frames have no motion; a motion encoder that was trained before brings its own.
    """
    handed_over = stage.task != "motion" and ("motion_encoder" in stage.start or "" in stage.start)
    return stage.longest > 1 and not handed_over


def pool_statistics(pool: WindowPool) -> tuple[Tensor, Tensor]:
    """Return mean and deviation (9,) of a pool's canonical trajectories (spec 1.7)."""
    rotation = rotvec_to_matrix(pool.windows.rotations[:, :, 0])
    mean, std = trajectory_statistics(rotation, pool.windows.translation)
    return mean, torch.clamp(std, min=SMALLEST_DEVIATION)
