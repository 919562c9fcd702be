"""VideoWriter: an MPEG-4 video whose frames have individual times."""

from __future__ import annotations

import errno
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np

from moro_ros.errors import VideoError
from moro_ros.io.video import open_video

# MPEG-4 divides a second into at most 65535 units; these fit every usual rate.
TICK = Fraction(1, 60_000)
# Bits per pixel, and the finest quantiser: drawn edges stay sharp, files stay small.
BITS_PER_PIXEL, FINEST = 4, "3"


class VideoWriter:
    """Writes under a temporary name; the file is complete at the end of the with block.

    rate_hz: mean frames per second; size: even width and height, pixels.
    Raises: VideoError if the video cannot be written.
    """

    def __init__(self, path: Path, rate_hz: float, size: tuple[int, int]) -> None:
        self._path = path
        self._part = path.with_name(f".part-{path.name}")
        self._pts = -1
        try:
            self._container = av.open(str(self._part.absolute()), "w", format="mp4")
        except OSError as error:
            raise self._failure(error) from error
        rate = Fraction(rate_hz).limit_denominator(10_000)
        self._stream = self._container.add_stream("mpeg4", rate=rate, options={"qmin": FINEST})
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        self._stream.bit_rate = min(round(BITS_PER_PIXEL * rate_hz * size[0] * size[1]), 2**30)
        self._stream.codec_context.time_base = TICK

    def __enter__(self) -> VideoWriter:
        return self

    def write(self, image: np.ndarray, stamp_ns: int) -> None:
        """Append an image (H, W, 3) uint8 BGR; stamp_ns: its time since the start."""
        frame = av.VideoFrame.from_ndarray(image, format="bgr24")
        # Two frames never have the same time.
        self._pts = max(self._pts + 1, round(stamp_ns / (10**9 * TICK)))
        frame.pts, frame.time_base = self._pts, TICK
        self._mux(frame)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._mux(None)
            self._close(kind is None)
            if kind is None:
                open_video(self._part).close()
                self._part.replace(self._path)
        finally:
            self._part.unlink(missing_ok=True)

    def _mux(self, frame: av.VideoFrame | None) -> None:
        try:
            self._container.mux(self._stream.encode(frame))
        except OSError as error:
            raise self._failure(error) from error

    def _close(self, complete: bool) -> None:
        try:
            self._container.close()
        except OSError as error:
            if complete:
                raise self._failure(error) from error

    def _failure(self, error: OSError) -> VideoError:
        full = "; the disk is full" if error.errno == errno.ENOSPC else f" ({error.strerror})"
        return VideoError(
            f"Cannot write the video {self._path}{full}. Free disk space, or choose another folder."
        )
