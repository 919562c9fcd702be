"""From a model folder to networks and back: the only place where a config becomes modules.

A model folder contains model.yaml (architecture, checksums) and, after training, moro.safetensors
and tokenizer.safetensors.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from moro_ros.errors import CheckpointError, ConfigError
from moro_ros.model_config import FilesConfig, ModelConfig, MoroConfig, load_model_config
from moro_ros.network.decoder import MotionDecoder, TemporalSmoother
from moro_ros.network.image_encoders import (
    ImageTransformer,
    KeypointImageEncoder,
    VisionTransformer,
    VitImageEncoder,
)
from moro_ros.network.layers import DSTFormer
from moro_ros.network.moro import MoRo
from moro_ros.network.motion_encoder import MotionEncoder
from moro_ros.network.patch_tokenizer import PatchTokenizer
from moro_ros.network.tokenizer import MeshConvTokenizer, MeshTokenizer
from moro_ros.resources import file_sha256

DESCRIPTION = "model.yaml"
MORO_WEIGHTS = "moro.safetensors"
TOKENIZER_WEIGHTS = "tokenizer.safetensors"
TOKENIZERS: dict[str, type[MeshConvTokenizer] | type[PatchTokenizer]] = {
    "graph": MeshConvTokenizer,
    "patch": PatchTokenizer,
}


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model folder in memory, in evaluation mode.

    name: of the folder; sha256: of moro.safetensors; body_model_path: of the body model that the
    network was trained with, not checked here.
    """

    name: str
    moro: MoRo
    tokenizer: MeshTokenizer
    body_model_path: Path
    config: ModelConfig
    sha256: str


def build_trunk(config: MoroConfig, depth: int) -> DSTFormer:
    """The untrained layers of the motion encoder or the decoder, of some depth."""
    return DSTFormer(
        dim=config.dim,
        depth=depth,
        heads=config.heads,
        mlp_ratio=config.mlp_ratio,
        attention_span=config.attention_span,
        branches="temporal" if config.layout == "frame" else "dual",
    )


def build_moro(config: MoroConfig) -> MoRo:
    """An untrained MoRo with the given numbers."""
    motion_encoder = MotionEncoder(
        layout=config.layout,
        trunk=build_trunk(config, config.encoder_depth),
        num_tokens=config.num_tokens,
        num_codes=config.num_codes,
        code_dim=config.code_dim,
        logit_rank=config.logit_rank,
    )
    decoder = MotionDecoder(
        layout=config.layout,
        trajectory=config.trajectory,
        rotation_head=config.rotation_head,
        trunk=build_trunk(config, config.decoder_depth),
        num_tokens=config.num_tokens,
        num_codes=config.num_codes,
        image_tokens=config.image_tokens,
        logit_rank=config.logit_rank,
        estimated=config.estimated,
    )
    smoother = TemporalSmoother(config.code_dim, config.smoother.hidden, config.smoother.kernel)
    return MoRo(
        build_image_encoder(config),
        motion_encoder,
        decoder,
        smoother,
        num_codes=config.num_codes,
        code_dim=config.code_dim,
    )


def build_vit_encoder(config: MoroConfig) -> VitImageEncoder:
    """The untrained image encoder of the paper."""
    numbers = config.vit
    height, width = numbers.image
    vit = VisionTransformer(
        embed_dim=numbers.embed_dim,
        depth=numbers.depth,
        heads=numbers.heads,
        mlp_ratio=numbers.mlp_ratio,
        image=(height, width),
        patch=numbers.patch,
        padding=numbers.padding,
    )
    transformer = ImageTransformer(
        in_dim=numbers.embed_dim,
        grid=vit.grid,
        dim=config.dim,
        heads=config.heads,
        depth=numbers.encoder_depth,
        mlp_ratio=numbers.encoder_mlp_ratio,
    )
    return VitImageEncoder(vit, transformer)


def build_image_encoder(config: MoroConfig) -> nn.Module:
    """The untrained image encoder of a MoRo with the given numbers."""
    if config.image == "vit":
        return build_vit_encoder(config)
    keypoints = config.keypoints
    return KeypointImageEncoder(
        dim=config.dim,
        num_keypoints=keypoints.num_keypoints,
        hidden=keypoints.hidden,
        blocks=keypoints.blocks,
        tokens=keypoints.tokens,
        visibility_threshold=keypoints.visibility_threshold,
        floor=keypoints.floor,
        estimate=keypoints.estimate,
    )


def check_device(device: torch.device) -> None:
    """Raise ConfigError if this machine, or its PyTorch, does not have a CUDA device."""
    if device.type != "cuda":
        return
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        raise ConfigError(
            f"device: got '{device}', but PyTorch {torch.__version__} finds no CUDA device. "
            "Set device: cpu, or install the NVIDIA driver and a PyTorch that is built for CUDA."
        )
    if (device.index or 0) >= count:
        raise ConfigError(
            f"device: got '{device}', but this machine has {count} CUDA devices, counted from "
            f"cuda:0; expected at most cuda:{count - 1}."
        )


def load_model(folder: str | Path, device: str | torch.device = "cpu") -> LoadedModel:
    """Read a model folder and check that its parts belong together.

    Raises: ConfigError for model.yaml or an unavailable device; CheckpointError for missing,
    damaged or other weights.
    """
    check_device(torch.device(device))
    folder = Path(folder)
    config = load_model_config(folder / DESCRIPTION)
    tokenizer = load_tokenizer(config, folder / TOKENIZER_WEIGHTS)
    moro = build_moro(config.moro)
    load_checkpoint(moro, folder / MORO_WEIGHTS, config.sha256.moro)
    codebook = tokenizer.codebook
    if codebook.shape != moro.codebook.shape or not torch.equal(codebook, moro.codebook):
        raise CheckpointError(
            f"{folder}: {MORO_WEIGHTS} was trained with another tokenizer than "
            f"{TOKENIZER_WEIGHTS}. Use both files of the same model."
        )
    if tokenizer.num_tokens != config.moro.num_tokens:
        raise CheckpointError(
            f"{folder}: the tokenizer has {tokenizer.num_tokens} tokens per body, {DESCRIPTION} "
            f"specifies {config.moro.num_tokens}. Use all files of the same model."
        )
    return LoadedModel(
        name=folder.resolve().name,
        moro=moro.to(device).eval(),
        tokenizer=tokenizer.to(device).eval(),
        body_model_path=(folder / config.body_model).resolve(),
        config=config,
        sha256=config.sha256.moro,
    )


def load_tokenizer(config: ModelConfig, path: str | Path) -> MeshConvTokenizer | PatchTokenizer:
    """Rebuild a tokenizer from its weights file, which contains all its sizes.

    Raises: CheckpointError.
    """
    kind = TOKENIZERS[config.tokenizer.kind]
    state = read_checkpoint(path, config.sha256.tokenizer)
    try:
        return kind.from_state(state)
    except (KeyError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"{path} does not contain a tokenizer of kind '{config.tokenizer.kind}': {error}. "
            f"Use it and {DESCRIPTION} of the same model."
        ) from error


def save_weights(module: nn.Module, path: Path) -> None:
    """Write the state of a module as safetensors, with the permissions of the umask.

    safetensors' own save_file writes files that only their owner can read.
    """
    state = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(save(state))
    part.replace(path)


def save_model(
    folder: str | Path, config: ModelConfig, moro: nn.Module, tokenizer: nn.Module
) -> ModelConfig:
    """Write a model folder; returns the config with the checksums of the files written."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    sums = {}
    for key, name, module in (
        ("moro", MORO_WEIGHTS, moro),
        ("tokenizer", TOKENIZER_WEIGHTS, tokenizer),
    ):
        save_weights(module, folder / name)
        sums[key] = file_sha256(folder / name)
    config = dataclasses.replace(config, sha256=FilesConfig(**sums))
    values = yaml.safe_dump(_plain(dataclasses.asdict(config)), sort_keys=False, width=100)
    (folder / DESCRIPTION).write_text(values, encoding="utf-8")
    return config


def load_checkpoint(module: nn.Module, path: str | Path, expected_sha256: str = "") -> None:
    """Load a safetensors file whose tensors are exactly those of a module, by name and shape.

    Raises: CheckpointError listing tensors that are missing, unexpected or have another shape.
    """
    state = read_checkpoint(path, expected_sha256)
    own = module.state_dict()
    faults = [f"missing {key}" for key in own if key not in state]
    faults += [f"unexpected {key}" for key in state if key not in own]
    faults += [
        f"{key} has shape {tuple(state[key].shape)}, expected {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    if faults:
        shown = "; ".join(faults[:10]) + (f"; and {len(faults) - 10} more" * (len(faults) > 10))
        raise CheckpointError(
            f"{path} belongs to another network: {shown}. Use it and {DESCRIPTION} from the same "
            "model."
        )
    module.load_state_dict(state)


def read_checkpoint(path: str | Path, expected_sha256: str = "") -> dict[str, torch.Tensor]:
    """Read the tensors of a safetensors file; an empty checksum is not compared.

    Raises: CheckpointError if the file is missing, damaged or not the one expected.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist. Download the weights or train the model.")
    if expected_sha256 and (found := file_sha256(path)) != expected_sha256:
        raise CheckpointError(
            f"{path}: got sha256 {found}, expected {expected_sha256}. The file is damaged or "
            "another version; download it again."
        )
    try:
        return load_file(path)
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is not a complete safetensors file ({error}). Download it again."
        ) from error


def _plain(value: object) -> object:
    """Convert to mappings and sequences for YAML."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return list(value)
    return value
