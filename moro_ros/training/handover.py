"""The initial weights of a stage, and the weights that it does not train."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from moro_ros.errors import CheckpointError, ConfigError
from moro_ros.model_config import MoroConfig
from moro_ros.network.moro import MoRo
from moro_ros.network.official_names import moro_names

log = logging.getLogger(__name__)
WEIGHTS = "weights.safetensors"
# Statistics of canonical trajectories belong to the part that was trained on them.
MOTION_PART, STATISTICS = "motion_encoder", ("trajectory_mean", "trajectory_std")
VIT_PART, OFFICIAL_VIT = "image_encoder.vit", "backbone.model."


def start_weights(
    moro: MoRo, start: dict[str, str], runs: Path, stage: str, config: MoroConfig
) -> list[Path]:
    """Copy the weights of the named parts to a network; returns the files that were read.

    start: part of the network ("motion_encoder", "decoder", "image_encoder.vit", "" for all) -> a
    stage whose run is under `runs`, or a weights file.
    Raises: CheckpointError if a file is missing, damaged or does not fit; ConfigError if the
    network has no such part.
    """
    files = []
    for part, origin in start.items():
        path = weights_file(origin, runs, stage, part)
        state = _state(path, config if part == VIT_PART else None)
        copy_part(moro, part, state, path)
        log.info("%s starts from %s", part or "everything", path)
        files.append(path)
    return files


def weights_file(origin: str, runs: Path, stage: str, part: str) -> Path:
    """Return the file of an entry of `start`.

    Raises: CheckpointError if there is none.
    """
    given = Path(origin)
    path = given if given.suffix else runs / origin / WEIGHTS
    if not path.is_file():
        remedy = (
            "give a file that exists"
            if given.suffix
            else f"run `moro train {origin}` with the same --out first"
        )
        raise CheckpointError(
            f"Stage '{stage}' starts its {part or 'network'} from {path}, which does not exist: "
            f"{remedy}, or take {stage}.start.{part} out of the configuration to start from random "
            "weights."
        )
    return path


def copy_part(moro: MoRo, part: str, state: dict[str, Tensor], path: Path) -> None:
    """Copy the tensors of one part, all of which must be in the state with their shapes.

    Raises: CheckpointError, ConfigError.
    """
    prefix = f"{part}." if part else ""
    own = moro.state_dict()
    wanted = [name for name in own if name.startswith(prefix)]
    if not wanted:
        parts = sorted({name.split(".")[0] for name in own if "." in name})
        raise ConfigError(
            f"start: the network has no part '{part}'; expected one of {', '.join(parts)}, a part "
            "of these, or '' for all."
        )
    if part == MOTION_PART:
        wanted += STATISTICS
    faults = [
        f"{name} {'is missing' if name not in state else f'has shape {tuple(state[name].shape)}'}"
        for name in wanted
        if name not in state or state[name].shape != own[name].shape
    ]
    if faults:
        raise CheckpointError(
            f"{path} does not fit the {part or 'network'}: {'; '.join(faults[:5])}"
            f"{f' and {len(faults) - 5} more' if len(faults) > 5 else ''}. Use weights with "
            "the same architecture numbers (section moro of the configuration)."
        )
    with torch.no_grad():
        for name in wanted:
            own[name].copy_(state[name])


def freeze(moro: MoRo, parts: tuple[str, ...]) -> None:
    """Freeze parts of the network; names as in start_weights.

    Raises: ConfigError if the network has no such part.
    """
    names = [name for name, _ in moro.named_parameters()]
    for part in parts:
        if not any(name.startswith(f"{part}.") for name in names):
            raise ConfigError(f"frozen: the network has no part '{part}'.")
    for name, parameter in moro.named_parameters():
        if any(name.startswith(f"{part}.") for part in parts):
            parameter.requires_grad_(False)


def _state(path: Path, vit: MoroConfig | None) -> dict[str, Tensor]:
    """Tensors of a weights file by our names.

    vit: the numbers of the network, to translate a ViTPose file (.pth) of the published backbone.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, OSError, ValueError, EOFError) as error:
        raise CheckpointError(
            f"{path} is not a complete weights file ({error}); download or create it again."
        ) from error
    if vit is None:
        return dict(state)
    for wrapper in ("state_dict", "model"):
        if isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    names = {
        theirs.removeprefix(OFFICIAL_VIT): ours
        for theirs, ours in moro_names(vit).items()
        if theirs.startswith(OFFICIAL_VIT)
    }
    bare = {name.removeprefix("backbone."): value for name, value in state.items()}
    return {ours: bare[theirs] for theirs, ours in names.items() if theirs in bare}
