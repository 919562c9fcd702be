"""Live steps recorded once and replayed, so that a GPU does not wait for launches or Python.

A recording holds fixed tensors: each step copies its inputs in, replays, and reads the outputs
before the next one. The kept keys and values of attention are not copied: their place is fixed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from moro_ros.live.row_decoding import Step, step_like, step_tensors
from moro_ros.live.sampling import MaskedDecoding
from moro_ros.network.rows import Past

Result = tuple[MaskedDecoding, Past]
# Recordings kept: numbers of people times numbers of new frames; the oldest unused one is dropped.
RECORDINGS = 24
WARM_UP_RUNS = 3  # before a recording, as torch.cuda.graph requires


class Recorder(Protocol):
    """Records a function without arguments whose tensors stay in place."""

    def record(self, function: Callable[[], Result]) -> tuple[Callable[[], Any], Result]:
        """Return a function that replays, and the result that each replay overwrites."""


class CudaRecorder:
    """Records with torch.cuda.graph."""

    def record(self, function: Callable[[], Result]) -> tuple[Callable[[], Any], Result]:
        """See Recorder."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_RUNS):
                function()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = function()
        return graph.replay, result


class StepRecordings:
    """Runs steps from recordings, one for each form of a step."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self._kept: OrderedDict[object, tuple[list[Tensor], Callable[[], Any], Result]]
        self._kept = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def run(self, function: Callable[[Step], Result], step: Step, passes: int) -> Result:
        """Return function(step); its tensors are overwritten by the next step of the same form.

        function: may only read the step and constants; passes: part of the form.
        """
        tensors = step_tensors(step)
        addresses = tuple((part.data_ptr(), part.shape) for part in step.past.flat())
        key = passes, tuple((part.shape, part.dtype) for part in tensors), addresses
        found = self._kept.get(key)
        if found is None:
            held = [part.clone() for part in tensors]
            fixed = step_like(step, held)
            repeat, result = self.recorder.record(lambda: function(fixed))
            self._kept[key] = held, repeat, result
            if len(self._kept) > RECORDINGS:
                self._kept.popitem(last=False)
            repeat()  # recording alone computes nothing
            return result
        self._kept.move_to_end(key)
        held, repeat, result = found
        for mine, given in zip(held, tensors, strict=True):
            mine.copy_(given, non_blocking=True)
        repeat()
        return result
