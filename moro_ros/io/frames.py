"""FrameSource: images in order, from a video, a folder or a recording; a part of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from moro_ros.errors import VideoError

# Frame rates [Hz]; the lowest is that of a time-lapse video.
LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 0.01, 1000.0

# No recording is longer [s].
LONGEST_S = 1e9


class VideoFrame(NamedTuple):
    """One decoded frame: ns since the first one, and (H, W, 3) uint8 BGR."""

    stamp_ns: int
    image: np.ndarray

    @property
    def rgb(self) -> np.ndarray:
        """The image as (H, W, 3) uint8 RGB, a copy."""
        return np.ascontiguousarray(self.image[..., ::-1])


class FrameSource(ABC):
    """A source of images of one size with strictly increasing stamps, for one iteration.

    A with block closes it.

    width, height: of the images, pixels; rate_hz: mean frames per second; frame_count: 0 if it is
    unknown; pixel_aspect: a stored pixel's width over its height.
    """

    path: Path
    width: int
    height: int
    rate_hz: float
    frame_count: int
    pixel_aspect = Fraction(1)

    @property
    def stored_size(self) -> tuple[int, int]:
        """Width and height of the upright images before their pixels were made square."""
        return self.width, self.height

    @abstractmethod
    def frames(self, start_ns: int = 0) -> Iterator[VideoFrame]:
        """Yield the frames from a stamp on."""

    @abstractmethod
    def report(self) -> str:
        """Return a sentence about frames that are missing so far; empty if none are."""

    def close(self) -> None:  # noqa: B027
        """Release the files, if any are open."""

    def __iter__(self) -> Iterator[VideoFrame]:
        """Yield all frames."""
        return self.frames()

    def __enter__(self) -> FrameSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Part:
    """The frames of a source from start_s to before end_s, with the stamps of the source.

    end_s: None for the end of the source. frame_count: approximate number, 0 if unknown.
    Raises: VideoError if the source ends before start_s.
    """

    def __init__(self, source: FrameSource, start_s: float = 0.0, end_s: float | None = None):
        self._source, self.rate_hz = source, source.rate_hz
        self._start_ns = round(start_s * 1e9)
        self._stop_ns = None if end_s is None else round(end_s * 1e9)
        length_s = source.frame_count / source.rate_hz
        if 0 < length_s <= start_s:
            raise VideoError(
                f"{source.path} is {length_s:.2f} s long: --start {start_s:g} is after its end."
            )
        known_s = length_s if end_s is None else min(end_s, length_s)
        self.frame_count = max(1, round((known_s - start_s) * source.rate_hz)) if length_s else 0

    def __iter__(self) -> Iterator[VideoFrame]:
        """Yield the frames of the part."""
        for frame in self._source.frames(self._start_ns):
            if self._stop_ns is not None and frame.stamp_ns >= self._stop_ns:
                return
            yield frame
