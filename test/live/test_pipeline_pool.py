"""Pipelines of several cameras: one network, ids of their own, turns at the network."""

from __future__ import annotations

import dataclasses
import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from moro_ros.config import MotionConfig, PipelineConfig
from moro_ros.errors import AssetError
from moro_ros.live.load import CAMERA, standing
from moro_ros.live.pipeline_pool import PipelinePool
from moro_ros.types import Frame

pytestmark = pytest.mark.slow

SMALL = PipelineConfig(motion=MotionConfig(window=12))


@pytest.fixture
def engine() -> PipelinePool:
    return PipelinePool()


@pytest.fixture
def make(engine: PipelinePool):
    def make(**changes: object):
        try:
            return engine.pipeline(dataclasses.replace(SMALL, **changes))
        except AssetError as error:
            pytest.skip(f"the front-end's models are not to be had: {error}")

    return make


def frame(index: int, track_id: int) -> Frame:
    person = dataclasses.replace(standing(1, index), track_id=track_id)
    return Frame(10**9 + index * 33_000_000, CAMERA, (person,), None)


def test_one_network_serves_equal_options(make) -> None:
    first, second = make(), make(max_people=2)
    assert first.stream.model.moro is second.stream.model.moro
    assert first.stream.tracks is not second.stream.tracks
    assert make(threads=2).stream.model.moro is not first.stream.model.moro


def test_the_network_goes_with_its_last_pipeline(make) -> None:
    first, second = make(), make()
    network = weakref.ref(first.stream.model.moro)
    del first
    gc.collect()
    assert network() is second.stream.model.moro
    assert make().stream.model.moro is network()
    del second
    gc.collect()
    assert network() is None


def test_warming_up_leaves_nobody_behind(make) -> None:
    stream = make().stream
    assert not stream.tracks and stream.last_stamp_ns is None
    stream.push(Frame(1, CAMERA, (), None))
    assert stream.lost == ()


def test_ids_are_of_one_camera_alone(make) -> None:
    """Real front-ends number the people that they are shown from one counter."""
    pipelines = make(), make()
    for index, pipeline in enumerate(pipelines):
        tracker = pipeline.frontend._tracker
        assert tracker.ids is pipelines[0].frontend._tracker.ids
        pipeline.reset()
        assert next(tracker.ids) == index + 1


def test_cameras_side_by_side_give_what_each_gives_alone(make) -> None:
    def motion(pipeline, track_id: int) -> np.ndarray:
        joints = []
        for index in range(6):
            with pipeline.turn:
                joints += [m.joints for m in pipeline.stream.push(frame(index, track_id))]
        return np.concatenate(joints)

    alone = motion(make(), 1)
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(motion, (make(), make()), (1, 2)))
    for found in together:
        np.testing.assert_allclose(found, alone, atol=1e-5)


def test_a_shape_can_be_locked_and_released(make) -> None:
    pipeline = make()
    stream = pipeline.stream
    assert pipeline.lock_shape(1, True) is None
    for index in range(3):
        stream.push(frame(index, 1))
    assert 0.0 < pipeline.window_fill < 1.0
    locked = pipeline.lock_shape(1, True)
    for index in range(3, 6):
        (motion,) = stream.push(frame(index, 1))
        np.testing.assert_allclose(motion.smplx.betas, locked, atol=1e-5)
    pipeline.lock_shape(1, False)
    (motion,) = stream.push(frame(6, 1))
    assert not np.array_equal(motion.smplx.betas, locked)
    pipeline.reset()
    assert pipeline.window_fill == 0.0


def test_imagined_people_are_numbered_like_real_ones() -> None:
    """Two cameras of imagined people: nobody's id is used twice, and nobody needs a detector."""
    engine, seen = PipelinePool(), []
    image = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)
    for _ in range(2):
        pipeline = engine.pipeline(dataclasses.replace(SMALL, people="synthetic"))
        result = pipeline.push(image, 10**9, CAMERA)
        seen += [motion.track_id for motion in result.motions]
    assert len(seen) == len(set(seen)) == 4
