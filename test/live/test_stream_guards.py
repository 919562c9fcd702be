"""What a stream must not pass on: numbers that are not finite. And two answers of one age."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from moro_ros.config import MotionConfig, PipelineConfig
from moro_ros.live import live_decoder as live
from moro_ros.live.load import CAMERA, load_stream, standing
from moro_ros.live.motion_stream import MoRoStream
from moro_ros.types import BodyMotion, Frame

STEP_NS = 33_000_000


@pytest.fixture(scope="module")
def loaded() -> MoRoStream:
    return load_stream(PipelineConfig(motion=MotionConfig(window=12)))


def frame(index: int) -> Frame:
    people = tuple(standing(track_id, index) for track_id in (1, 2))
    return Frame(10**9 + index * STEP_NS, CAMERA, people, None)


def ids(motions: tuple[BodyMotion, ...]) -> set[int]:
    return {motion.track_id for motion in motions}


def test_a_pose_of_the_network_that_is_not_finite_is_dropped_and_forgotten(
    loaded: MoRoStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = loaded.sibling(MotionConfig(window=12, refined_lag=2))
    to_host = live.to_host

    def broken(tensors):
        arrays = {name: array.copy() for name, array in to_host(tensors).items()}
        arrays["translation"][0, -1] = np.nan  # the newest frame of the first person
        return arrays

    for index in range(6):
        assert ids(stream.push(frame(index))) == {1, 2}
    with monkeypatch.context() as patch:
        patch.setattr(live, "to_host", broken)
        assert ids(stream.push(frame(6))) == {2}
    assert stream.unusable_poses == 1
    for index in range(7, 12):
        motions = stream.push(frame(index))
        assert ids(motions) == {1, 2} and not stream.lost
        assert all(motion.finite for motion in (*motions, *stream.refined))
    assert stream.unusable_poses == 1


def test_keypoints_that_are_not_finite_do_not_stay_in_a_person_s_pose(loaded: MoRoStream) -> None:
    stream = loaded.sibling(MotionConfig(window=12))
    for index in range(4):
        stream.push(frame(index))
    given = frame(4)
    first = given.people[0]
    assert first.keypoints is not None
    points = first.keypoints.points_px.copy()
    points[5] = np.nan
    damaged = dataclasses.replace(
        first, keypoints=dataclasses.replace(first.keypoints, points_px=points)
    )
    motions = stream.push(dataclasses.replace(given, people=(damaged, given.people[1])))
    assert 2 in ids(motions) and all(motion.finite for motion in motions)
    for index in range(5, 8):
        motions = stream.push(frame(index))
        assert ids(motions) == {1, 2} and all(motion.finite for motion in motions)


def test_look_ahead_and_refined_lag_may_be_equal(loaded: MoRoStream) -> None:
    """Each of the two answers has a running pose of its own."""
    stream = loaded.sibling(MotionConfig(window=12, look_ahead=2, refined_lag=2))
    described = []
    for index in range(8):
        motions = stream.push(frame(index))
        described.append((ids(motions), ids(stream.refined)))
    assert described[-4:] == [({1, 2}, {1, 2})] * 4
