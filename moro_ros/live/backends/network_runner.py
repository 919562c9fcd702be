"""NetworkRunner: the network of a live stream in the requested precision and backend."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
from torch import Tensor

from moro_ros.live.backends.cuda_graphs import Recorder, StepRecordings
from moro_ros.live.row_decoding import RowNetwork, Step, decode_step
from moro_ros.live.sampling import MaskedDecoding
from moro_ros.network.estimate import halve_layers
from moro_ros.network.image_encoders import KeypointImageEncoder
from moro_ros.network.moro import FrameFeatures, MoRo
from moro_ros.network.rows import Past, TorchRows


class Encoder(Protocol):
    """The encoder of observations, if it is not MoRo's own."""

    def encode(self, observation: Tensor, box_condition: Tensor) -> FrameFeatures:
        """See MoRo.encode_frames."""


class NetworkRunner:
    """Encodes frames and decodes live steps.

    soft: see decode_masked; network, encoder: replace MoRo's own; recorder: records and replays
    steps (cuda_graphs.py); None runs them directly.
    """

    def __init__(
        self,
        moro: MoRo,
        soft: bool,
        network: RowNetwork | None = None,
        encoder: Encoder | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self.moro = moro
        self.soft = soft
        self.network = network or TorchRows(moro)
        self.encoder = encoder
        self.half = False
        self.recordings = None if recorder is None else StepRecordings(recorder)

    @property
    def fixed_shapes(self) -> bool:
        """Whether steps are padded to a few forms, because each form needs a recording."""
        return self.recordings is not None

    def halve(self) -> None:
        """Switch to bfloat16: linear layers permanently, other operations by autocast.

        An encoder of keypoints is small and stays in float32: eight bits of a keypoint's position
        are two pixels. The update of frame estimates stays in float32, too. Joints of moro_open are
        off by 0.4 mm, with the update in bfloat16 by 4.5 mm, with both by 11 mm.
        """
        parts = [self.moro.motion_encoder, self.moro.decoder]
        if not self._by_keypoints:
            parts.append(self.moro.image_encoder)
        halve_layers(*parts)
        self.half = True
        if self.recordings is not None:
            self.recordings = StepRecordings(self.recordings.recorder)

    def encode(self, observation: Tensor, box_condition: Tensor) -> FrameFeatures:
        """Features of frames, each encoded independently; see MoRo.encode_frames."""
        if self.encoder is not None:
            return self.encoder.encode(observation, box_condition)
        with nullcontext() if self._by_keypoints else self._precision():
            return self.moro.encode_frames(observation, box_condition)

    def run(self, step: Step, passes: int) -> tuple[MaskedDecoding, Past]:
        """Decode the rows of a step; returns the decoding and the rows' keys and values."""
        with self._precision():
            if self.recordings is None:
                return self._decode(step, passes)
            return self.recordings.run(lambda fixed: self._decode(fixed, passes), step, passes)

    def _decode(self, step: Step, passes: int) -> tuple[MaskedDecoding, Past]:
        return decode_step(self.moro, self.network, step, passes, self.soft)

    @property
    def _by_keypoints(self) -> bool:
        return isinstance(self.moro.image_encoder, KeypointImageEncoder)

    def _precision(self) -> AbstractContextManager[object]:
        if not self.half:
            return nullcontext()
        return torch.autocast(self.moro.token_embedding.device.type, torch.bfloat16)
