"""OnnxNetwork: a model's ONNX files in onnxruntime, in place of its torch modules."""

from __future__ import annotations

import importlib.util
import json
import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moro_ros.assets import cache_dir
from moro_ros.errors import ConfigError
from moro_ros.live.backends.onnx_export import (
    DESCRIPTION,
    ENCODER,
    FEATURES,
    FORMAT,
    INCREMENTAL,
    ROWS,
    WINDOW,
    architecture,
    export_onnx,
    output_names,
    part_of,
    past_form,
)
from moro_ros.network.build import LoadedModel
from moro_ros.network.decoder import DecoderOutput
from moro_ros.network.moro import FrameFeatures
from moro_ros.network.rows import KeyValue, Past, Rows

log = logging.getLogger(__name__)

# The files that a live stream needs. The mesh is decoded by torch, rarely and at low cost.
LIVE_PARTS = (ENCODER, WINDOW, INCREMENTAL)
NUMPY = {
    torch.float32: np.float32, torch.int64: np.int64, torch.bool: np.bool_, torch.uint8: np.uint8
}  # fmt: skip


class Session:
    """One ONNX file; its inputs and outputs are torch tensors on one device, without copies.

    weights: the weights that are not in the file, by name.
    """

    def __init__(
        self, path: Path, weights: dict[str, Tensor], threads: int, device: torch.device
    ) -> None:
        runtime = _onnxruntime()
        options = runtime.SessionOptions()
        self._weights = {name: value.cpu().contiguous().numpy() for name, value in weights.items()}
        values = [runtime.OrtValue.ortvalue_from_numpy(value) for value in self._weights.values()]
        options.add_external_initializers(list(self._weights), values)
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        providers: list[Any] = ["CPUExecutionProvider"]
        if device.type == "cuda":
            if "CUDAExecutionProvider" not in runtime.get_available_providers():
                raise ConfigError(
                    "backend: onnx with device: cuda needs onnxruntime-gpu instead of "
                    "onnxruntime. Install it, or use backend: torch."
                )
            providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0}))
        self.device = device
        # From memory, so that weights that are passed in are not searched for elsewhere.
        self._session = runtime.InferenceSession(path.read_bytes(), options, providers=providers)
        self.inputs = {item.name for item in self._session.get_inputs()}
        self._names = [item.name for item in self._session.get_outputs()]
        self._shapes = {item.name: item.shape for item in self._session.get_outputs()}
        self._dims = {item.name: item.shape for item in self._session.get_inputs()}

    def run(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the outputs by name; inputs that the file does not have are ignored."""
        if self.device.type == "cuda":
            return self.run_bound(inputs)
        feed = {name: inputs[name].numpy() for name in self.inputs}
        found = self._session.run(self._names, feed)
        return dict(zip(self._names, map(torch.from_numpy, found), strict=True))

    def run_bound(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """The same with inputs and outputs bound in place, on a GPU or not."""
        binding = self._session.io_binding()
        place = self.device.type, self.device.index or 0
        sizes: dict[str, int] = {}
        held = []
        for name in self.inputs:
            tensor = inputs[name].contiguous()
            held.append(tensor)
            shape, pointer = tuple(tensor.shape), tensor.data_ptr()
            binding.bind_input(name, *place, NUMPY[tensor.dtype], shape, pointer)
            known = zip(self._dims[name], shape, strict=True)
            sizes.update((dim, size) for dim, size in known if isinstance(dim, str))
        outputs = {}
        for name, dims in self._shapes.items():
            shape = tuple(sizes[dim] if isinstance(dim, str) else dim for dim in dims)
            tensor = torch.empty(shape, device=self.device)
            outputs[name] = tensor
            binding.bind_output(name, *place, np.float32, shape, tensor.data_ptr())
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return outputs


class OnnxNetwork:
    """The RowNetwork (row_decoding.py) and the encoder of a model's ONNX files in `folder`."""

    def __init__(self, model: LoadedModel, folder: Path, threads: int, device: str) -> None:
        place = torch.device(device)
        bound = read_description(folder)["bound"]

        def session(name: str) -> Session:
            state = part_of(model, name).state_dict()
            weights = {key: state[key] for key in bound[name]}
            return Session(folder / f"{name}.onnx", weights, threads, place)

        self.encoder = session(ENCODER)
        self.window = session(WINDOW)
        self.incremental = session(INCREMENTAL)
        self._form = past_form(model.moro)
        self._outputs = {name: name.removeprefix("decoded_") for name in output_names(model)}

    def encode(self, observation: Tensor, box_condition: Tensor) -> FrameFeatures:
        """Features of one clip, as MoRo.encode_frames: (1, M, ...), (1, M, 3) -> (1, M, ...)."""
        if observation.dtype is torch.uint8:
            observation = observation.float()
        inputs = {"observation": observation[0], "box_condition": box_condition[0]}
        found = self.encoder.run(inputs)
        return FrameFeatures(
            found["image_tokens"][None],
            box_condition,
            found["rotation"][None],
            found["translation"][None],
        )

    def look(
        self, features: FrameFeatures, rows: Rows, past: Past
    ) -> tuple[None, tuple[KeyValue, ...]]:
        """Nothing: the files process the images in every pass."""
        return None, ()

    def decode(
        self,
        codes: Tensor,
        features: FrameFeatures,
        rotation: Tensor,
        translation: Tensor,
        context: None,
        rows: Rows,
        past: Past,
    ) -> tuple[DecoderOutput, Past]:
        """One pass; see RowNetwork."""
        kept = past.flat()
        count = codes.shape[1]
        inputs = {"codes": codes, "pose_rotation": rotation, "pose_translation": translation}
        inputs |= {name: getattr(features, name) for name in FEATURES}
        inputs |= {name: getattr(rows, name) for name in ROWS}
        inputs["near_rows"] = rows.near[..., -count:]
        if kept:
            inputs["near_past"] = rows.near[..., :-count]
        inputs |= {f"past_{number}": part for number, part in enumerate(kept)}
        found = (self.incremental if kept else self.window).run(inputs)
        values = {own: found[name] for name, own in self._outputs.items()}
        made = [found[f"made_{number}"] for number in range(len(self._form.flat()))]
        # The denoised trajectory is only for training.
        nothing = rotation.new_zeros(())
        output = DecoderOutput(clean_trajectory=nothing, **values)
        return output, self._form.like(made)


def find_onnx(model: LoadedModel, folder: Path) -> Path | None:
    """Return the folder of a model's ONNX files: onnx/ beside it, or in the cache; else None.

    folder: of the model.
    """
    for place in (folder / "onnx", cached_onnx(model)):
        description = read_description(place)
        if (
            description["format"] == FORMAT
            and description["architecture"] == architecture(model)
            and description["sha256"] in ("", model.sha256)
        ):
            return place
    return None


def onnx_folder(model: LoadedModel, folder: Path) -> Path:
    """Return the folder of a model's ONNX files, which are written to the cache if necessary.

    folder: of the model. Raises: ConfigError without the `onnx` extra.
    """
    found = find_onnx(model, folder)
    if found is not None:
        return found
    place = cached_onnx(model)
    log.info("Writing the ONNX files of %s to %s; this is done once.", model.name, place)
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as temporary:
        written = Path(temporary) / "onnx"
        export_onnx(model, written, LIVE_PARTS, weights=False)
        if not place.exists():  # another process may have been faster
            written.rename(place)
    return place


def cached_onnx(model: LoadedModel) -> Path:
    """The cache folder of the ONNX files of a model's architecture."""
    return cache_dir() / "onnx" / f"{architecture(model)[:16]}-{FORMAT}"


def read_description(folder: Path) -> dict[str, Any]:
    """Read onnx.json; empty values if there is none."""
    nothing = {"format": 0, "architecture": "", "sha256": "", "bound": {}}
    try:
        return {**nothing, **json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))}
    except (OSError, ValueError):
        return nothing


def is_installed() -> bool:
    """Whether onnxruntime is installed."""
    return importlib.util.find_spec("onnxruntime") is not None


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(
            "backend: onnx requires onnxruntime: pip install onnxruntime (onnxruntime-gpu for "
            "device cuda), or use backend: torch."
        ) from error
    return onnxruntime
