"""Two-sided decoding: every image is described once, also the last ones of whoever leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from moro_ros.config import MotionConfig
from moro_ros.live.motion_stream import MoRoStream
from moro_ros.live.two_sided import AFTER, TwoSided, two_sided
from moro_ros.network.build import LoadedModel
from moro_ros.types import BodyMotion, Camera, Frame, Keypoints, PersonObservation

CAMERA = Camera(np.array([[900.0, 0, 640], [0, 900.0, 360], [0, 0, 1]]), 1280, 720)


@pytest.fixture(scope="module")
def model(make_model: Callable[..., LoadedModel]) -> LoadedModel:
    return make_model()


def filmed(rate_hz: float, present: dict[int, range], skipped: range = range(0)) -> list[Frame]:
    """Images with people who move to the right, in some of them; nothing in `skipped`."""
    found = []
    for number in range(max(part.stop for part in present.values())):
        people = []
        for track_id in (i for i, part in present.items() if number in part):
            random = np.random.default_rng(track_id)
            points = random.normal((400 + 60 * number / rate_hz, 300), 60, (19, 2))
            keypoints = Keypoints(points.astype(np.float32), np.ones(19, "f4"), np.ones(19, "f4"))
            box = np.array([0, 0, 1, 1], np.float32)
            people.append(PersonObservation(track_id, box, 1.0, keypoints))
        if number not in skipped:
            found.append(Frame(round((number + 1) / rate_hz * 1e9), CAMERA, tuple(people)))
    return found


@pytest.mark.parametrize("look_ahead", [0, 40])
def test_the_output_delay_of_a_live_stream_has_no_effect(look_ahead: int) -> None:
    assert two_sided(MotionConfig(look_ahead=look_ahead)) == two_sided(MotionConfig())


def described(model: LoadedModel, frames: list[Frame]) -> list[BodyMotion]:
    stream = MoRoStream(model, two_sided(MotionConfig(refine_steps=0)))
    found, both = [], TwoSided(stream)
    for frame in [*frames, None]:
        found += both.before(frame)
        if frame is not None:
            stream.push(frame)
            found += both.after()
    return found


@pytest.mark.parametrize("rate_hz", [15.0, 30.0, 60.0])
def test_every_image_of_everybody_is_described_once_and_in_order(
    model: LoadedModel, rate_hz: float
) -> None:
    present = {1: range(50), 2: range(10, 40)}
    frames = filmed(rate_hz, present)
    found = described(model, frames)
    for track_id, part in present.items():
        stamps = [int(m.stamps_ns[-1]) for m in found if m.track_id == track_id]
        assert stamps == [frames[number].stamp_ns for number in part]


def test_at_other_rates_only_the_first_image_of_somebody_may_be_missing(
    model: LoadedModel,
) -> None:
    """It lies before the first frame of their window."""
    frames = filmed(24.0, {1: range(50), 2: range(11, 40)})
    for track_id, part in {1: range(50), 2: range(11, 40)}.items():
        found = [m for m in described(model, frames) if m.track_id == track_id]
        stamps = [int(motion.stamps_ns[-1]) for motion in found]
        expected = [frames[number].stamp_ns for number in part]
        assert stamps in (expected, expected[1:])


@pytest.mark.parametrize("count", [1, 3, AFTER, AFTER + 1])
def test_short_tracks_are_described(model: LoadedModel, count: int) -> None:
    assert len(described(model, filmed(30.0, {1: range(count)}))) == count


def test_a_pause_ends_everybody_after_their_last_image(model: LoadedModel) -> None:
    frames = filmed(30.0, {1: range(80)}, skipped=range(25, 60))
    stamps = [int(motion.stamps_ns[-1]) for motion in described(model, frames)]
    assert stamps == [frame.stamp_ns for frame in frames]


def test_what_comes_later_changes_a_pose(model: LoadedModel) -> None:
    """Of the images up to AFTER before a change, and of no earlier ones."""
    frames = filmed(30.0, {1: range(60)})
    other = [*frames[:50], *(replace(f, people=_moved(f.people)) for f in frames[50:])]
    first, second = described(model, frames), described(model, other)
    moved = [not np.allclose(a.joints, b.joints, atol=1e-6) for a, b in zip(first, second)]
    assert not any(moved[: 50 - AFTER]) and all(moved[50 - AFTER + 1 :])


def _moved(people: tuple[PersonObservation, ...]) -> tuple[PersonObservation, ...]:
    return tuple(
        replace(one, keypoints=replace(one.keypoints, points_px=one.keypoints.points_px + 40))
        for one in people
        if one.keypoints is not None
    )
