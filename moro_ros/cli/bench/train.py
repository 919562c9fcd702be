"""`moro bench train`: training speed of each stage of a recipe, in frames per second."""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator
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
from moro_ros.training.distributed import World, autocast_dtype, joined_world
from moro_ros.training.loop import Job
from moro_ros.training.optim import Muon, Optimizer
from moro_ros.training.setup import Training
from moro_ros.training.stage import LoopNumbers, Phase, Stage

STAGES = ("estimate", "video")
WARM_UP = 1  # steps that are not counted
PARTS = ("data", "forward", "backward", "optimizer")
Result = TypeVar("Result")


def register(subjects: Any) -> None:
    """Add the subject to `moro bench`."""
    parser = subjects.add_parser(
        "train",
        help="training throughput of the stages estimate and video",
        description="Makes a few steps of each phase from random weights and discards them. With "
        "one CPU thread it measures processor time, so other programs do not count, else wall "
        "clock.",
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
        "--against",
        action="store_true",
        help="alternate with the plain path: torch.optim.Muon, single frames cut from windows",
    )
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
        job = make_job(arguments, training, name, stage, world, runs)
        plain = job
        if arguments.against and name == "estimate":
            cut = dataclasses.replace(stage, task="video", phases=training.video.phases)
            windows = make_job(arguments, training, name, cut, world, runs)
            plain = dataclasses.replace(job, source=windows.source)
        phases = [Phase(*phase) for phase in stage.phases]
        return [phase_row(arguments, job, plain, stage.loop, phase, world) for phase in phases]


def make_job(
    arguments: argparse.Namespace, training: Training, name: str, stage: Stage, world: World,
    runs: str,
) -> Job:  # fmt: skip
    """Return a stage that is ready to run."""
    return make_stage(training, name, stage, arguments.tokenizer, Path(runs), world).job


def phase_row(
    arguments: argparse.Namespace, job: Job, plain: Job, numbers: LoopNumbers, phase: Phase,
    world: World,
) -> dict[str, object]:  # fmt: skip
    """Measure one phase; with --against, each step is followed by the same of the plain path."""
    half = autocast_dtype(numbers.precision, world.device)
    objective = job.objective.to(world.device).train()
    paths = [timed_steps(job, Optimizer(objective, numbers), phase, world, arguments.steps)]
    if arguments.against:
        optimizer = with_torch_muon(Optimizer(objective, numbers))
        paths.append(timed_steps(plain, optimizer, phase, world, arguments.steps))
    steps = list(zip(*paths, strict=True))[WARM_UP:]
    spent, *others = [
        {part: sum(step[part] for step in path) / len(path) for part in PARTS}
        for path in zip(*steps, strict=True)
    ]
    count, total = phase.clips * phase.frames, sum(spent.values())
    row: dict[str, object] = {
        "stage": job.name,
        "clips": phase.clips,
        "frames": phase.frames,
        "precision": "float32" if half is None else "bfloat16",
        **{f"{part}_s": round(spent[part], 3) for part in PARTS},
        "frames_per_s": round(count / total),
    }
    for other in others:
        row["plain_data_s"] = round(other["data"], 3)
        row["plain_optimizer_s"] = round(other["optimizer"], 3)
        row["plain_frames_per_s"] = round(count / sum(other.values()))
        row["ratio"] = round(sum(other.values()) / total, 2)
    return row


def with_torch_muon(optimizer: Optimizer) -> Optimizer:
    """Replace Muon by PyTorch's, which uses bfloat16 and takes one matrix at a time.

    Raises: ConfigError if PyTorch has none.
    """
    if not hasattr(torch.optim, "Muon"):
        raise ConfigError(f"--against: PyTorch {torch.__version__} has no Muon, expected 2.9.")
    for number, part in enumerate(optimizer.parts):
        if isinstance(part, Muon):
            group = part.param_groups[0]
            shared = {key: group[key] for key in ("lr", "weight_decay", "momentum")}
            optimizer.parts[number] = torch.optim.Muon(
                group["params"], **shared, ns_steps=group["steps"], adjust_lr_fn="match_rms_adamw"
            )
    return optimizer


def timed_steps(
    job: Job, optimizer: Optimizer, phase: Phase, world: World, steps: int
) -> Iterator[dict[str, float]]:
    """Make the steps, warm-up first, and yield the seconds of the parts of each."""
    seed = optimizer.numbers.seed
    draws = [Draw(seed, n, 0, phase.clips, phase.frames) for n in range(WARM_UP + steps)]
    batches = job.source.batches(iter(draws))
    for draw in draws:
        yield timed_step(job, optimizer, batches, draw, world.device)


def timed_step(
    job: Job, optimizer: Optimizer, batches: Iterator[Any], draw: Draw, device: torch.device
) -> dict[str, float]:
    """Make one step and return the seconds of its parts."""
    spent: dict[str, float] = {}
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter

    def timed(part: str, work: Callable[[], Result]) -> Result:
        start = clock()
        result = work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        spent[part] = clock() - start
        return result

    batch = timed("data", lambda: job.move(next(batches), device))
    loss = timed("forward", lambda: job.total(job.objective(batch, draw, 0.5)))
    timed("backward", loss.backward)
    timed("optimizer", lambda: optimizer.step(0.5))
    return spent
