"""VideoReader: the images of a video file in order, each with its own time."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from moro_ros.errors import VideoError
from moro_ros.io.frames import HIGHEST_RATE_HZ, LOWEST_RATE_HZ, FrameSource, VideoFrame
from moro_ros.io.video_file import VideoFile
from moro_ros.io.video_times import VideoTimes

# Frame rate for a container without a plausible one.
FALLBACK_RATE_HZ = Fraction(30)
# Pixel aspects nearer to 1 than this are square; above the other limit the header is damaged.
LEAST_ASPECT, MOST_ASPECT = Fraction(101, 100), 4


class VideoReader(FrameSource):
    """An opened video file; iterating yields its frames from the current position on.

    Images are upright and their pixels square, regardless of the file: it contains the rotation
    and the pixel aspect, and the detector was trained on such images. Frames that cannot be
    decoded are skipped, as by ffmpeg; `report` returns what is missing.
    """

    def __init__(self, path: Path) -> None:
        """Open a file; raises av.FFmpegError or ValueError if no frame can be decoded."""
        self.path = path
        self._file = VideoFile(path)
        stream = self._file.stream
        rate = stream.average_rate or stream.guessed_rate
        rate = rate if rate and LOWEST_RATE_HZ <= rate <= HIGHEST_RATE_HZ else FALLBACK_RATE_HZ
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

    def frames(self, start_ns: int = 0) -> Iterator[VideoFrame]:
        """Yield the frames from a stamp on: earlier ones are decoded, but not converted."""
        first, self._first = self._first, None
        for frame in chain([first] if first is not None else [], self._decoded):
            pts = frame.dts if frame.pts is None else frame.pts
            stamp_ns = self._times.stamp_ns(pts, frame.is_corrupt)
            if stamp_ns >= start_ns:
                yield VideoFrame(stamp_ns, self._image(frame))

    def report(self) -> str:
        """A sentence about frames that are missing so far; empty if none are."""
        found = self._times.losses(self._file.promised, self._file.length_s)
        return f"{self.path} {found}." if found else ""

    def close(self) -> None:
        """Release the decoder."""
        self._decoded.close()
        self._file.close()

    def _image(self, frame: av.VideoFrame) -> np.ndarray:
        width, height = self._shown
        # BICUBIC also decides how colours are converted; with it images equal those of OpenCV.
        image = self._reformatter.reformat(
            frame, width, height, "bgr24", interpolation=Interpolation.BICUBIC
        ).to_ndarray()
        return np.ascontiguousarray(_turned(image, self._matrix))

    def _upright(self, width: int, height: int) -> tuple[int, int]:
        return (height, width) if _lies(self._matrix) else (width, height)


def open_video(path: str | Path) -> VideoReader:
    """Open a video file and decode its first frame.

    Raises: VideoError if the file is missing, does not open or has no frames.
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
    """The width of a pixel over its height, 1 if it is nearly 1 or implausible."""
    wide = max(aspect, 1 / aspect) if aspect > 0 else Fraction(1)
    return aspect if LEAST_ASPECT <= wide <= MOST_ASPECT else Fraction(1)


def _display_matrix(frame: av.VideoFrame) -> tuple[int, int, int, int]:
    """The orientation: right = a x + c y, down = b x + d y of stored columns x, rows y."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return 1, 0, 0, 1
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
    return a, b, c, d


def _lies(matrix: tuple[int, int, int, int]) -> bool:
    """Whether rows become columns. Rotations are rounded to quarter turns."""
    a, b, c, d = matrix
    return abs(b) + abs(c) > abs(a) + abs(d)


def _turned(image: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """A view of an image (H, W, 3) in display orientation."""
    a, b, c, d = matrix
    right, down = a, d
    if _lies(matrix):
        image, right, down = image.transpose(1, 0, 2), c, b
    return image[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1]
