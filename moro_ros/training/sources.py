"""Sources of a stage's clips: the data sets of its recipe."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from moro_ros.body.body_model import load_body_model
from moro_ros.data.dataset import ClipSet
from moro_ros.data.pool import WindowPool
from moro_ros.data.poses import PoseSampler
from moro_ros.data.sets import SETS, open_set
from moro_ros.errors import ConfigError, DataError
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.geometry.trajectory import trajectory_statistics
from moro_ros.training.clips import Draw, TrainingClips
from moro_ros.training.distributed import World
from moro_ros.training.loop import Source
from moro_ros.training.mesh_terms import Bodies
from moro_ros.training.open_source import FrameSource, OpenSource
from moro_ros.training.set_source import Person, SetItems, SetMeshes, SetSource
from moro_ros.training.setup import (
    AnyTokenizer,
    Training,
    motion_pool,
    open_motion,
    tokenizer_body,
)
from moro_ros.training.stage import Stage
from moro_ros.training.tokenizer_stage import PoseSource

OPEN = "open"
# Avoids division by zero for a constant channel (a toy data set).
SMALLEST_DEVIATION = 1e-4


@dataclass(frozen=True, slots=True)
class MadeSource:
    """A Source, its files, and the statistics of its canonical trajectories."""

    source: Source
    files: tuple[Path, ...]
    statistics: Callable[[], tuple[Tensor, Tensor]]

    def batches(self, draws: Iterator[Draw]) -> Iterator[TrainingClips]:
        """Yield one batch for each draw."""
        return self.source.batches(draws)


@dataclass(frozen=True, slots=True)
class MadeMeshes:
    """A source of meshes, and its files."""

    source: PoseSource | SetMeshes
    files: tuple[Path, ...]


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
        files = motion_files(training.data.motion)
        floor, device = training.moro.keypoints.floor, world.device
        body = copy.deepcopy(bodies.whole)  # it may go to another device
        if stage.task == "estimate":
            motion = open_motion(training.data.motion, "motion")
            single = FrameSource(motion, body, stage, floor=floor, device=device)
            return MadeSource(single, files, no_statistics)
        pool = motion_pool(training, stage, bodies, tokenizer, world, folder)
        source = OpenSource(pool, body, stage, floor=floor, device=device)
        return MadeSource(source, files, lambda: pool_statistics(pool))
    filmed = stage.task != "motion"
    if filmed and training.moro.image != "vit":
        raise ConfigError(
            f"data: {', '.join(stage.data)} have images, but moro.image is "
            f"'{training.moro.image}'; expected 'vit', or data: [{OPEN}]."
        )
    people = people_of(training, bodies, tokenizer)
    opened, folders = open_sets(training, stage.data)
    items = SetItems(
        opened, people, filmed=filmed, extreme=stage.extreme_crops, jitter=stage.jitter
    )
    sets = SetSource(items, stage.loop.workers)
    frames, seed = stage.longest, stage.loop.seed
    return MadeSource(sets, folders, lambda: floored(*sets.statistics(frames, seed)))


def open_sets(training: Training, names: tuple[str, ...]) -> tuple[list[ClipSet], tuple[Path, ...]]:
    """Open published data sets; names: "set" or "set:split".

    Raises: ConfigError for unknown sets; DataError if files are missing or damaged.
    """
    opened, files = [], []
    for entry in names:
        name, _, split = entry.partition(":")
        if name == OPEN or name not in SETS:
            known = ", ".join(some for some in SETS if some != OPEN)
            raise ConfigError(
                f"data: got '{entry}'; expected '{OPEN}' alone, or some of {known}, with a part as "
                "in 'bedlam:frames'."
            )
        if name not in training.data.sets:
            raise DataError(
                f"The stage trains on '{name}', but data.sets.{name} is not set. To obtain "
                f"it: {SETS[name].card.obtain}"
            )
        files.append(Path(training.data.sets[name]).expanduser())
        opened.append(open_set(name, files[-1], split))
    return opened, tuple(files)


def people_of(training: Training, bodies: Bodies, tokenizer: AnyTokenizer) -> dict[str, Person]:
    """Return the bodies of all genders in the recipe."""
    people = {"neutral": Person(bodies.whole, bodies.tokens)}
    for gender in ("male", "female"):
        if path := getattr(training.data, gender):
            whole = load_body_model(path)
            people[gender] = Person(whole, tokenizer_body(tokenizer, whole, Path(path)))
    return people


def make_meshes(
    training: Training, names: tuple[str, ...], key: str, bodies: Bodies, tokenizer: AnyTokenizer
) -> MadeMeshes:
    """Build the source of meshes of the tokenizer's stage.

    names: as in a stage's data; key: of the open motion's file in the section data.
    Raises: ConfigError, DataError, see make_source.
    """
    if names == (OPEN,):
        path = getattr(training.data, key)
        poses = PoseSampler(open_motion(path, key))
        return MadeMeshes(PoseSource(poses.draw, bodies.tokens), motion_files(path))
    opened, folders = open_sets(training, names)
    items = SetItems(opened, people_of(training, bodies, tokenizer), filmed=False)
    return MadeMeshes(SetMeshes(SetSource(items, training.tokenizer.loop.workers)), folders)


def needed_statistics(stage: Stage) -> bool:
    """Return whether a stage must compute the statistics of canonical trajectories itself.

    Single frames have no motion; a pre-trained motion encoder has its own statistics.
    """
    handed_over = stage.task != "motion" and ("motion_encoder" in stage.start or "" in stage.start)
    return stage.longest > 1 and not handed_over


def motion_files(names: str) -> tuple[Path, ...]:
    """Return the files of open motion in a recipe."""
    return tuple(Path(name.strip()) for name in names.split(","))


def no_statistics() -> tuple[Tensor, Tensor]:
    """Single frames have no trajectories."""
    return torch.zeros(9), torch.ones(9)


def pool_statistics(pool: WindowPool) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (9,) of a pool's canonical trajectories."""
    rotation = rotvec_to_matrix(pool.windows.rotations[:, :, 0])
    return floored(*trajectory_statistics(rotation, pool.windows.translation))


def floored(mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """Return statistics whose deviations can be divided by."""
    return mean, torch.clamp(std, min=SMALLEST_DEVIATION)
