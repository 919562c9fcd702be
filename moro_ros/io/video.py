"""VideoReader: the images of a video file in order, each with its own time."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from moro_ros.errors import VideoError
from moro_ros.io.video_file import VideoFile
from moro_ros.io.video_times import VideoTimes

# What a container without a believable frame rate is played at.
FALLBACK_RATE_HZ = Fraction(30)
# Pixels that are less far from square are taken for square, others for a damaged header.
LEAST_ASPECT, MOST_ASPECT = Fraction(101, 100), 4


class VideoFrame(NamedTuple):
    """One decoded frame: ns since the first one, and (H, W, 3) uint8 BGR."""

    stamp_ns: int
    image: np.ndarray


class VideoReader:
    """An opened video file; iterating gives its frames from the current position on.

    Images are upright and their pixels square, whatever the file stores: it names the turn and the
    shape of its pixels, and the detector, trained on such images, needs both. What cannot be
    decoded is left out, as ffmpeg does; `report` tells what is missing.

    width, height: of the images, pixels; rate_hz: mean frames per second; frame_count: as the
    container says it, 0 where it does not; pixel_aspect: a stored pixel's width over its height.
    """

    def __init__(self, path: Path) -> None:
        """Open a file; raises av.FFmpegError or ValueError if nothing of it can be decoded."""
        self.path = path
        self._file = VideoFile(path)
        stream = self._file.stream
        rate = stream.average_rate or stream.guessed_rate
        rate = rate if rate and 1 <= rate <= 1000 else FALLBACK_RATE_HZ
        self.rate_hz = float(rate)
        self.frame_count = self._file.promised or round(self._file.length_s * self.rate_hz)
        self.pixel_aspect = _believable(stream.sample_aspect_ratio or Fraction(1))
        self._times = VideoTimes(stream.time_base or Fraction(1, 1000), rate)
        self._reformatter = VideoReformatter()
        self._decoded = self._file.frames(self._times)
        first = next(self._decoded, None)
        if first is None:
            self.close()
            raise ValueError("no frame that can be decoded")
        self._first: av.VideoFrame | None = first
        self._stored = first.width, first.height
        self._shown = round(first.width * self.pixel_aspect), first.height
        self._matrix = _display_matrix(first)
        self.width, self.height = self._upright(*self._shown)

    @property
    def stored_size(self) -> tuple[int, int]:
        """Width and height of the upright images before their pixels were made square."""
        return self._upright(*self._stored)

    def __iter__(self) -> Iterator[VideoFrame]:
        """Yield the frames until the end of the file; their stamps strictly increase."""
        if self._first is not None:
            first, self._first = self._first, None
            yield self._frame(first)
        for frame in self._decoded:
            yield self._frame(frame)

    def report(self) -> str:
        """What is missing of the frames up to here, in one sentence; empty: nothing."""
        found = self._times.losses(self._file.promised, self._file.length_s)
        return f"{self.path} {found}." if found else ""

    def close(self) -> None:
        """Release the decoder."""
        self._decoded.close()
        self._file.close()

    def _frame(self, frame: av.VideoFrame) -> VideoFrame:
        pts = frame.dts if frame.pts is None else frame.pts
        stamp_ns = self._times.stamp_ns(pts, frame.is_corrupt)
        width, height = self._shown
        # BICUBIC also decides how colours are converted; with it images equal those of OpenCV.
        image = self._reformatter.reformat(
            frame, width, height, "bgr24", interpolation=Interpolation.BICUBIC
        ).to_ndarray()
        return VideoFrame(stamp_ns, np.ascontiguousarray(_turned(image, self._matrix)))

    def _upright(self, width: int, height: int) -> tuple[int, int]:
        return (height, width) if _lies(self._matrix) else (width, height)


def open_video(path: str | Path) -> VideoReader:
    """Open a video file and decode its first frame.

    Raises: VideoError if the file is missing, does not open or holds no frames.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise VideoError(f"No video at '{path}': expected the path of a video file.")
    try:
        return VideoReader(path)
    except (av.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise VideoError(
            f"'{path}' cannot be opened as a video, or has no frames ({reason}); expected a "
            "complete file that FFmpeg decodes, such as mp4 with H.264 (try: ffmpeg -i INPUT "
            "-c:v libx264 out.mp4)."
        ) from error


def _believable(aspect: Fraction) -> Fraction:
    """The width of a pixel over its height, 1 where that is nearly so or makes no sense."""
    wide = max(aspect, 1 / aspect) if aspect > 0 else Fraction(1)
    return aspect if LEAST_ASPECT <= wide <= MOST_ASPECT else Fraction(1)


def _display_matrix(frame: av.VideoFrame) -> tuple[int, int, int, int]:
    """How the picture lies: right = a x + c y, down = b x + d y of stored columns x, rows y."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return 1, 0, 0, 1
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
    return a, b, c, d


def _lies(matrix: tuple[int, int, int, int]) -> bool:
    """Whether rows become columns. Turns that are no quarter turns are taken for the nearest."""
    a, b, c, d = matrix
    return abs(b) + abs(c) > abs(a) + abs(d)


def _turned(image: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """A view of an image (H, W, 3) as it is to be shown."""
    a, b, c, d = matrix
    right, down = a, d
    if _lies(matrix):
        image, right, down = image.transpose(1, 0, 2), c, b
    return image[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1]
