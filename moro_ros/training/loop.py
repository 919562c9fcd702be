"""The training loop of every stage: passes, steps, log, checkpoints, one or more processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from moro_ros.errors import CheckpointError, ConfigError
from moro_ros.training.checkpoint import (
    CHECKPOINT,
    Progress,
    load_checkpoint_state,
    save_checkpoint,
)
from moro_ros.training.clips import Draw
from moro_ros.training.distributed import World
from moro_ros.training.optim import Optimizer, rate_scale
from moro_ros.training.run_log import RunLog
from moro_ros.training.stage import LoopNumbers, Phase


class Source(Protocol):
    """A source of clips."""

    def batches(self, draws: Iterator[Draw]) -> Iterator[Any]:
        """Yield the objective's input, one batch for each draw, on the CPU."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """One stage to run.

    name: for the log; objective: a module whose forward takes (batch, draw, progress) and returns
    named loss terms; source: of the batches; total: the weighted sum of terms; phase: the phase at
    a progress; move: copies a batch to a device; watch: additional figures for the log.
    """

    name: str
    objective: nn.Module
    source: Source
    total: Callable[[dict[str, Tensor]], Tensor]
    phase: Callable[[float], Phase]
    move: Callable[[Any, torch.device], Any]
    watch: Callable[[], dict[str, float]] = dict


class Clock:
    """The progress of a run, by its steps or minutes."""

    def __init__(self, numbers: LoopNumbers, world: World, spent: float) -> None:
        self.numbers, self.world = numbers, world
        self.start = time.monotonic() - spent
        self.agreed = 0.0

    @property
    def seconds(self) -> float:
        """Elapsed seconds, including those before a resumption."""
        return time.monotonic() - self.start

    @property
    def steps(self) -> int | None:
        """Steps of the run, None if time limits it."""
        return None if self.numbers.minutes else self.numbers.steps

    def progress(self, step: int) -> float:
        """Return the progress of the run before a step, in [0, 1]; the same in every process."""
        if self.steps is not None:
            return step / self.steps
        self.agreed = min(1.0, self.world.agree(self.seconds / (60 * self.numbers.minutes)))
        return self.agreed

    def expected(self, step: int) -> float:
        """Return the progress before a later step, without communication between processes."""
        return self.agreed if self.steps is None else step / self.steps


def run_job(job: Job, numbers: LoopNumbers, folder: Path, world: World, resume: bool) -> int:
    """Train for the stage's steps or minutes; return the number of steps.

    folder: for checkpoint.pt and log.jsonl. resume: continue from its checkpoint if there is one.
    Raises: CheckpointError if that checkpoint is damaged, from another configuration, or would be
    overwritten; ConfigError if the loss is not finite.
    """
    objective = job.objective.to(world.device).train()
    optimizer = Optimizer(objective, numbers)
    checkpoint, done = folder / CHECKPOINT, Progress()
    if checkpoint.exists():
        if not resume:
            raise CheckpointError(
                f"{checkpoint} is from an earlier run: give --resume to continue it, or another "
                "--out, or delete it to start again."
            )
        done = load_checkpoint_state(checkpoint, objective, optimizer)
    model: Any = objective
    if wrapped := world.size > 1:
        ids = [world.device] if world.device.type == "cuda" else None
        model = DistributedDataParallel(objective, device_ids=ids, find_unused_parameters=True)
    clock = Clock(numbers, world, done.seconds)
    log = RunLog(folder, job.name, done.step, clock.steps) if world.first else None
    parts = world.mine(numbers.parts)
    batches = job.source.batches(_draws(job, numbers, clock, parts, done.step))
    step = saved = done.step
    loss = torch.zeros(())
    while (progress := clock.progress(step)) < 1.0:
        phase = job.phase(progress)
        terms = {}
        for part in parts:
            draw = Draw(numbers.seed, step, part, phase.clips, phase.frames)
            batch = job.move(next(batches), world.device)
            last = part == parts[-1]
            wait = model.no_sync() if wrapped and not last else nullcontext()
            with wait:
                terms = model(batch, draw, progress)
                loss = job.total(terms)
                (loss / len(parts)).backward()
        norm = optimizer.step(progress)
        step += 1
        if log is not None:
            log.add(step, {**terms, "loss": loss, "gradient": norm})
            if step % numbers.report_every == 0:
                rate = numbers.learning_rate * rate_scale(progress, numbers)
                log.report({"seconds": clock.seconds, "rate": rate, **job.watch()})
            if step % numbers.save_every == 0:
                check_finite(loss, step)
                save_checkpoint(checkpoint, Progress(step, clock.seconds), objective, optimizer)
                saved = step
    if log is not None:
        check_finite(loss, step)
        if step != saved or not checkpoint.exists():
            save_checkpoint(checkpoint, Progress(step, clock.seconds), objective, optimizer)
        log.close()
    world.wait()
    return step


def check_finite(loss: Tensor, step: int) -> None:
    """Do not save diverged weights; raises ConfigError."""
    if not bool(torch.isfinite(loss)):
        raise ConfigError(
            f"The loss is not finite at step {step}. Lower loop.learning_rate, or increase "
            "loop.warm_up, and continue from the last checkpoint, which is valid, with --resume."
        )


def _draws(
    job: Job, numbers: LoopNumbers, clock: Clock, parts: range, first: int
) -> Iterator[Draw]:
    """All passes of this process from a step on, endlessly."""
    step = first
    while True:
        phase = job.phase(clock.expected(step))
        for part in parts:
            yield Draw(numbers.seed, step, part, phase.clips, phase.frames)
        step += 1
