"""Pictures: small images by stamp, for display with motion."""

from __future__ import annotations

import threading
from bisect import bisect_right
from pathlib import Path

import cv2
import numpy as np

from moro_ros.errors import VideoError
from moro_ros.io.video import open_video

# Width of the pictures [px], and maximum number for a video: about 60 MB.
WIDTH_PX, MOST = 480, 3000
# A picture is shown until this long after its stamp [ns].
HOLD_NS = 250_000_000


class Pictures:
    """Small pictures in the order of their stamps; may be filled while another thread reads.

    most: maximum number; older ones are dropped.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._stamps_ns: list[int] = []
        self._files: list[bytes] = []

    def __len__(self) -> int:
        return len(self._files)

    def add(self, stamp_ns: int, bgr: np.ndarray) -> None:
        """Add an image (H, W, 3) uint8 BGR, scaled down; one that is not newer is ignored."""
        height = max(1, round(bgr.shape[0] * WIDTH_PX / bgr.shape[1]))
        if bgr.shape[1] > WIDTH_PX:
            bgr = cv2.resize(bgr, (WIDTH_PX, height), interpolation=cv2.INTER_AREA)
        _, file = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 85])
        with self._lock:
            if self._stamps_ns and stamp_ns <= self._stamps_ns[-1]:
                return
            self._stamps_ns.append(stamp_ns)
            self._files.append(file.tobytes())
            if len(self._files) > self._most:
                del self._stamps_ns[0], self._files[0]

    def at(self, stamp_ns: int) -> tuple[int, bytes] | None:
        """Return the stamp and JPEG of the newest picture up to a stamp, None if it is too old."""
        with self._lock:
            place = bisect_right(self._stamps_ns, stamp_ns) - 1
            if place < 0 or stamp_ns - self._stamps_ns[place] > HOLD_NS:
                return None
            return self._stamps_ns[place], self._files[place]


def decode(file: bytes) -> np.ndarray:
    """Return a picture (H, W, 3) uint8 RGB of its JPEG."""
    bgr = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None, "Pictures keeps JPEG files only"
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


class VideoPictures(Pictures):
    """The pictures of a video file, `video`, which are read in a separate thread.

    stamps_ns: (N,) int64, the stamp of the video's i-th frame; empty: its own times, the first
        frame at start_ns.
    Raises: VideoError if the video does not open.
    """

    def __init__(self, video: Path, stamps_ns: list[int], start_ns: int = 0) -> None:
        super().__init__()
        with open_video(video) as reader:
            count = len(stamps_ns) or reader.frame_count
        self.video, self._frames_ns, self._start_ns = video, stamps_ns, start_ns
        # Of a long video, every n-th frame is kept.
        self._every = -(-count // MOST) or 1
        self._stopped = False
        self._thread = threading.Thread(target=self._read, name="pictures", daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until all pictures are read."""
        self._thread.join(timeout_s)

    def close(self) -> None:
        """Stop reading."""
        self._stopped = True
        self._thread.join()

    def _read(self) -> None:
        try:
            with open_video(self.video) as reader:
                for index, (time_ns, image) in enumerate(reader):
                    if self._stopped or (self._frames_ns and index >= len(self._frames_ns)):
                        return
                    if index % self._every:
                        continue
                    own = self._frames_ns[index] if self._frames_ns else self._start_ns + time_ns
                    if own >= 0:
                        self.add(own, image)
        except VideoError:
            # It was deleted after it was opened; pictures read so far are kept.
            return
