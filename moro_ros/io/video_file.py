"""VideoFile: the coded frames of a video file, decoded by FFmpeg even if the file is damaged."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path

import av
from av.codec.context import Flags
from av.container import InputContainer

from moro_ros.io.video_times import VideoTimes


class VideoFile:
    """The best video stream of a file.

    promised: number of frames according to the container, 0 if unknown; length_s: likewise.
    Raises: av.FFmpegError or ValueError if the file does not open or has no video.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._container, self.stream = _open(path, "AUTO")
        self.promised = self.stream.frames
        self.length_s = _length_s(self._container, self.stream)

    def frames(self, times: VideoTimes) -> Generator[av.VideoFrame, None, None]:
        """Yield every frame that can be decoded, in the order of their times.

        times: is given the frames that are read; the caller stamps a frame before the next one.
        Decoders with one thread per frame are fast, but the frames in these threads can be lost if
        one of them finds an error. So from the first error on they are not used: the file is opened
        again and decoded from a key frame on, without yielding frames a second time.
        """
        given = 0
        last: int | None = None
        with suppress(av.FFmpegError):
            for packet in self._packets(times):
                for frame in self.stream.decode(packet):
                    if given or not frame.is_corrupt:  # before a key frame there is no picture
                        given, last = given + 1, frame.pts
                        yield frame
            if not times.awaited:
                times.ended = True
                return
        self.close()
        self._container, self.stream = _open(self._path, "SLICE")
        if last is not None:
            with suppress(av.FFmpegError):
                self._container.seek(last, stream=self.stream)
        passed, new = 0, False
        for packet in self._packets(times):
            with suppress(av.FFmpegError):
                for frame in self.stream.decode(packet):
                    passed += given > 0 or not frame.is_corrupt
                    if last is None or frame.pts is None:
                        new = new or passed > given
                    else:
                        new = new or frame.pts > last
                    if new:
                        yield frame
        times.ended = True

    def close(self) -> None:
        """Release the decoder."""
        self._container.close()

    def _packets(self, times: VideoTimes) -> Iterator[av.Packet | None]:
        """Yield the file's packets for the decoder, and None at its end."""
        # A file that cannot be read any further ends there.
        with suppress(av.FFmpegError):
            for packet in self._container.demux(self.stream):
                if packet.size:
                    times.expect(packet.pts, shown=not packet.is_discard)
                    yield packet
        yield None


def _open(path: Path, threads: str) -> tuple[InputContainer, av.VideoStream]:
    # An absolute path is never interpreted as the address of a stream.
    container = av.open(str(path.absolute()))
    stream = container.streams.best("video")
    if not isinstance(stream, av.VideoStream):
        container.close()
        raise ValueError("no video stream")
    stream.thread_type = threads
    stream.codec_context.flags |= Flags.output_corrupt  # as the ffmpeg command does
    return container, stream


def _length_s(container: InputContainer, stream: av.VideoStream) -> float:
    """The length of the video according to its container, s; 0 if unknown."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if tag := re.fullmatch(r"(\d+):(\d\d):(\d\d\.\d+)", stream.metadata.get("DURATION", "")):
        return 3600 * int(tag[1]) + 60 * int(tag[2]) + float(tag[3])  # Matroska
    # Other streams of the file may be longer than the video.
    alone = len(container.streams) == 1
    return container.duration / 1_000_000 if alone and container.duration else 0.0
