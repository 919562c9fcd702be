"""`moro import-official`: the authors' files become a model folder, checked to the last tensor."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from moro_ros.body.body_model import load_body_model
from moro_ros.body.connections import (
    PUBLISHED_SHA256,
    TABLE_FILES,
    load_connection_tables,
)
from moro_ros.body.hierarchy import ConnectionTables, first_component
from moro_ros.cli.fetch import fetch_models
from moro_ros.cli.official_files import (
    TrajectoryStatistics,
    read_checkpoint,
    read_statistics,
    require_tensors,
)
from moro_ros.cli.paths import user_path
from moro_ros.cli.trajectory_statistics import ROUGH_GUESS, estimate_statistics, person_clips
from moro_ros.cli.video_options import VideoInput, add_camera_options, video_input
from moro_ros.config import PipelineConfig
from moro_ros.errors import BodyModelError, CheckpointError, ConfigError
from moro_ros.model_config import ModelConfig, load_model_config
from moro_ros.network.build import DESCRIPTION, build_moro, save_model
from moro_ros.network.moro import MoRo
from moro_ros.network.official_names import (
    BODY_MODEL_TENSORS,
    MORO_TOKENIZER_PREFIX,
    TOKEN_EMBEDDING,
    TOKENIZER_PREFIX,
    TRAJECTORY_STATISTICS,
    moro_names,
    tokenizer_names,
)
from moro_ros.network.tokenizer import MeshConvTokenizer
from moro_ros.perception.frontend import load_frontend
from moro_ros.resources import file_sha256, share_path

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

LICENCE = (
    "The authors state no licence for these weights; they were trained on data for non-commercial "
    "use. SMPL-X: https://smpl-x.is.tue.mpg.de. Do not redistribute."
)


@dataclass(frozen=True, slots=True)
class OfficialSources:
    """Where the authors' files lie.

    statistics: amass_cum_traj.pkl, or None to estimate them from videos. table_sha256: expected
    checksums of the connection tables.
    """

    moro: Path
    tokenizer: Path
    connections: Path
    smplx: Path
    statistics: Path | None = None
    videos: tuple[VideoInput, ...] = ()
    table_sha256: Mapping[str, str] = dataclasses.field(default_factory=lambda: PUBLISHED_SHA256)


def register(subparsers: Subparsers) -> None:
    """Add the command to the `moro` parser."""
    parser = subparsers.add_parser(
        "import-official",
        help="make a model folder from the authors' checkpoints",
        description="Writes a model folder. Tensors that do not match are refused by name.",
    )
    parser.add_argument("--moro", type=user_path, required=True, help="last.ckpt")
    parser.add_argument("--tokenizer", type=user_path, required=True, help="tokenizer.ckpt")
    statistics = parser.add_mutually_exclusive_group(required=True)
    statistics.add_argument("--trajectory-stats", type=user_path, help="amass_cum_traj.pkl")
    statistics.add_argument(
        "--estimate-trajectory-stats", type=user_path, nargs="+", metavar="VIDEO",
        help="estimate the statistics from videos of one camera, with --focal or --camera",
    )  # fmt: skip
    add_camera_options(parser)
    parser.add_argument(
        "--connections", type=user_path, required=True, help="folder of the 14 connection tables"
    )
    parser.add_argument("--smplx", type=user_path, required=True, help="SMPLX_NEUTRAL.npz")
    parser.add_argument("--out", type=user_path, required=True, help="folder of the new model")
    parser.add_argument(
        "--config", type=user_path, help="architecture (default: models/moro_vit_h.yaml)"
    )
    parser.add_argument(
        "--connection-sums", type=user_path, metavar="JSON",
        help="JSON with 'connection_sha256', the checksums of tables other than the published "
             "ones",
    )  # fmt: skip
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace) -> int:
    """Import and print the path."""
    videos = arguments.estimate_trajectory_stats or ()
    sources = OfficialSources(
        moro=arguments.moro,
        tokenizer=arguments.tokenizer,
        connections=arguments.connections,
        smplx=arguments.smplx,
        statistics=arguments.trajectory_stats,
        videos=tuple(video_input(v, arguments.focal, arguments.camera) for v in videos),
        table_sha256=_table_sums(arguments.connection_sums),
    )
    config = load_model_config(arguments.config or share_path("models", "moro_vit_h.yaml"))
    import_official(sources, arguments.out, config)
    print(f"{arguments.out}: the model is complete; use it with the parameter model.")
    return 0


def import_official(sources: OfficialSources, out: Path, config: ModelConfig) -> ModelConfig:
    """Convert the authors' files to a model folder; nothing is left behind if anything is wrong.

    out: a new or empty folder that git does not track. config: the architecture.
    Raises: CheckpointError, BodyModelError or ConfigError naming what does not fit.
    """
    require_uncommittable(out)
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty. Remove it, or choose a new folder with --out.")
    if sources.statistics is None and not sources.videos:
        raise CheckpointError(
            "The trajectory statistics are missing. Give --trajectory-stats amass_cum_traj.pkl, "
            "which the authors distribute apart from the checkpoint, or estimate them from videos "
            "of moving people: --estimate-trajectory-stats VIDEO ... --focal PX."
        )
    tables = load_connection_tables(sources.connections, sources.table_sha256)
    statistics = ROUGH_GUESS if sources.statistics is None else read_statistics(sources.statistics)
    tokenizer_state = read_checkpoint(sources.tokenizer)
    moro_state = read_checkpoint(sources.moro)
    tokenizer = convert_tokenizer(sources.tokenizer, tokenizer_state, tables)
    check_body(sources.smplx, tokenizer)
    model = convert_moro(sources, config, moro_state, tokenizer_state, statistics)
    if sources.statistics is None:
        statistics = estimate(model, sources.videos)
    relative = os.path.relpath(sources.smplx.resolve(), out.resolve())
    config = dataclasses.replace(config, body_model=relative, licence=LICENCE)
    return _write(out, config, model, tokenizer, model_card(sources, statistics))


def convert_tokenizer(
    path: Path, state: Mapping[str, Tensor], tables: ConnectionTables
) -> MeshConvTokenizer:
    """Build the mesh tokenizer from tokenizer.ckpt. Raises: CheckpointError if it does not fit."""
    names = tokenizer_names(len(tables.pool) // 2)
    codes, dim = 512, 9
    code_tensor = state.get(TOKENIZER_PREFIX + "vq_vae._embedding.weight")
    if code_tensor is not None and code_tensor.ndim == 2:
        codes, dim = code_tensor.shape
    biases = [state.get(f"{TOKENIZER_PREFIX}fully_conv_ae.bias{2 * level}")
              for level in range(len(tables.pool) // 2)]  # fmt: skip
    channels = [32 << level if b is None else b.numel() for level, b in enumerate(biases)]
    module = MeshConvTokenizer.from_tables(tables, channels=channels, codes=codes, code_dim=dim)
    own = module.state_dict()
    shapes = {TOKENIZER_PREFIX + theirs: tuple(own[ours].shape) for theirs, ours in names.items()}
    require_tensors(path, state, shapes)
    own.update({ours: state[TOKENIZER_PREFIX + theirs] for theirs, ours in names.items()})
    module.load_state_dict(own)
    return module.eval()


def convert_moro(
    sources: OfficialSources,
    config: ModelConfig,
    state: Mapping[str, Tensor],
    tokenizer_state: Mapping[str, Tensor],
    statistics: TrajectoryStatistics,
) -> MoRo:
    """Build the network from last.ckpt; the SMPL-X tensors in it are dropped.

    Raises: CheckpointError if it does not fit or belongs to another tokenizer.
    """
    names = moro_names(config.moro)
    # Without videos to run on, the network is only a list of tensors: no second copy of them.
    with torch.device("cpu" if sources.videos else "meta"):
        model = build_moro(config.moro)
    own = model.state_dict()
    shapes: dict[str, tuple[int, ...] | None] = dict.fromkeys(BODY_MODEL_TENSORS)
    shapes |= {theirs: tuple(own[ours].shape) for theirs, ours in names.items()}
    inside = {
        MORO_TOKENIZER_PREFIX + name.removeprefix(TOKENIZER_PREFIX): value
        for name, value in tokenizer_state.items()
    }
    shapes |= {name: tuple(value.shape) for name, value in inside.items()}
    require_tensors(sources.moro, state, shapes)
    differing = [name for name, value in inside.items() if not torch.equal(state[name], value)]
    if differing:
        raise CheckpointError(
            f"{sources.tokenizer} does not match {sources.moro}: {', '.join(differing[:6])} "
            f"({len(differing)} tensors) differ. Give the tokenizer that MoRo was trained with."
        )
    codebook = inside[MORO_TOKENIZER_PREFIX + "vq_vae._embedding.weight"]
    embedding = state[TOKEN_EMBEDDING]
    if not torch.equal(embedding[:-1], codebook) or bool(embedding[-1].any()):
        raise CheckpointError(
            f"{sources.moro}: {TOKEN_EMBEDDING} is not the tokenizer's codebook followed by a row "
            "of zeros for the mask. Give the tokenizer that MoRo was trained with."
        )
    loaded = {ours: state[theirs].float() for theirs, ours in names.items()}
    mean, std = torch.from_numpy(statistics.mean), torch.from_numpy(statistics.std)
    loaded.update(zip(TRAJECTORY_STATISTICS, (mean, std), strict=True))
    model.load_state_dict(loaded, assign=True)
    return model.eval()


def check_body(path: Path, tokenizer: MeshConvTokenizer) -> None:
    """Raises: BodyModelError if the tokenizer's mesh is not the first part of the body model's."""
    body = load_body_model(path)
    component = first_component(body.template.numpy(), body.faces.numpy())
    if len(component) != tokenizer.num_vertices or component[-1] + 1 != len(component):
        raise BodyModelError(
            f"{path}: the first connected part of the mesh has {len(component)} of its "
            f"{body.num_vertices} vertices; the tokenizer codes {tokenizer.num_vertices}. Give the "
            "neutral SMPL-X model (SMPLX_NEUTRAL.npz, 10475 vertices)."
        )


def estimate(model: MoRo, videos: Sequence[VideoInput]) -> TrajectoryStatistics:
    """Estimate the trajectory statistics from videos and give them to the network."""
    clips = []
    pipeline = PipelineConfig()
    fetch_models(pipeline)
    for video in videos:
        frontend = load_frontend(
            pipeline.detector, pipeline.tracker, pipeline.max_people, realtime=False
        )
        clips += list(person_clips(video, frontend))
    return estimate_statistics(model, clips)


def require_uncommittable(out: Path) -> None:
    """Raises: ConfigError if git could commit what is written to the folder."""
    out = out.resolve()
    parent = next(path for path in (out, *out.parents) if path.is_dir())
    tree = next((path for path in (parent, *parent.parents) if (path / ".git").exists()), None)
    if tree is None:
        return
    try:
        ignored = subprocess.run(
            ["git", "-C", str(tree), "check-ignore", "-q", str(out / "moro.safetensors")],
            check=False,
            capture_output=True,
        ).returncode
    except OSError as error:
        raise ConfigError(
            f"{out} is in the git work tree {tree}, and it is unknown whether git ignores it "
            f"({error}). Choose --out outside the work tree."
        ) from error
    if ignored != 0:
        raise ConfigError(
            f"{out} is in the git work tree {tree} and is not ignored by git, but these weights "
            "must not be committed. Choose models/moro_vit_h, or a folder outside the work tree."
        )


def model_card(sources: OfficialSources, statistics: TrajectoryStatistics) -> str:
    """The text with the source of every number of the model."""
    files = [sources.moro, sources.tokenizer, sources.smplx]
    files += [sources.connections / name for name in TABLE_FILES]
    files += [sources.statistics] if sources.statistics else [v.path for v in sources.videos]
    rows = "\n".join(f"| {f.name} | {f.stat().st_size} | {file_sha256(f)} |" for f in files)
    origin = "read from the file above" if sources.statistics else "estimated from the videos above"
    numbers = [", ".join(f"{v:.6g}" for v in part) for part in (statistics.mean, statistics.std)]
    return (
        "# MoRo with the authors' weights\n\n"
        "Made by `moro import-official`; arXiv 2601.16079. The tensors are those of the sources, "
        "renamed;\nthe SMPL-X tensors of the checkpoint were dropped. The body model stays where "
        f"it was and is not copied.\n\n{LICENCE}\n\n"
        f"| Source | Bytes | sha256 |\n| --- | --- | --- |\n{rows}\n\n"
        f"Trajectory statistics, {origin}:\nmean {numbers[0]}\nstd {numbers[1]}\n"
    )


def _write(
    out: Path, config: ModelConfig, model: MoRo, tokenizer: MeshConvTokenizer, card: str
) -> ModelConfig:
    """Write everything to a temporary folder and then move it, the description last."""
    staging = out / ".partial"
    with contextlib.ExitStack() as undo:
        undo.callback(shutil.rmtree, staging if out.exists() else out, ignore_errors=True)
        try:
            staging.mkdir(parents=True)
            config = save_model(staging, config, model, tokenizer)
            (staging / "README.md").write_text(card, encoding="utf-8")
            for file in sorted(staging.iterdir(), key=lambda path: path.name == DESCRIPTION):
                os.replace(file, out / file.name)
            staging.rmdir()
        except OSError as error:
            raise ConfigError(f"Cannot write {out}: {error}. Nothing was imported.") from error
        undo.pop_all()
    return config


def _table_sums(path: Path | None) -> Mapping[str, str]:
    if path is None:
        return PUBLISHED_SHA256
    try:
        sums = json.loads(path.read_text(encoding="utf-8"))["connection_sha256"]
        return {name: str(sums[name]) for name in TABLE_FILES}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path}: no checksums of {', '.join(TABLE_FILES[:2])}, ... under "
            f"'connection_sha256' ({error!r})."
        ) from error
