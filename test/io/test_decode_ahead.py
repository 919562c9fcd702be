"""Frames decoded ahead in another thread: in order, in rounds, never waited for in vain."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from moro_ros.errors import VideoError
from moro_ros.io import decode_ahead
from moro_ros.io.decode_ahead import DecodeAhead
from moro_ros.io.frames import VideoFrame
from moro_ros.io.video import open_video

FRAMES, RATE_HZ = 20, 50
LIMIT_S = 10.0


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> Path:
    """Frames that can be told apart by their brightness."""
    path = tmp_path_factory.mktemp("video") / "steps.avi"
    times = [Fraction(index, RATE_HZ) for index in range(FRAMES)]

    def grey(index: int, width: int, height: int) -> np.ndarray:
        return np.full((height, width, 3), 10 * index, np.uint8)

    tick = Fraction(1, RATE_HZ)
    return make_video(path, times, rate=RATE_HZ, tick=tick, codec="mjpeg", image=grey)


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.mark.parametrize("ahead", [5, 10 * FRAMES])
def test_decoding_goes_ahead_until_there_is_enough(video: Path, ahead: int) -> None:
    frames = DecodeAhead(open_video(video), False, None, ahead)
    wait_for(frames.filled)
    means = [frame.image.mean() for frame in frames]
    np.testing.assert_allclose(means, 10.0 * np.arange(FRAMES), atol=3.0)
    frames.close()


def test_stamps_go_on_where_the_video_begins_again(video: Path) -> None:
    frames = DecodeAhead(open_video(video), True, (32, 24), 5)
    taken = list(itertools.islice(frames, 2 * FRAMES + 3))
    frames.close()
    assert len(taken) == 2 * FRAMES + 3
    assert {frame.image.shape for frame in taken} == {(24, 32, 3)}
    assert [frame.stamp_ns for frame in taken] == [20_000_000 * n for n in range(len(taken))]
    np.testing.assert_allclose(taken[FRAMES].image.mean(), taken[0].image.mean())


def test_what_is_missing_is_known_at_the_end(video: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.avi"
    cut.write_bytes(b"00dc".join(video.read_bytes().split(b"00dc")[: FRAMES // 2]))
    frames = DecodeAhead(open_video(cut), False, None, 5)
    count = len(list(frames))
    frames.close()
    assert 0 < count < FRAMES
    assert f"with {count} of {FRAMES} frames" in frames.report


@pytest.mark.parametrize("error", [MemoryError("none left"), VideoError("the file is gone")])
def test_any_error_of_the_decoder_ends_the_waiting(
    video: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> np.ndarray:
        raise error

    monkeypatch.setattr(decode_ahead, "shrunk", fail)
    frames = DecodeAhead(open_video(video), False, (32, 24), 5)
    caught: list[BaseException] = []

    def take() -> None:
        try:
            list(frames)
        except VideoError as told:
            caught.append(told)

    taker = threading.Thread(target=take, daemon=True)
    taker.start()
    taker.join(LIMIT_S)
    assert not taker.is_alive()
    frames.close()
    assert str(error) in str(caught[0])
    assert isinstance(error, VideoError) or f"{video} cannot be decoded further" in str(caught)


def test_a_decoder_that_hangs_is_left_behind(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a network drive that is gone: whoever stops waits neither for a frame nor for it."""
    monkeypatch.setattr(decode_ahead, "JOIN_S", 0.1)
    freed, stop = threading.Event(), threading.Event()

    class Hanging:
        path, rate_hz = video, float(RATE_HZ)

        def __iter__(self) -> Iterator[VideoFrame]:
            freed.wait(LIMIT_S)
            yield from ()

        def report(self) -> str:
            return ""

        def close(self) -> None:
            assert freed.is_set(), "closed under a decoder at work"

    frames = DecodeAhead(Hanging(), False, None, 5, stop)  # type: ignore[arg-type]
    threading.Timer(0.2, stop.set).start()
    start = time.monotonic()
    assert list(frames) == []
    frames.close()
    assert time.monotonic() - start < LIMIT_S / 2
    freed.set()
