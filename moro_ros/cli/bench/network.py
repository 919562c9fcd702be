"""Operations, time and memory of one window of the network."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from moro_ros.body.hierarchy import ConnectionTables
from moro_ros.errors import ConfigError
from moro_ros.geometry.camera import weak_to_full_camera
from moro_ros.geometry.trajectory import canonical_trajectory
from moro_ros.live.sampling import decode_masked
from moro_ros.model_config import ModelConfig, MoroConfig
from moro_ros.network.build import TOKENIZER_WEIGHTS, build_moro, load_tokenizer
from moro_ros.network.estimate import halve_layers
from moro_ros.network.image_encoders import IMAGES_AT_ONCE
from moro_ros.network.moro import FrameFeatures, MoRo
from moro_ros.network.patch_tokenizer import PatchTokenizer
from moro_ros.network.tokenizer import MeshConvTokenizer, MeshTokenizer

SEED = 0
# Vertices of the levels of the published tokenizer, and neighbours per vertex.
LEVELS = (9383, 2618, 546)
POOL_NEIGHBOURS = (31, 41, 24, 59, 28, 84, 34)
UNPOOL_NEIGHBOURS = (31, 17, 24, 15, 28, 17, 34)

State = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the network.

    calls: number of calls per window; run: from the state before it to the entries it adds.
    """

    name: str
    calls: int
    run: Callable[[State], State]


@dataclass(frozen=True, slots=True)
class Network:
    """The network and its tokenizer, whose parts are measured."""

    model: MoRo
    tokenizer: MeshTokenizer

    def parts(self, passes: int) -> list[Part]:
        """The parts of a window of `passes` passes, in running order."""
        image = [Part("image encoder", 1, self._image)]
        if hasattr(self.model.image_encoder, "vit"):
            image = [
                Part("image backbone", 1, self._backbone),
                Part("image transformer", 1, self._image_transformer),
            ]
        return [
            *image,
            Part("decoder, first look", 1, self._look),
            Part("motion encoder", passes, self._motion),
            Part("decoder", passes, self._decode),
            Part("smoother", 1, lambda state: {"smoothed": self.model.smoother(state["codes"])}),
            Part("mesh decode", 1, lambda state: self._mesh(state["smoothed"])),
        ]

    def window(self, inputs: State, passes: int) -> Tensor:
        """The whole window at once: local meshes (F, V, 3) m."""
        features = self.model.encode_frames(inputs["observation"], inputs["box"])
        decoding = decode_masked(self.model, features, passes)
        mesh: Tensor = self._mesh(self.model.smoother(decoding.codes))["mesh"]
        return mesh

    def _image(self, state: State) -> State:
        encoder = self.model.image_encoder
        return {"image": encoder(state["observation"].flatten(0, 1), state["box"].flatten(0, 1))}

    def _backbone(self, state: State) -> State:
        encoder: Any = self.model.image_encoder
        images = state["observation"].flatten(0, 1).split(IMAGES_AT_ONCE)
        return {"patches": torch.cat([encoder.vit(encoder.normalise(part)) for part in images])}

    def _image_transformer(self, state: State) -> State:
        transformer: Any = self.model.image_encoder.transformer
        patches = state["patches"].split(IMAGES_AT_ONCE)
        boxes = state["box"].flatten(0, 1).split(IMAGES_AT_ONCE)
        parts = [transformer(*pair) for pair in zip(patches, boxes, strict=True)]
        tokens = torch.cat([part.image_tokens for part in parts])
        return {"image_tokens": tokens, "weak_camera": torch.cat([p.weak_camera for p in parts])}

    def _look(self, state: State) -> State:
        image = state.get("image")
        tokens = image.image_tokens if image else state["image_tokens"]
        weak = image.weak_camera if image else state["weak_camera"]
        rotation, translation = weak_to_full_camera(weak[None], state["box"])
        features = FrameFeatures(tokens[None], state["box"], rotation, translation)
        return {"features": features, "context": self.model.context(features)}

    def _motion(self, state: State) -> State:
        features, model = state["features"], self.model
        trajectory = canonical_trajectory(
            features.rotation, features.translation, model.trajectory_mean, model.trajectory_std
        )
        return {"motion": model.motion_encoder(state["codes"], trajectory)}

    def _decode(self, state: State) -> State:
        return {"output": self.model.decoder(state["motion"], state["context"])}

    def _mesh(self, smoothed: Tensor) -> State:
        coarse = self.tokenizer.decode_codes(smoothed.flatten(0, 1))
        return {"mesh": self.tokenizer.full_mesh(coarse)}


@dataclass(slots=True)
class Measured:
    """Measurements of a network; times are of `timed_frames` frames, the rest of `frames`.

    gflop: of all calls of a part; seconds, cpu_seconds: likewise, the best of several runs.
    window_seconds: the whole window, run and not summed. memory_bytes: weights included, counted
    on tensors without contents; None with the names of parts if it was not requested.
    """

    calls: dict[str, int] = field(default_factory=dict)
    gflop: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    window_seconds: float | None = None
    window_cpu_seconds: float | None = None
    memory_bytes: int | None = None
    cuda_bytes: int | None = None


def random_tables(num_tokens: int) -> ConnectionTables:
    """Connection tables of the published sizes with random neighbours, each vertex its own first.

    The number of operations of a graph layer only depends on the sizes.
    """
    rng = np.random.default_rng(SEED)
    sizes = (*LEVELS, num_tokens)

    def table(outputs: int, inputs: int, neighbours: int) -> np.ndarray:
        rows = np.full((outputs, 1 + 2 * neighbours), 1, dtype=np.int32)
        rows[:, 0] = neighbours
        rows[:, 1::2] = rng.integers(inputs, size=(outputs, neighbours))
        rows[:, 1] = np.arange(outputs) % inputs
        rows[:, 2] = 0
        return rows

    pool, unpool = [], []
    for layer, (down, up) in enumerate(zip(POOL_NEIGHBOURS, UNPOOL_NEIGHBOURS, strict=True)):
        fine, coarse = sizes[layer // 2], sizes[(layer + 1) // 2]
        pool.append(table(coarse, fine, down))
        unpool.append(table(fine, coarse, up))
    return ConnectionTables(tuple(pool), tuple(unpool))


def make_tokenizer(config: ModelConfig, folder: Path | None) -> MeshConvTokenizer | PatchTokenizer:
    """A tokenizer of a model's sizes: its own if the folder has one, else an untrained one.

    Raises: ConfigError if its sizes are unknown; CheckpointError.
    """
    if folder is not None and (folder / TOKENIZER_WEIGHTS).is_file():
        return load_tokenizer(config, folder / TOKENIZER_WEIGHTS).eval()
    if config.tokenizer.kind != "graph":
        raise ConfigError(
            f"Got a tokenizer of kind '{config.tokenizer.kind}' without {TOKENIZER_WEIGHTS}, "
            "which contains its sizes. Give the folder of a complete model as --config."
        )
    torch.manual_seed(SEED)
    moro = config.moro
    return MeshConvTokenizer.from_tables(
        random_tables(moro.num_tokens), codes=moro.num_codes, code_dim=moro.code_dim
    ).eval()


def make_network(
    config: MoroConfig, tokenizer: MeshConvTokenizer | PatchTokenizer, device: str, half: bool
) -> Network:
    """The network with random weights; half: weights of linear maps in bfloat16.

    device: "meta" for weights without contents.
    """
    torch.manual_seed(SEED)
    with torch.device("meta") if device == "meta" else nullcontext():
        model = build_moro(config).eval().requires_grad_(False)
    if device != "meta":
        for parameter in model.parameters():
            if parameter.dim() < 2:  # these start as zeros and ones, which would hide mistakes
                parameter.add_(0.02 * torch.randn_like(parameter))
        model.set_codebook(tokenizer.codebook)
    if half:
        halve_layers(model)
    return Network(model.to(device), tokenizer)


def make_inputs(config: MoroConfig, frames: int, device: str) -> State:
    """A random window of one person: (1, F, ...) observations, boxes, half masked codes."""
    generator = torch.Generator().manual_seed(SEED)
    if config.image == "vit":
        shape = (1, frames, 3, *config.vit.image)
        observation = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    else:
        rows = config.keypoints.num_keypoints + config.keypoints.floor
        shape = (1, frames, rows, 4)
        observation = torch.rand(shape, generator=generator)
    box = torch.rand(1, frames, 3, generator=generator) * 0.2 + 0.2
    codes = torch.randn(1, frames, config.num_tokens, config.code_dim, generator=generator)
    codes *= torch.rand(1, frames, config.num_tokens, 1, generator=generator) < 0.5
    inputs = {"observation": observation, "box": box, "codes": codes}
    return {name: value.to(device) for name, value in inputs.items()}


def precision(device: str, half: bool) -> AbstractContextManager[object]:
    """Autocast to bfloat16, or nothing."""
    return torch.autocast(device, torch.bfloat16) if half else nullcontext()


@torch.no_grad()
def count_work(network: Network, inputs: State, passes: int, found: Measured) -> None:
    """GFLOP (two per multiply and add) of each part, on meta tensors: exact, and nothing runs."""
    state = dict(inputs)
    for part in network.parts(passes):
        with FlopCounterMode(display=False) as counter:
            state |= part.run(state)
        found.calls[part.name] = part.calls
        found.gflop[part.name] = part.calls * counter.get_total_flops() / 1e9


@torch.no_grad()
def count_memory(network: Network, shapes: State, passes: int, half: bool) -> int:
    """Peak bytes of a window with its weights, on tensors without contents.

    network: on the meta device; it is on a fake CPU afterwards. shapes: meta inputs.
    """
    with FakeTensorMode(allow_non_fake_inputs=True):
        for module in (network.model, network.tokenizer):
            module.to_empty(device="cpu")
        inputs = {k: torch.empty(v.shape, dtype=v.dtype) for k, v in shapes.items()}
        with LiveMemory() as memory, precision("cpu", half):
            for module in (network.model, network.tokenizer):
                memory.hold((*module.parameters(), *module.buffers()))
            memory.hold(inputs.values())
            network.window(inputs, passes)
    return memory.bytes_peak


@torch.no_grad()
def measure_time(
    network: Network, inputs: State, passes: int, repeat: int, half: bool, found: Measured
) -> None:
    """Wall and processor time of each part and of the window."""
    device = inputs["box"].device.type
    state = dict(inputs)
    with precision(device, half):
        for part in network.parts(passes):
            times = [_timed(partial(part.run, state), device) for _ in range(repeat)]
            state |= times[0][2]
            found.seconds[part.name] = part.calls * min(wall for wall, *_ in times)
            found.cpu_seconds[part.name] = part.calls * min(cpu for _, cpu, _ in times)
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        times = [_timed(partial(network.window, inputs, passes), device) for _ in range(repeat)]
        found.window_seconds = min(wall for wall, *_ in times)
        found.window_cpu_seconds = min(cpu for _, cpu, _ in times)
        if device == "cuda":
            found.cuda_bytes = torch.cuda.max_memory_allocated()


def _timed(run: Callable[[], Any], device: str) -> tuple[float, float, Any]:
    """Wall seconds, processor seconds and the result."""
    if device == "cuda":
        torch.cuda.synchronize()
    start, cpu = time.perf_counter(), time.process_time()
    result = run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start, time.process_time() - cpu, result


class LiveMemory(TorchDispatchMode):
    """Counts the bytes of all tensors created inside that are still alive, and their peak.

    For fake or meta tensors. It does not include temporary memory of kernels or fragmentation by
    a memory manager.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes_now = 0
        self.bytes_peak = 0
        self._known: set[int] = set()

    def hold(self, tensors: Iterable[torch.Tensor]) -> None:
        """Count tensors that were created before."""
        for tensor in tensors:
            self._count(tensor)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run an operation and count the new tensors it returns."""
        result = function(*args, **(kwargs or {}))
        self.hold(leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor))
        return result

    def _count(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        size = storage.nbytes()
        self._known.add(key)
        self.bytes_now += size
        self.bytes_peak = max(self.bytes_peak, self.bytes_now)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.bytes_now -= size
