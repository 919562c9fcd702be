"""VideoReader: the frames of a video file, decoded in order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from moro_ros.errors import VideoError

# What a container without a believable frame rate is played at.
FALLBACK_RATE_HZ = 30.0


class VideoReader:
    """An opened video file; iterating gives its frames from the current position on.

    width, height: pixels; rate_hz: frames per second; frame_count: as the container says it, 0
    where it does not. Frames are BGR, as the file reader delivers them.
    """

    def __init__(self, capture: cv2.VideoCapture, path: Path, first: np.ndarray) -> None:
        self.path = path
        self._capture = capture
        self._first: np.ndarray | None = first
        self.height, self.width = first.shape[:2]
        rate = float(capture.get(cv2.CAP_PROP_FPS))
        self.rate_hz = rate if np.isfinite(rate) and 1.0 <= rate <= 1000.0 else FALLBACK_RATE_HZ
        self.frame_count = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield frames (H, W, 3) uint8 BGR until the end of the file."""
        if self._first is not None:
            first, self._first = self._first, None
            yield first
        while True:
            found, image = self._capture.read()
            if not found:
                return
            yield image

    def rewind(self) -> None:
        """Go back to the first frame; raises VideoError if the file cannot be read again."""
        self._capture.release()
        again = open_video(self.path)
        self._capture, self._first = again._capture, again._first

    def close(self) -> None:
        """Release the decoder."""
        self._capture.release()


def open_video(path: str | Path) -> VideoReader:
    """Open a video file and decode its first frame.

    Raises: VideoError if the file is missing, does not open or holds no frames.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise VideoError(f"No video at '{path}': expected the path of a video file.")
    capture = cv2.VideoCapture(str(path))
    found, first = capture.read() if capture.isOpened() else (False, None)
    if not found or first is None:
        capture.release()
        raise VideoError(
            f"'{path}' does not open as a video or holds no frames; expected a file that OpenCV "
            "decodes, such as mp4 with H.264 (try: ffmpeg -i INPUT -c:v libx264 out.mp4)."
        )
    return VideoReader(capture, path, first)
