"""Plays a decoded video to the live engine like a camera, and records the results."""

from __future__ import annotations

import dataclasses
import threading
import time
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from moro_ros.errors import VideoError
from moro_ros.io.video import open_video
from moro_ros.live.threads import NewestSlot, Relay
from moro_ros.types import Camera, Observed, PipelineResult

# Number of measurements of resident memory in a run, and of observations that are kept.
MARKS, KEPT = 10, 200


class Engine(Protocol):
    """The timed object: HumanMotionPipeline, or another one with the same two halves."""

    def observe(
        self, image: np.ndarray, stamp_ns: int, camera: Camera, late: bool = False
    ) -> Observed: ...

    def recover(self, observed: Observed, mesh: bool = False) -> PipelineResult: ...


@dataclass(frozen=True, slots=True)
class Clip:
    """A decoded video: images (H, W, 3) uint8 RGB, their rate and their camera."""

    images: list[np.ndarray]
    rate_hz: float
    camera: Camera

    def image(self, number: int) -> np.ndarray:
        """The image of any number: the clip is repeated forth and back."""
        span = max(1, len(self.images) - 1)
        turn, step = divmod(number, span)
        return self.images[min(step if turn % 2 == 0 else span - step, len(self.images) - 1)]


@dataclass(slots=True)
class Run:
    """The results of one run: latency and stages of every processed image, and dropped images.

    resident_mb: resident memory after each tenth of the run. observed: the first images' people,
    without the images.
    """

    duration_s: float = 0.0
    dropped: int = 0
    latency_s: list[float] = field(default_factory=list)
    stages_s: dict[str, list[float]] = field(default_factory=dict)
    resident_mb: list[float] = field(default_factory=list)
    observed: list[Observed] = field(default_factory=list)

    @property
    def fps(self) -> float:
        """Images processed per second."""
        return len(self.latency_s) / self.duration_s

    def add(self, result: PipelineResult, latency_s: float) -> None:
        """Count a processed image."""
        self.latency_s.append(latency_s)
        for name, seconds in result.stage_s.items():
            self.stages_s.setdefault(name, []).append(seconds)


def decoded(path: Path, camera: Camera, height: int, first: int, count: int) -> Clip:
    """Decode a part of a video and scale it and its camera to a number of rows."""
    scale = height / camera.height
    size = (round(camera.width * scale), height)
    images = []
    with open_video(path) as video:
        for frame in islice(video, first, first + count):
            small = cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)
            images.append(cv2.cvtColor(small, cv2.COLOR_BGR2RGB))
        rate_hz = video.rate_hz
    if not images:
        raise VideoError(f"{path} has no frame {first}.")
    matrix = np.diag([size[0] / camera.width, scale, 1.0]) @ camera.matrix
    sized = dataclasses.replace(camera, matrix=matrix, width=size[0], height=height)
    return Clip(images, rate_hz, sized)


@dataclass(slots=True)
class Timeline:
    """The position in the clip: the number of its next image and that image's stamp.

    Runs on one timeline follow each other without a jump.
    """

    number: int = 0
    stamp_ns: int = 1

    def advance(self, images: int, interval_ns: int) -> None:
        """Advance by some images."""
        self.number += images
        self.stamp_ns += images * interval_ns


class Player:
    """A camera: puts the number and the due time of each image into a slot when it is due."""

    def __init__(self, slot: NewestSlot[tuple[int, int]], rate_hz: float, seconds: float) -> None:
        self.dropped = 0
        self._slot, self._rate_hz, self._seconds = slot, rate_hz, seconds
        self._thread = threading.Thread(target=self._play, daemon=True)

    def __enter__(self) -> Player:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def _play(self) -> None:
        start_ns = time.monotonic_ns()
        for number in range(round(self._seconds * self._rate_hz)):
            due_ns = start_ns + round(number / self._rate_hz * 1e9)
            time.sleep(max(0, due_ns - time.monotonic_ns()) * 1e-9)
            self.dropped += self._slot.put((number, due_ns))
        time.sleep(1.0 / self._rate_hz)
        self._slot.close()


def play(engine: Engine, clip: Clip, timeline: Timeline, rate_hz: float, seconds: float) -> Run:
    """Run the engine on a clip like the node: detection in one image while another is recovered.

    rate_hz: of the camera, whose newest image is always processed next; 0: an image whenever the
    engine is free.
    """
    run = _Playing(engine, clip, timeline, rate_hz or clip.rate_hz, seconds)
    result, images = run.result, 0
    if rate_hz > 0:
        slot: NewestSlot[tuple[int, int]] = NewestSlot()
        with Player(slot, rate_hz, seconds) as camera:
            while (item := slot.take()) is not None:
                run.process(*item, slot.late)
        result.dropped, images = camera.dropped, round(seconds * rate_hz)
    else:
        while run.elapsed_s() < seconds:
            run.process(images, time.monotonic_ns(), late=False)
            images += 1
    run.finish()
    timeline.advance(images, run.interval_ns)
    return result


class _Playing:
    """One run in progress."""

    def __init__(
        self, engine: Engine, clip: Clip, timeline: Timeline, rate_hz: float, seconds: float
    ) -> None:
        self.result, self.interval_ns = Run(), round(1e9 / rate_hz)
        self._engine, self._clip, self._timeline = engine, clip, timeline
        self._relay = Relay("moro_motion")
        self._start_ns = time.monotonic_ns()
        self._mark_s = seconds / MARKS

    def elapsed_s(self) -> float:
        """Time since the start."""
        return (time.monotonic_ns() - self._start_ns) * 1e-9

    def process(self, number: int, due_ns: int, late: bool) -> None:
        """Observe an image, given by its number since the start, and pass it on."""
        result, clip, start = self.result, self._clip, self._timeline
        stamp_ns = start.stamp_ns + number * self.interval_ns
        image = clip.image(start.number + number)
        observed = self._engine.observe(image, stamp_ns, clip.camera, late)
        if len(result.observed) < KEPT:
            frame = dataclasses.replace(observed.frame, image=None)
            result.observed.append(dataclasses.replace(observed, frame=frame))

        def recover() -> None:
            recovered = self._engine.recover(observed)
            result.add(recovered, (time.monotonic_ns() - due_ns) * 1e-9)

        self._relay.hand_over(recover)
        if self.elapsed_s() >= self._mark_s * (len(result.resident_mb) + 1):
            result.resident_mb.append(resident_mb())

    def finish(self) -> None:
        """Wait for the current image."""
        self._relay.rest()
        self.result.duration_s = self.elapsed_s()


def resident_mb() -> float:
    """Resident memory of this process, MB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kilobytes = status.split("VmRSS:")[1].split()[0]
    return int(kilobytes) * 1024 / 1e6
