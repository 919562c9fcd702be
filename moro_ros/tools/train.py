"""`moro train`: train the open model's tokenizer and motion network on open motion."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import logging
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from moro_ros.body.body_model import BodyModel, load_body_model
from moro_ros.body.hierarchy import build_hierarchy
from moro_ros.config import read_yaml
from moro_ros.data.mocap import MotionSet, load_motion
from moro_ros.data.pool import WindowPool, build_pool, load_pool, save_pool
from moro_ros.data.poses import PoseSampler
from moro_ros.errors import CheckpointError
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.geometry.trajectory import canonical_trajectory
from moro_ros.model_config import ModelConfig, MoroConfig, TokenizerConfig
from moro_ros.network.build import TOKENIZER_WEIGHTS, build_moro, read_checkpoint, save_model
from moro_ros.network.moro import MoRo
from moro_ros.network.patch_tokenizer import PatchTokenizer, build_patches
from moro_ros.resources import share_path
from moro_ros.training.motion_stage import MotionStage, MotionTrainer
from moro_ros.training.tokenizer_stage import TokenizerStage, train_tokenizer

log = logging.getLogger(__name__)
HIERARCHY_POSES = 200  # posed bodies from which the upsampling weights are fitted


@dataclass(frozen=True, slots=True)
class MeshNumbers:
    """How the mesh is cut into tokens; see config/open_training.yaml."""

    vertices: int = 1024
    tokens: int = 24
    seen: int = 128
    rebuilt: int = 72
    width: int = 96


@dataclass(frozen=True, slots=True)
class OpenTraining:
    """All numbers of a training run of the open model."""

    mesh: MeshNumbers = field(default_factory=MeshNumbers)
    moro: MoroConfig = field(default_factory=MoroConfig)
    tokenizer: TokenizerStage = field(default_factory=TokenizerStage)
    motion: MotionStage = field(default_factory=MotionStage)


def load_training(path: Path) -> OpenTraining:
    """Read the numbers of a run.

    Raises: ConfigError if the file is missing or holds an unknown key or bad value.
    """
    return read_yaml(OpenTraining, path, "training configuration")


def write_manifest(folder: Path, training: OpenTraining, data: list[Path]) -> None:
    """Record what a run was made of: command, numbers, data and commit."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    manifest = {
        "command": " ".join(["moro", *sys.argv[1:]]),
        "numbers": dataclasses.asdict(training),
        "data": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in data},
        "commit": commit.stdout.strip() or "unknown",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


def new_tokenizer(body: BodyModel, motion: MotionSet, numbers: MeshNumbers) -> PatchTokenizer:
    """Build an untrained tokenizer on the body's own mesh hierarchy."""
    rng = np.random.default_rng(0)
    rotations, betas = PoseSampler(motion).draw(HIERARCHY_POSES, rng)
    posed = body.local_mesh(rotations, betas).numpy()
    hierarchy = build_hierarchy(
        body.template.numpy(), body.faces.numpy(), posed, numbers.vertices, numbers.tokens
    )
    rest = (body.template - body.joint_template[0]).numpy()[hierarchy.coarse_index]
    seen, rebuilt = build_patches(rest, np.arange(numbers.tokens), numbers.seen, numbers.rebuilt)
    return PatchTokenizer(
        seen,
        rebuilt,
        numbers.vertices,
        width=numbers.width,
        rest=rest,
        coarse_index=hierarchy.coarse_index,
        up_index=hierarchy.up_index,
        up_weight=hierarchy.up_weight,
    )


def tokenizer_command(args: argparse.Namespace) -> int:
    """Stage 1: the mesh tokenizer."""
    training = load_training(args.config)
    body, motion = load_body_model(args.body), load_motion(args.motion)
    torch.manual_seed(training.tokenizer.seed)
    tokenizer = new_tokenizer(body, motion, training.mesh)
    write_manifest(args.out, training, [args.motion, args.validation])
    coarse = body.subset(tokenizer.coarse_index.long())
    validation = PoseSampler(load_motion(args.validation))
    poses = PoseSampler(motion)
    train_tokenizer(tokenizer, coarse, poses, validation, training.tokenizer, args.out, args.resume)
    save_tokenizer(tokenizer, args.out)
    return 0


def save_tokenizer(tokenizer: PatchTokenizer, folder: Path) -> None:
    """Write tokenizer.safetensors."""
    from safetensors.torch import save_file

    state = {name: value.detach().contiguous() for name, value in tokenizer.state_dict().items()}
    save_file(state, folder / TOKENIZER_WEIGHTS)


def set_statistics(moro: MoRo, pool: WindowPool) -> None:
    """Give the network the mean and deviation of the pool's canonical trajectories (spec 1.7)."""
    rotation = rotvec_to_matrix(pool.windows.rotations[:, :, 0])
    zero, one = torch.zeros(9), torch.ones(9)
    raw = canonical_trajectory(rotation, pool.windows.translation, zero, one)
    steps = raw[:, :-1].flatten(0, 1)
    # A channel that never changes (a toy data set) must not be divided by zero.
    moro.set_trajectory_statistics(steps.mean(0), steps.std(0).clamp_min(1e-4))


def motion_command(args: argparse.Namespace) -> int:
    """Stage 2: the motion network on synthetic observations; writes a model folder."""
    training = load_training(args.config)
    body, motion = load_body_model(args.body), load_motion(args.motion)
    tokenizer = PatchTokenizer.from_state(read_checkpoint(args.tokenizer)).eval()
    if tokenizer.num_vertices and int(tokenizer.coarse_index.max()) >= body.num_vertices:
        raise CheckpointError(f"{args.tokenizer} was trained on another body than {args.body}.")
    coarse = body.subset(tokenizer.coarse_index.long())
    stage = training.motion
    torch.manual_seed(stage.seed)
    moro = build_moro(training.moro)
    moro.set_codebook(tokenizer.codebook)
    write_manifest(args.out, training, [args.motion, args.tokenizer])
    pool_file = args.out / "pool.pt"
    if args.resume and pool_file.exists():
        pool = load_pool(pool_file)
    else:
        log.info("drawing and tokenising %d windows", stage.windows)
        rng = np.random.default_rng(stage.seed)
        longest = max(int(frames) for _, _, frames in stage.phases)
        pool = build_pool(motion, stage.windows, longest, coarse, tokenizer, rng)
        save_pool(pool, pool_file)
    set_statistics(moro, pool)
    if args.start is not None:
        moro.load_state_dict(read_checkpoint(args.start))
    MotionTrainer(moro, tokenizer, body, coarse, pool, stage).run(args.out, args.resume)
    export(moro.eval(), tokenizer, training.moro, args.out / "model", args.body)
    return 0


def export(
    moro: MoRo, tokenizer: PatchTokenizer, numbers: MoroConfig, folder: Path, body: Path
) -> None:
    """Write the model folder that moro_node loads."""
    description = "MoRo at small size on 2D keypoints, trained on open motion capture (CMU)."
    config = ModelConfig(
        description=description,
        licence="Apache-2.0; motion data: CMU (mocap.cs.cmu.edu), see README.md",
        body_model=f"{body.parent.name}/{body.name}",
        moro=numbers,
        tokenizer=TokenizerConfig(kind="patch"),
    )
    save_model(folder, config, moro, tokenizer)
    log.info("model written to %s", folder)


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options to the `moro` parser."""
    parser = subparsers.add_parser("train", help="train the open model on open motion capture")
    stages = parser.add_subparsers(dest="stage", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--motion", type=Path, required=True, help="motion npz to train on")
    shared.add_argument("--out", type=Path, required=True, help="folder of the run")
    shared.add_argument(
        "--config", type=Path, default=share_path("config", "open_training.yaml"), help="numbers"
    )
    shared.add_argument(
        "--body", type=Path, default=share_path("models", "open_body", "OPEN_NEUTRAL.npz"),
        help="body model npz",
    )  # fmt: skip
    shared.add_argument("--threads", type=int, default=2, help="CPU threads")
    shared.add_argument("--resume", action="store_true", help="go on from OUT/checkpoint.pt")
    tokenizer = stages.add_parser("tokenizer", parents=[shared], help="the mesh tokenizer")
    tokenizer.add_argument("--validation", type=Path, required=True, help="motion npz to check on")
    tokenizer.set_defaults(run=tokenizer_command)
    motion = stages.add_parser("motion", parents=[shared], help="MoRo on synthetic observations")
    motion.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.safetensors")
    motion.add_argument("--start", type=Path, help="moro.safetensors whose weights to start from")
    motion.set_defaults(run=motion_command)
    parser.set_defaults(handler=command)


def command(args: argparse.Namespace) -> int:
    """Run the chosen stage with progress on the log."""
    torch.set_num_threads(args.threads)
    code: int = args.run(args)
    return code
