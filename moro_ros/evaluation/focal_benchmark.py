"""Accuracy of the focal length estimated from the people in the images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from moro_ros.assets import fetch
from moro_ros.data.mocap import MotionSet
from moro_ros.errors import DataError
from moro_ros.evaluation.calibrations import load_calibration
from moro_ros.evaluation.live_benchmark import FOCAL_PX, images_of
from moro_ros.evaluation.open_benchmark import OpenProtocol
from moro_ros.evaluation.open_worlds import World, world_windows
from moro_ros.evaluation.pose2sim import TRIALS, Frontend, video_of
from moro_ros.evaluation.video_score import RATE_HZ
from moro_ros.io.camera_file import camera_from_focal
from moro_ros.io.video import open_video
from moro_ros.live.focal_estimate import USUAL, WARM_UP, estimate_focal
from moro_ros.live.motion_stream import MoRoStream
from moro_ros.types import Frame

# Standard deviation of the logarithm of the focal lengths of synthetic cameras about the usual one.
SPREAD = 0.3


@dataclass(frozen=True, slots=True)
class Clip:
    """The first images with people of a video, and the true focal length."""

    name: str
    frames: tuple[Frame, ...]
    focal_px: float

    @property
    def share(self) -> float:
        """The true focal length relative to the longer side of the image."""
        return self.focal_px / max(self.frames[0].camera.width, self.frames[0].camera.height)


@dataclass(frozen=True, slots=True)
class Guess:
    """An estimate and the usual focal length, both relative to the true one."""

    estimate: float
    usual: float


def pose2sim_clips(frontend: Frontend, images: int) -> Iterator[Clip]:
    """Yield the first images with people of the eight videos.

    Raises: AssetError if the videos are not available; VideoError if they do not open.
    """
    views = load_calibration(fetch("pose2sim_calibration.qca.txt"))
    for trial in TRIALS:
        for view in views:
            path = video_of(trial, view.name)
            frames = tuple(frames_with_people(frontend, path, images))
            yield Clip(f"{trial} {view.name}", frames, float(view.camera.matrix[0, 0]))


def frames_with_people(frontend: Frontend, path: Path, images: int) -> Iterator[Frame]:
    """Yield the first images with people of a video, about 30 a second."""
    frontend.reset()
    found = 0
    with open_video(path) as reader:
        stride = max(1, round(reader.rate_hz / RATE_HZ))
        width, height = reader.width, reader.height
        camera = camera_from_focal(USUAL * max(width, height), width, height)
        for number, frame in enumerate(reader):
            if number % stride:
                continue
            people = frontend.observe(frame.rgb, frame.stamp_ns)
            if people:
                found += 1
                yield Frame(frame.stamp_ns, camera, people)
            if found == images:
                return


def guess(
    frames: Sequence[Frame], stream: MoRoStream, focal_px: float, share: float
) -> Guess | None:
    """Return the guess from some frames as if the true focal length were a share of the image.

    None if too little of the people is seen.
    """
    longer_px = focal_px / share
    found = estimate_focal(frames, stream, longer_px)
    if found is None:
        return None
    return Guess(found.focal_px / focal_px, USUAL * longer_px / focal_px)


def synthetic_guesses(
    stream: MoRoStream, motion: MotionSet, people: int, images: int, seed: int
) -> list[Guess]:
    """Return the guesses from held-out motion, one sufficiently visible person per camera."""
    protocol = OpenProtocol(windows=people, frames=WARM_UP + images, batch=people, seed=seed)
    observed = next(world_windows(motion, stream.body, World(), protocol))
    frames = list(images_of(observed))
    shares = USUAL * np.exp(SPREAD * np.random.default_rng(seed).normal(size=people))
    guesses = [
        guess([alone(frame, person) for frame in frames], stream, FOCAL_PX, float(share))
        for person, share in enumerate(shares)
    ]
    return [found for found in guesses if found is not None]


def alone(frame: Frame, person: int) -> Frame:
    """Return a frame with one of its people."""
    return replace(frame, people=frame.people[person : person + 1])


def figures(guesses: Sequence[Guess]) -> dict[str, float]:
    """Return the errors of guesses, relative to the true focal length.

    Keys: preferred and preferred_median, of the usual focal length alone, the first with its sign;
    mean and median, of the estimate; least and most, the estimate over the truth.
    Raises: DataError if there are none.
    """
    if not guesses:
        raise DataError("The images show too little of people for an estimate: use more images.")
    estimates, usual = np.array([(g.estimate, g.usual) for g in guesses]).T
    return {
        "preferred": float((usual - 1.0).mean()),
        "preferred_median": float(np.median(np.abs(usual - 1.0))),
        "mean": float(np.abs(estimates - 1.0).mean()),
        "median": float(np.median(np.abs(estimates - 1.0))),
        "least": float(estimates.min()),
        "most": float(estimates.max()),
    }
