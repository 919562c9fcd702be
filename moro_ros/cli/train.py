"""`moro train`: the stages of a recipe, from the mesh tokenizer to the final model."""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections.abc import Iterable
from pathlib import Path

import torch

from moro_ros.body.body_model import load_body_model
from moro_ros.body.size import scale_betas
from moro_ros.cli.paths import user_path
from moro_ros.errors import ConfigError
from moro_ros.model_config import ModelConfig
from moro_ros.network.build import TOKENIZER_WEIGHTS, build_moro, save_model, save_weights
from moro_ros.network.moro import MoRo
from moro_ros.resources import share_path
from moro_ros.training.clips import Draw, moved
from moro_ros.training.distributed import World, autocast_dtype, joined_world
from moro_ros.training.frame_objective import FrameObjective
from moro_ros.training.handover import WEIGHTS, freeze, start_weights
from moro_ros.training.loop import Job, run_job
from moro_ros.training.objective import Objective
from moro_ros.training.optim import add_drop_path
from moro_ros.training.run_log import write_manifest
from moro_ros.training.setup import (
    STAGES,
    AnyTokenizer,
    Training,
    body_path,
    load_training,
    make_bodies,
    new_tokenizer,
    trained_tokenizer,
)
from moro_ros.training.sources import make_meshes, make_source, needed_statistics
from moro_ros.training.stage import Stage
from moro_ros.training.tokenizer_stage import TokenizerObjective, vertex_error

log = logging.getLogger(__name__)
PROBES = 512  # bodies on which the tokenizer is checked


def train_tokenizer(args: argparse.Namespace, training: Training, world: World) -> None:
    """Train the mesh tokenizer; its folder receives tokenizer.safetensors."""
    stage, folder = training.tokenizer, args.out / "tokenizer"
    body = load_body_model(body_path(training.data))
    torch.manual_seed(stage.loop.seed)
    tokenizer = new_tokenizer(training, body)
    bodies = make_bodies(training, tokenizer, folder)
    made = make_meshes(training, stage.data, "motion", bodies, tokenizer)
    probe = make_meshes(training, stage.validation, "validation", bodies, tokenizer)
    probe_draw = Draw(stage.loop.seed + 1, 0, 0, PROBES, 1)
    bodies_seen = next(probe.source.batches(iter([probe_draw]))).to(world.device)
    record(folder, training, [*made.files, *probe.files], stage.loop.seed, world)
    job = Job(
        name="tokenizer",
        objective=TokenizerObjective(tokenizer, autocast_dtype(stage.loop.precision, world.device)),
        source=made.source,
        total=stage.total,
        phase=stage.phase,
        move=moved,
        watch=lambda: vertex_error(tokenizer, bodies_seen),
    )
    run_job(job, stage.loop, folder, world, args.resume)
    if world.first:
        save_weights(tokenizer, folder / TOKENIZER_WEIGHTS)
        log.info("tokenizer written to %s", folder / TOKENIZER_WEIGHTS)


@dataclasses.dataclass(frozen=True, slots=True)
class Made:
    """A stage of MoRo that is ready to run: its job, networks and source files."""

    job: Job
    moro: MoRo
    tokenizer: AnyTokenizer
    files: list[Path]


def make_stage(
    training: Training, name: str, stage: Stage, tokenizer_file: Path, runs: Path, world: World
) -> Made:
    """Create the networks and the data of a stage; runs: the folder of all runs, for its start.

    Raises: CheckpointError, ConfigError, DataError if something does not fit or is missing.
    """
    tokenizer = trained_tokenizer(training.codec.kind, tokenizer_file)
    bodies = make_bodies(training, tokenizer, tokenizer_file)
    torch.manual_seed(stage.loop.seed)
    moro = build_moro(training.moro)
    started = start_weights(moro, stage.start, runs, name, training.moro)
    moro.set_codebook(tokenizer.codebook)
    moro.set_scale_betas(scale_betas(bodies.whole))
    freeze(moro, stage.frozen)
    if stage.drop_path > 0:
        add_drop_path(vit_blocks(moro), stage.drop_path)
    made = make_source(training, stage, bodies, tokenizer, world, runs)
    if needed_statistics(stage):
        moro.set_trajectory_statistics(*made.statistics())
    tokenizer.to(world.device)
    precision = autocast_dtype(stage.loop.precision, world.device)
    bodies = bodies.to(world.device)
    objective: torch.nn.Module
    if stage.task == "estimate":
        objective = FrameObjective(moro, bodies.whole, stage, precision)
    else:
        objective = Objective(moro, tokenizer, bodies, stage, dtype=precision)
    job = Job(
        name=name,
        objective=objective,
        source=made,
        total=stage.weights.total,
        phase=stage.phase,
        move=moved,
    )
    return Made(job, moro, tokenizer, [tokenizer_file, *made.files, *started])


def train_moro(args: argparse.Namespace, training: Training, world: World) -> None:
    """Train one stage of MoRo; its folder receives weights.safetensors, after "video" a model."""
    name, folder = args.stage, args.out / args.stage
    stage = training.stage(name)
    if args.start is not None:
        stage = dataclasses.replace(stage, start={"": str(args.start)})
    file = args.tokenizer or args.out / "tokenizer" / TOKENIZER_WEIGHTS
    made = make_stage(training, name, stage, file, args.out, world)
    record(folder, training, made.files, stage.loop.seed, world)
    run_job(made.job, stage.loop, folder, world, args.resume)
    if world.first:
        save_weights(made.moro, folder / WEIGHTS)
        log.info("weights written to %s", folder / WEIGHTS)
        if name == "video":
            export(made.moro.cpu().eval(), made.tokenizer.cpu(), training, folder / "model")


def vit_blocks(moro: MoRo) -> Iterable[torch.nn.Module]:
    """Return the blocks of the image backbone; raises ConfigError if it has none."""
    vit = getattr(moro.image_encoder, "vit", None)
    if vit is None:
        raise ConfigError("drop_path: this network uses keypoints and has no ViT; expected 0.")
    blocks: Iterable[torch.nn.Module] = vit.blocks
    return blocks


def record(
    folder: Path, training: Training, files: Iterable[Path], seed: int, world: World
) -> None:
    """Write the run's manifest, once for all processes."""
    if world.first:
        data = [*files, body_path(training.data)]
        write_manifest(folder, training, data, seed, world.size, str(world.device))


def export(moro: MoRo, tokenizer: AnyTokenizer, training: Training, folder: Path) -> None:
    """Write the model folder that moro_node loads."""
    body = body_path(training.data)
    config = ModelConfig(
        description=training.card.description,
        licence=training.card.licence,
        body_model=f"{body.parent.name}/{body.name}",
        moro=training.moro,
        tokenizer=training.codec,
    )
    save_model(folder, config, moro, tokenizer)
    log.info("model written to %s", folder)


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options to the `moro` parser."""
    parser = subparsers.add_parser("train", help="train the networks, one stage at a time")
    stages = parser.add_subparsers(dest="stage", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--config", type=user_path, default=share_path("config", "open_training.yaml"),
        help="the recipe (config/open_training.yaml, config/paper_training.yaml)",
    )  # fmt: skip
    shared.add_argument(
        "--out",
        type=user_path,
        default=Path("run"),
        help="folder for the runs of all stages (default: run)",
    )
    shared.add_argument("--motion", help="open motion npz, instead of data.motion of the recipe")
    shared.add_argument("--validation", help="instead of data.validation of the recipe")
    shared.add_argument("--body", help="body model npz, instead of data.body of the recipe")
    shared.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    shared.add_argument("--threads", type=int, help="CPU threads of this process")
    shared.add_argument("--resume", action="store_true", help="continue from the last checkpoint")
    shared.set_defaults(tokenizer=None, start=None)
    stages.add_parser("tokenizer", parents=[shared], help="the mesh tokenizer")
    words = {
        "pose": "the motion encoder on single poses",
        "motion": "the motion encoder on motion",
        "image": "image encoder and decoder on images",
        "estimate": "the open model's image encoder on single frames",
        "frames": "image encoder and decoder on frames of videos, the paper's second image stage",
        "video": "all parts on clips; writes the model",
    }
    for name in STAGES:
        stage = stages.add_parser(name, parents=[shared], help=words[name])
        stage.add_argument(
            "--tokenizer", type=user_path, help="default: OUT/tokenizer/tokenizer.safetensors"
        )
        stage.add_argument(
            "--start",
            type=user_path,
            help="weights of a whole network to start from, instead of the recipe's start",
        )
    parser.set_defaults(handler=command)


def command(args: argparse.Namespace) -> int:
    """Run the chosen stage, alone or as one of the processes that torchrun started."""
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    training = given_training(args)
    with joined_world(args.device) as world:
        if not world.first:
            logging.disable(logging.INFO)
        (train_tokenizer if args.stage == "tokenizer" else train_moro)(args, training, world)
    return 0


def given_training(args: argparse.Namespace) -> Training:
    """Return the recipe of --config with the files of --motion, --validation and --body."""
    training = load_training(args.config)
    given = {key: getattr(args, key, None) for key in ("motion", "validation", "body")}
    paths = dataclasses.replace(training.data, **{k: v for k, v in given.items() if v is not None})
    return dataclasses.replace(training, data=paths)
