"""A golden set: outputs of the reference network for random weights, compared with ours.

A set is a folder with config.json (sizes), one .safetensors file (weights under the names of the
published checkpoint) and groups of arrays in .npz files. An array may be truncated: then the
leading part of ours is compared. This module does not depend on the sizes of a set.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from moro_ros.body.hierarchy import ConnectionTables
from moro_ros.errors import NPZ_ERRORS, CheckpointError
from moro_ros.model_config import MoroConfig, SmootherConfig, VitConfig
from moro_ros.network.build import build_moro
from moro_ros.network.moro import MoRo
from moro_ros.network.official_names import MORO_TOKENIZER_PREFIX, moro_names

FORMER = "mask_transformer.dst_former."


@dataclass(slots=True)
class GroupReport:
    """The agreement of one group of arrays.

    errors: name of an array -> largest difference over its largest value. ids_differ: name of an
    array of integers -> elements that differ. skipped: name -> why it was not compared.
    """

    name: str
    errors: dict[str, float] = field(default_factory=dict)
    ids_differ: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def worst(self) -> float:
        """The worst relative error of the group; infinite if an array is not finite."""
        return max(self.errors.values(), default=0.0)

    @property
    def ids_equal(self) -> bool:
        """Whether all integers agree."""
        return not any(self.ids_differ.values())


class Group:
    """The arrays of one .npz of a golden set, compared one by one."""

    def __init__(self, name: str, arrays: dict[str, np.ndarray]) -> None:
        self.arrays = arrays
        self.report = GroupReport(name)
        self.inputs: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def tensor(self, name: str, device: torch.device) -> Tensor:
        """An input array of our modules.

        Raises: CheckpointError if the set lacks it.
        """
        if name not in self.arrays:
            raise CheckpointError(
                f"The golden group {self.report.name} has no input '{name}'. Use a complete "
                "set, or remove the file of the group to skip it."
            )
        self.inputs.add(name)
        tensor = torch.from_numpy(self.arrays[name])
        return tensor.to(device, torch.float32 if tensor.is_floating_point() else tensor.dtype)

    def compare(self, name: str, ours: Tensor | np.ndarray) -> None:
        """Compare one of our results with the array of that name, if the set has it."""
        if name not in self.arrays:
            return
        golden = self.arrays[name]
        found = ours.detach().cpu() if isinstance(ours, Tensor) else torch.as_tensor(ours)
        value = found.float().numpy() if found.is_floating_point() else found.numpy()
        if value.ndim != golden.ndim or any(
            a < b for a, b in zip(value.shape, golden.shape, strict=True)
        ):
            raise CheckpointError(
                f"Golden array {self.report.name}.{name} has the shape {golden.shape}, the "
                f"result has {value.shape}: config.json of the set does not match its arrays."
            )
        value = value[tuple(slice(n) for n in golden.shape)]
        if np.issubdtype(golden.dtype, np.floating):
            self.report.errors[name] = relative_error(value, golden)
        else:
            self.report.ids_differ[name] = int((value != golden).sum())

    def skip(self, reason: str, *names: str) -> None:
        """Skip arrays in the comparison; without names, all that were not mentioned."""
        said = self.inputs | set(self.report.errors) | set(self.report.ids_differ)
        for name in names or sorted(set(self.arrays) - said - set(self.report.skipped)):
            if name in self.arrays:
                self.report.skipped[name] = reason


def relative_error(ours: np.ndarray, golden: np.ndarray) -> float:
    """Largest difference over the largest golden value; infinite if ours is not finite."""
    if not np.isfinite(ours).all():
        return float("inf")
    scale = float(np.abs(golden).max(initial=0.0))
    difference = float(np.abs(ours.astype(np.float64) - golden).max(initial=0.0))
    return difference / scale if scale else difference


class GoldenSet:
    """One golden folder: its numbers, weights and groups.

    Raises: CheckpointError if the folder is not a golden set or a file in it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.numbers: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
            (self.weights_file,) = folder.glob("*.safetensors")
            weights = load_file(self.weights_file)
        except (OSError, ValueError, SafetensorError) as error:
            raise CheckpointError(
                f"{folder} is not a golden set: {error}. Expected a folder with config.json, "
                "one .safetensors file and groups of arrays (.npz)."
            ) from error
        self.weights = {
            name: value.float() if value.is_floating_point() else value
            for name, value in weights.items()
        }

    def group(self, name: str) -> Group | None:
        """The arrays of NAME.npz, or None if the set has no such group."""
        path = self.folder / f"{name}.npz"
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as archive:
                return Group(name, {key: archive[key] for key in archive.files})
        except NPZ_ERRORS as error:
            raise CheckpointError(f"{path} is damaged: {error}. Obtain the set again.") from error

    def config(self) -> MoroConfig:
        """The architecture numbers: from config.json, and from the weights if it lacks them."""
        numbers, weights = self.numbers, self.weights
        try:
            vit, smoother = numbers["vit"], numbers["smoother"]
            dim = int(numbers["dim_feat"])
            block = weights["backbone.model.blocks.0.mlp.fc1.weight"]
            layer = weights[FORMER + "img_transformer.transformer.layers.0.linear1.weight"]
            mlp = weights[FORMER + "m_transformer.blocks_st.0.mlp_s.fc1.weight"]
            num_codes, code_dim = weights["mask_transformer.token_emb.weight"].shape
            return MoroConfig(
                dim=dim,
                heads=int(numbers["num_heads"]),
                mlp_ratio=mlp.shape[0] // dim,
                attention_span=int(numbers["attn_len"]),
                encoder_depth=int(numbers["mdepth"]),
                decoder_depth=int(numbers["ddepth"]),
                num_tokens=weights[FORMER + "m_pos_enc"].shape[2] - 1,
                num_codes=num_codes - 1,
                code_dim=code_dim,
                vit=VitConfig(
                    embed_dim=int(vit["embed_dim"]),
                    depth=int(vit["depth"]),
                    heads=int(vit["num_heads"]),
                    mlp_ratio=block.shape[0] // int(vit["embed_dim"]),
                    patch=int(vit["patch"]),
                    image=tuple(vit["img"]),
                    padding=int(vit["patch_padding"]),
                    encoder_depth=int(numbers["idepth"]),
                    encoder_mlp_ratio=layer.shape[0] // dim,
                ),
                smoother=SmootherConfig(
                    hidden=int(smoother["dim_hidden"]), kernel=int(smoother["kernel"])
                ),
            )
        except KeyError as error:
            raise CheckpointError(
                f"{self.folder}: neither config.json nor the weights contain {error}, from "
                "which the sizes of the network are read."
            ) from error

    def load_moro(self, device: torch.device) -> MoRo:
        """Our network with the set's weights and trajectory statistics, for inference.

        Raises: CheckpointError if the weights do not fit.
        """
        config = self.config()
        names = moro_names(config)
        model = build_moro(config)
        extra = sorted(
            name
            for name in self.weights
            if name not in names and not name.startswith(MORO_TOKENIZER_PREFIX)
        )
        missing = sorted(set(names) - set(self.weights))
        if extra or missing:
            raise CheckpointError(
                f"{self.weights_file} does not match the sizes in config.json: missing "
                f"{missing}, unexpected {extra}."
            )
        state = {ours: self.weights[theirs] for theirs, ours in names.items()}
        statistics = self.group("b_motion_encoder")
        if statistics is None or "Mean" not in statistics or "Std" not in statistics:
            raise CheckpointError(
                f"{self.folder}: b_motion_encoder.npz with the trajectory statistics Mean and Std "
                "is missing."
            )
        cpu = torch.device("cpu")
        state["trajectory_mean"] = statistics.tensor("Mean", cpu).flatten()
        state["trajectory_std"] = statistics.tensor("Std", cpu).flatten()
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            raise CheckpointError(f"{self.weights_file} does not match: {error}") from error
        return model.eval().to(device)


@dataclass(frozen=True, slots=True)
class Subject:
    """The compared objects: our network, its device, and the tokenizer if its tables are given.

    exact: whether arithmetic is float32, so that a whole decoding can follow the recorded one.
    """

    golden: GoldenSet
    model: MoRo
    device: torch.device
    tables: ConnectionTables | None
    exact: bool

    def needed(self, group: str) -> Group:
        """A group whose arrays another one needs."""
        found = self.golden.group(group)
        return found if found is not None else Group(group, {})
