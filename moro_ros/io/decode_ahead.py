"""DecodeAhead: a video that another thread decodes, some frames ahead of the consumer."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

from moro_ros.errors import MoroError, VideoError
from moro_ros.io.frames import VideoFrame
from moro_ros.io.video import VideoReader, open_video
from moro_ros.perception.blazepose import shrunk

# Maximum delay of a request to stop.
POLL_S = 0.1
# Timeout of a blocked decoder, for instance on a lost network drive, which is then abandoned.
JOIN_S = 2.0


class DecodeAhead:
    """Iterates over a video; stamps continue when it restarts.

    loop: restart at the end. size: width and height that frames are scaled down to, None for
    those of the video. ahead: number of frames. stop: ends the iteration.
    """

    def __init__(
        self,
        reader: VideoReader,
        loop: bool,
        size: tuple[int, int] | None,
        ahead: int,
        stop: threading.Event | None = None,
    ) -> None:
        self.report = ""
        self._queue: queue.Queue[VideoFrame | None] = queue.Queue(ahead)
        self._reader = reader
        self._loop = loop
        self._size = size
        self._stop = stop or threading.Event()
        self._closed = threading.Event()
        self._error: MoroError | None = None
        self._thread = threading.Thread(target=self._run, name="moro_decoder", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[VideoFrame]:
        """Yield the frames; raises VideoError if the video cannot be decoded any further.

        After the first round `report` is the reader's report of missing frames.
        """
        while not self._stop.is_set():
            try:
                frame = self._queue.get(timeout=POLL_S)
            except queue.Empty:
                continue
            if frame is None:
                if self._error is not None:
                    raise self._error
                return
            yield frame

    def filled(self) -> bool:
        """Whether nothing can be decoded until a frame is taken."""
        return self._queue.full() or not self._thread.is_alive()

    def close(self) -> None:
        """End the thread and release the video."""
        self._closed.set()
        while not self._queue.empty():
            self._queue.get_nowait()
        self._thread.join(JOIN_S)
        if not self._thread.is_alive():
            self._reader.close()

    def _run(self) -> None:
        try:
            self._decode()
        except MoroError as error:
            self._error = error
        except Exception as error:
            # Any error must be passed to the consumer that waits for a frame.
            self._error = VideoError(
                f"{self._reader.path} cannot be decoded further: {type(error).__name__}, "
                f"{error}. Try another file, or convert it: ffmpeg -i INPUT -c:v libx264 "
                "out.mp4."
            )
            self._error.__cause__ = error
        finally:
            self._offer(None)

    def _decode(self) -> None:
        start_ns, period_ns = 0, round(1e9 / self._reader.rate_hz)
        while True:
            stamp_ns = start_ns
            for frame in self._reader:
                stamp_ns = start_ns + frame.stamp_ns
                image = frame.image if self._size is None else shrunk(frame.image, self._size)
                if not self._offer(VideoFrame(stamp_ns, image)):
                    return
            self.report = self.report or self._reader.report()
            if not self._loop:
                return
            self._reader.close()
            self._reader = open_video(self._reader.path)
            start_ns = stamp_ns + period_ns

    def _offer(self, item: VideoFrame | None) -> bool:
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=POLL_S)
            except queue.Full:
                continue
            return True
        return False
