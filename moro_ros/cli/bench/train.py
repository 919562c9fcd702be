"""`moro bench train`: training speed of each stage of a recipe, in frames per second."""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from moro_ros.cli.paths import user_path
from moro_ros.cli.results import check_least, print_rows
from moro_ros.cli.train import given_training, make_stage
from moro_ros.errors import ConfigError
from moro_ros.network.build import TOKENIZER_WEIGHTS
from moro_ros.resources import share_path
from moro_ros.training.clips import Draw
from moro_ros.training.distributed import World, joined_world
from moro_ros.training.loop import Job
from moro_ros.training.optim import Optimizer
from moro_ros.training.stage import LoopNumbers, Phase

STAGES = ("estimate", "video")
WARM_UP = 1  # steps that are not counted
PARTS = ("data", "forward", "backward", "optimizer")
Result = TypeVar("Result")


def register(subjects: Any) -> None:
    """Add the subject to `moro bench`."""
    parser = subjects.add_parser(
        "train",
        help="training throughput of the stages estimate and video",
        description="Makes a few steps of each phase from random weights and discards them.",
    )
    add = parser.add_argument
    add(
        "--config",
        type=user_path,
        default=share_path("config", "open_training.yaml"),
        help="recipe",
    )
    add("--motion", required=True, help="open motion npz, or several, comma-separated")
    add("--stages", default=",".join(STAGES), help=f"default: {','.join(STAGES)}")
    add("--steps", type=int, default=10, help="measured steps of each phase")
    add("--windows", type=int, default=64, help="motion windows of the stage video")
    add(
        "--tokenizer",
        type=user_path,
        default=share_path("models", "moro_open", TOKENIZER_WEIGHTS),
        help="default: that of the open model",
    )
    add("--device", default="cpu", help="auto, cpu or cuda")
    add("--threads", type=int, default=1, help="CPU threads")
    add("--json", action="store_true", help="print a JSON array instead of a table")
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; raises ConfigError for an invalid stage or number."""
    check_least(arguments, 1, "steps", "windows", "threads")
    stages = arguments.stages.split(",")
    if unknown := sorted(set(stages) - set(STAGES)):
        raise ConfigError(f"--stages: got {', '.join(unknown)}, expected {' or '.join(STAGES)}.")
    torch.set_num_threads(arguments.threads)
    with joined_world(arguments.device) as world:
        rows = [row for name in stages for row in stage_rows(arguments, name, world)]
    print_rows(rows, arguments.json)
    return 0


def stage_rows(arguments: argparse.Namespace, name: str, world: World) -> list[dict[str, object]]:
    """Return one row for each phase of a stage."""
    training = given_training(arguments)
    stage = dataclasses.replace(training.stage(name), start={}, windows=arguments.windows)
    with tempfile.TemporaryDirectory() as runs:
        made = make_stage(training, name, stage, arguments.tokenizer, Path(runs), world)
        rows = []
        for share, clips, frames in stage.phases:
            phase = Phase(share, clips, frames)
            spent = measure(made.job, stage.loop, phase, world, arguments.steps)
            total = sum(spent.values())
            rows.append(
                {
                    "stage": name,
                    "clips": clips,
                    "frames": frames,
                    **{f"{part}_s": round(spent[part], 3) for part in PARTS},
                    "frames_per_s": round(clips * frames / total),
                }
            )
    return rows


def measure(
    job: Job, numbers: LoopNumbers, phase: Phase, world: World, steps: int
) -> dict[str, float]:
    """Return the mean seconds of the parts of a step, wall clock."""
    objective = job.objective.to(world.device).train()
    optimizer = Optimizer(objective, numbers)
    spent = dict.fromkeys(PARTS, 0.0)
    draws = [Draw(numbers.seed, n, 0, phase.clips, phase.frames) for n in range(WARM_UP + steps)]
    batches = job.source.batches(iter(draws))

    def timed(part: str, work: Callable[[], Result]) -> Result:
        start = time.perf_counter()
        result = work()
        if world.device.type == "cuda":
            torch.cuda.synchronize(world.device)
        spent[part] += time.perf_counter() - start
        return result

    for number, draw in enumerate(draws):
        if number == WARM_UP:
            spent.update(dict.fromkeys(PARTS, 0.0))
        batch = timed("data", lambda: job.move(next(batches), world.device))
        loss = timed("forward", partial(loss_of, job, objective, batch, draw))
        timed("backward", loss.backward)
        timed("optimizer", lambda: optimizer.step(0.5))
    return {part: value / steps for part, value in spent.items()}


def loss_of(job: Job, objective: torch.nn.Module, batch: Any, draw: Draw) -> torch.Tensor:
    """Return the loss of one batch in the middle of a run."""
    return job.total(objective(batch, draw, 0.5))
