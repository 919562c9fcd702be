"""TrackWindow: the recent past of one person, as cached frame features."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import torch

from moro_ros.inference.preprocess import PersonBoxes
from moro_ros.inference.steady import SteadyPose
from moro_ros.network.moro import FrameFeatures
from moro_ros.types import NUM_KEYPOINTS


@dataclass(frozen=True, slots=True)
class Sight:
    """What the front-end saw of one person: stamp, visibility (K,) in [0, 1], points (K, 2).

    points: on the normalised image plane.
    """

    stamp_ns: int
    visibility: np.ndarray
    points: np.ndarray

    @staticmethod
    def nothing(stamp_ns: int) -> Sight:
        """Return the sight of a frame without an image."""
        zeros = np.zeros(NUM_KEYPOINTS, np.float32)
        return Sight(stamp_ns, zeros, np.zeros((NUM_KEYPOINTS, 2), np.float32))


@dataclass(frozen=True, slots=True)
class WindowFrame:
    """One frame of one person: features (1, 1, ...), what was seen, box side on the image plane."""

    features: FrameFeatures
    sight: Sight
    box_size: float


class TrackWindow:
    """A ring of at most `size` frames of one person, the running person box and pose.

    gain: of the running pose, see SteadyPose. stride: frames from the last image to the newest.
    """

    def __init__(self, size: int, gain: float) -> None:
        self.frames: deque[WindowFrame] = deque(maxlen=size)
        self.box: PersonBoxes | None = None
        self.steady = SteadyPose(gain)
        self.stride = 1

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
