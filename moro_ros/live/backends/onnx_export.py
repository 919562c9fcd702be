"""The parts of a model as ONNX files: one frame's encoder, a live step, and the mesh decoder.

    encoder.onnx      observation (M, ...), box_condition (M, 3) -> image_tokens, rotation
                      (M, 3, 3), translation (M, 3) m: keypoints, or the ViT of the paper's network
    window.onnx       one pass over K rows of B people, network.rows.Rows, without a past; gives the
                      decoder's outputs (decoded_...) and the rows' keys and values (made_0 ..., in
                      the order of rows.Past.flat)
    incremental.onnx  the same with the keys and values of R kept frames as inputs (past_0 ...)
    tokenizer.onnx    codes (M, T, code width) -> vertices (M, V, 3) m, coarse mesh
    onnx.json         what they were exported from

B, K, R and M have any length; `near` is split in two: near_past (B, K, R), near_rows (B, K, K).
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from moro_ros.errors import ConfigError
from moro_ros.geometry.camera import weak_to_full_camera
from moro_ros.network.build import LoadedModel
from moro_ros.network.decoder import DecoderOutput
from moro_ros.network.layers import DualLayer
from moro_ros.network.moro import FrameFeatures, MoRo
from moro_ros.network.rows import Past, Rows, TorchRows

OPSET = 20
DESCRIPTION = "onnx.json"
FORMAT = 1  # increased when the files' inputs or outputs change
PARTS = ENCODER, WINDOW, INCREMENTAL, TOKENIZER = "encoder", "window", "incremental", "tokenizer"
FEATURES = tuple(item.name for item in fields(FrameFeatures))
ROWS = tuple(item.name for item in fields(Rows) if item.name != "near")
OUTPUTS = tuple(item.name for item in fields(DecoderOutput) if item.name != "clean_trajectory")


class EncoderPart(nn.Module):
    """encoder.onnx."""

    def __init__(self, moro: MoRo) -> None:
        super().__init__()
        self.image_encoder = moro.image_encoder

    def forward(self, observation: Tensor, box_condition: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See the module."""
        # Processing many images in chunks would fix their number.
        encode = getattr(self.image_encoder, "encode_together", self.image_encoder)
        image = encode(observation, box_condition)
        return (image.image_tokens, *weak_to_full_camera(image.weak_camera, box_condition))


class StepPart(nn.Module):
    """window.onnx and incremental.onnx; form: the order of the past, empty without one."""

    def __init__(self, moro: MoRo, form: Past) -> None:
        super().__init__()
        self.moro = moro
        self.form = form

    def forward(self, inputs: dict[str, Tensor], past: list[Tensor]) -> tuple[Tensor, ...]:
        """See the module."""
        near = inputs["near_rows"]
        if past:
            near = torch.cat((inputs["near_past"], near), dim=-1)
        rows = Rows(near=near, **{name: inputs[name] for name in ROWS})
        features = FrameFeatures(**{name: inputs[name] for name in FEATURES})
        kept = self.form.like(past) if past else Past()
        network = TorchRows(self.moro)
        context, image = network.look(features, rows, kept)
        pose = inputs["pose_rotation"], inputs["pose_translation"]
        output, made = network.decode(inputs["codes"], features, *pose, context, rows, kept)
        found = [getattr(output, name) for name in OUTPUTS]
        given = [value for value in found if value is not None]
        return (*given, *Past(image, made.encoder, made.decoder).flat())


class TokenizerPart(nn.Module):
    """tokenizer.onnx."""

    def __init__(self, tokenizer: Any) -> None:
        super().__init__()
        self.tokenizer = tokenizer

    def forward(self, codes: Tensor) -> Tensor:
        """See the module."""
        vertices: Tensor = self.tokenizer.decode_codes(codes)
        return vertices


def past_form(moro: MoRo) -> Past:
    """Return the order of a model's past, without tensors' contents, (0,) each."""

    def pairs(count: int) -> tuple[tuple[Tensor, Tensor], ...]:
        return tuple((torch.empty(0), torch.empty(0)) for _ in range(count))

    encoder, decoder = moro.motion_encoder.trunk.layers, moro.decoder.trunk.layers
    dual = isinstance(decoder[0], DualLayer)
    each = 1 + dual
    mixed = int(moro.decoder.update is not None)  # the attention of network.estimate
    return Past(pairs(int(dual)), pairs(len(encoder) * each), pairs(len(decoder) * each + mixed))


def output_names(model: LoadedModel) -> list[str]:
    """Names of the outputs of a step without its past."""
    head = model.config.moro.rotation_head
    found = [name for name in OUTPUTS if head or name not in ("body_rotations", "betas")]
    return [f"decoded_{name}" for name in found]


def export_onnx(
    model: LoadedModel, folder: Path, parts: tuple[str, ...] = (), *, weights: bool = True
) -> list[Path]:
    """Write a model's ONNX files, or some of them by name; returns their paths.

    weights: False excludes them from the files, which then fit all weights of this architecture:
    `bound` of onnx.json has their names, and the backend passes them in (onnx_network.py).
    Raises: ConfigError without the `onnx` extra.
    """
    folder.mkdir(parents=True, exist_ok=True)
    description: dict[str, Any] = {
        "format": FORMAT,
        "architecture": architecture(model),
        "sha256": model.sha256 if weights else "",
        "bound": {},
    }
    written = []
    for name in parts or PARTS:
        path = folder / f"{name}.onnx"
        with torch.no_grad(), quiet_exporter():
            program = export_part(model, name)
        held = {} if weights else part_of(model, name).state_dict()
        description["bound"][name] = save(program, path, set(held))
        written.append(path)
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    return written


def architecture(model: LoadedModel) -> str:
    """Return the sha256 of all names and shapes of a model's weights."""
    state = [*model.moro.state_dict().items(), *_state(model.tokenizer).items()]
    text = "".join(f"{name}{tuple(value.shape)}" for name, value in state)
    text += f"{model.config.moro.heads} {model.config.moro.attention_span}"
    return hashlib.sha256(text.encode()).hexdigest()


def _state(part: Any) -> dict[str, Tensor]:
    state: dict[str, Tensor] = part.state_dict()
    return state


def part_of(model: LoadedModel, name: str) -> nn.Module:
    """Return one part of a model, by the name of its file, as a separate module."""
    if name == ENCODER:
        return EncoderPart(model.moro).eval()
    if name == TOKENIZER:
        return TokenizerPart(model.tokenizer).eval()
    return StepPart(model.moro, past_form(model.moro)).eval()


def export_part(model: LoadedModel, name: str) -> torch.onnx.ONNXProgram:
    """Return one part of a model as ONNX."""
    part, many = part_of(model, name), torch.export.Dim("M")
    if name == ENCODER:
        inputs = ["observation", "box_condition"]
        outputs = ["image_tokens", "rotation", "translation"]
        return trace(part, example_observation(model), inputs, outputs, ({0: many}, {0: many}))
    if name == TOKENIZER:
        codes = torch.randn(3, model.config.moro.num_tokens, model.config.moro.code_dim)
        return trace(part, (codes,), ["codes"], ["vertices"], ({0: many},))
    arguments, past = example_step(model, people=2, rows=3, kept=5 if name == INCREMENTAL else 0)
    batch, count, ring = (torch.export.Dim(letter) for letter in ("B", "K", "R"))
    shapes: dict[str, dict[int, Any]] = {name: {0: batch, 1: count} for name in arguments}
    for single in ("before_rotation", "before_translation"):
        shapes[single] = {0: batch}
    shapes["near_rows"] = {0: batch, 1: count, 2: count}
    if past:
        shapes["near_past"] = {0: batch, 1: count, 2: ring}
    made = len(past_form(model.moro).flat())
    return trace(
        part,
        (arguments, past),
        [*arguments, *(f"past_{i}" for i in range(len(past)))],
        output_names(model) + [f"made_{i}" for i in range(made)],
        (shapes, [{0: batch, 3: ring} for _ in past]),
    )


def example_observation(model: LoadedModel) -> tuple[Tensor, Tensor]:
    """Return an observation and box conditions of three frames."""
    numbers = model.config.moro
    condition = torch.tensor([[0.1, 0.0, 0.5], [0.0, 0.1, 0.4], [0.0, 0.0, 0.3]])
    if numbers.image == "keypoints":
        rows = numbers.keypoints.num_keypoints + numbers.keypoints.floor
        return torch.rand(3, rows, 4), condition
    return torch.randint(0, 255, (3, 3, *numbers.vit.image)).float(), condition


def example_step(
    model: LoadedModel, people: int, rows: int, kept: int
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Return the inputs of a step by name, and its past, both of random numbers."""
    moro, numbers = model.moro, model.config.moro
    shape = people, rows
    head = moro.decoder.trunk.head_width
    eye = torch.eye(3).repeat(*shape, 1, 1)
    box = torch.rand(*shape, 3) + 0.1
    inputs = {
        "codes": torch.randn(*shape, moro.num_tokens, numbers.code_dim),
        "image_tokens": torch.randn(*shape, numbers.image_tokens, numbers.dim),
        "box_condition": box,
        "rotation": eye,
        "translation": torch.rand(*shape, 3) + 3.0,
        "pose_rotation": eye.clone(),
        "pose_translation": torch.rand(*shape, 3) + 3.0,
        "turn": torch.randn(*shape, head // 2, 2),
        "box": box.clone(),
        "moved": torch.ones(shape, dtype=torch.bool),
        "step_of": torch.zeros(shape, dtype=torch.int64),
        "before_rotation": eye[:, :1].clone(),
        "before_translation": torch.rand(people, 1, 3) + 3.0,
        "near_rows": torch.ones(*shape, rows, dtype=torch.bool),
    }
    if not kept:
        return inputs, []
    inputs["near_past"] = torch.ones(*shape, kept, dtype=torch.bool)
    # A pass without a past gives the width of each part of one.
    outputs = StepPart(moro, past_form(moro))(inputs, [])
    made = outputs[len(output_names(model)) :]
    return inputs, [torch.randn(*part.shape[:3], kept, part.shape[4]) for part in made]


def trace(
    part: nn.Module,
    arguments: tuple[Any, ...],
    inputs: list[str],
    outputs: list[str],
    shapes: tuple[Any, ...],
) -> torch.onnx.ONNXProgram:
    """Export a module with named inputs and outputs and some dynamic dimensions.

    Raises: ConfigError without the `onnx` extra.
    """
    if importlib.util.find_spec("onnxscript") is None:
        raise ConfigError(
            "Writing ONNX files needs more packages: pip install '.[onnx]' in a checkout."
        )
    program = torch.onnx.export(
        part,
        arguments,
        input_names=inputs,
        output_names=outputs,
        dynamic_shapes=shapes,
        opset_version=OPSET,
        dynamo=True,
        # onnxruntime folds constants itself; folded here, weights would lose their names.
        optimize=False,
        verbose=False,
    )
    assert program is not None
    return program


def save(program: torch.onnx.ONNXProgram, path: Path, left_out: set[str]) -> list[str]:
    """Write one ONNX file; returns the names of the weights that it does not contain."""
    import onnx

    proto = program.model_proto
    bound = []
    for tensor in proto.graph.initializer:
        if tensor.name not in left_out:
            continue
        length = len(onnx.numpy_helper.to_array(tensor).tobytes())
        onnx.external_data_helper.set_external_data(tensor, "weights", offset=0, length=length)
        tensor.ClearField("raw_data")
        bound.append(tensor.name)
    # The exporter stores the origin of each node, which is most of a file without weights.
    proto.graph.ClearField("value_info")
    for node in proto.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    path.write_bytes(proto.SerializeToString())
    return bound


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Suppress the exporter's messages about its internals; its errors are still logged."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
