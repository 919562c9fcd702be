"""TrackWindow: the recent past of one person, as cached frame features."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import torch

from moro_ros.inference.preprocess import PersonBoxes
from moro_ros.inference.steady import SteadyPose
from moro_ros.network.moro import FrameFeatures


@dataclass(frozen=True, slots=True)
class WindowFrame:
    """One frame of one person: its features (1, 1, ...), stamp and what was seen.

    visibility: (K,) in [0, 1]; points: (K, 2) on the normalised image plane; box_size: side of the
    person box there.
    """

    features: FrameFeatures
    stamp_ns: int
    visibility: np.ndarray
    points: np.ndarray
    box_size: float


class TrackWindow:
    """A ring of at most `size` frames of one person, the running person box and pose.

    gain: of the running pose, see SteadyPose.
    """

    def __init__(self, size: int, gain: float) -> None:
        self.frames: deque[WindowFrame] = deque(maxlen=size)
        self.box: PersonBoxes | None = None
        self.steady = SteadyPose(gain)

    def __len__(self) -> int:
        return len(self.frames)

    def push(self, frame: WindowFrame) -> None:
        """Append the newest frame; the oldest falls out of a full window."""
        self.frames.append(frame)

    def stacked(self) -> FrameFeatures:
        """Return the features of all frames, (1, F, ...)."""
        return concatenate([frame.features for frame in self.frames], dim=1)

    @property
    def newest(self) -> WindowFrame:
        """The frame pushed last."""
        return self.frames[-1]


def concatenate(parts: list[FrameFeatures], dim: int) -> FrameFeatures:
    """Join frame features along the batch (0) or the time (1) dimension."""
    return FrameFeatures(
        **{
            name: torch.cat([getattr(part, name) for part in parts], dim)
            for name in FrameFeatures.__dataclass_fields__
        }
    )
