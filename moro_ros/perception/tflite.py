"""LiteRT models with one image input, cut down to the outputs that are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from queue import SimpleQueue

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

Shape = tuple[int, ...]


class ImageNetwork:
    """A model with one image input; calling it gives the wanted outputs by their shape.

    wanted: shapes of the outputs to compute. What serves others alone is not run: the mask of
    BlazePose, which nobody here needs, takes a third of its time.
    copies: how many threads may call it at once; each copy runs on one thread of its own caller.
    """

    def __init__(self, model_path: Path | str, wanted: Iterable[Shape], copies: int = 1) -> None:
        content = cut_model(Path(model_path).read_bytes(), set(wanted))
        self._free: SimpleQueue[_Copy] = SimpleQueue()
        for _ in range(copies):
            self._free.put(_Copy(content))

    def __call__(self, image: np.ndarray) -> dict[Shape, np.ndarray]:
        """Run the model on an image (H, W, 3) float32; waits while all copies are busy."""
        copy = self._free.get()
        try:
            return copy(image)
        finally:
            self._free.put(copy)


class _Copy:
    """One interpreter with its own buffers, for one thread at a time."""

    def __init__(self, content: bytes) -> None:
        # More threads than one spin while they wait for work, at the price of other processes.
        self._interpreter = Interpreter(model_content=content, num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = {
            tuple(int(n) for n in item["shape"]): item["index"]
            for item in self._interpreter.get_output_details()
        }

    def __call__(self, image: np.ndarray) -> dict[Shape, np.ndarray]:
        self._interpreter.set_tensor(self._input, image[None])
        self._interpreter.invoke()
        return {
            shape: self._interpreter.get_tensor(index) for shape, index in self._outputs.items()
        }


def cut_model(content: bytes, wanted: set[Shape]) -> bytes:
    """Take the operators out of a .tflite file that only serve outputs nobody wants.

    wanted: shapes of the outputs to keep. The others' values do not change.
    Raises: ValueError if an output of a wanted shape is missing.
    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    graph = model.subgraphs[0]
    shapes = {int(i): tuple(int(n) for n in graph.tensors[i].shape) for i in graph.outputs}
    outputs = [index for index, shape in shapes.items() if shape in wanted]
    if missing := wanted - {shapes[index] for index in outputs}:
        raise ValueError(f"no outputs of shape {missing}; there are {sorted(shapes.values())}")
    maker = {int(out): i for i, item in enumerate(graph.operators) for out in item.outputs}
    needed: set[int] = set()
    open_ends = list(outputs)
    while open_ends:
        number = maker.get(int(open_ends.pop()))
        if number is not None and number not in needed:
            needed.add(number)
            open_ends += list(graph.operators[number].inputs)
    graph.operators = [item for i, item in enumerate(graph.operators) if i in needed]
    graph.outputs = np.array(outputs, dtype=np.int32)
    model.signatureDefs = None  # they name the outputs that are gone
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
