"""The shape of a person settles by what is seen: noise does not hinder it, a drift does."""

import numpy as np
import torch

from moro_ros.config import MotionConfig
from moro_ros.live.motion_stream import MoRoStream
from moro_ros.recover.steady_pose import TOLERANCE, ShapeLock

RATE_HZ = 30


def settled_at(shapes, settle_s, seen=lambda index: True):
    """The index at which a sequence of shapes (10,) at 30 Hz has settled, and at what."""
    shape_lock = ShapeLock()
    for index, betas in enumerate(shapes):
        stamp_ns = round(index * 1e9 / RATE_HZ)
        if (shape := shape_lock.update(betas, stamp_ns, seen(index), settle_s)) is not None:
            return index, shape
    return None, None


def noisy(count, scale, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.linspace(-1, 1, 10) + scale * torch.randn(count, 10, generator=generator)


def test_a_still_shape_settles_in_that_time_exactly():
    index, shape = settled_at(torch.ones(300, 10), 2.0)
    assert index == 2 * RATE_HZ
    assert torch.equal(shape, torch.ones(10))


def test_noise_is_averaged_out():
    index, shape = settled_at(noisy(600, 0.3), 3.0)
    assert index is not None and index >= 3 * RATE_HZ
    torch.testing.assert_close(shape, torch.linspace(-1, 1, 10), atol=0.1, rtol=0)


def test_a_shape_that_drifts_does_not_settle():
    drift = torch.linspace(0, 20, 600)[:, None].expand(600, 10)
    assert settled_at(drift, 3.0) == (None, None)
    # The mean moves half as fast; below TOLERANCE in that time it counts as still.
    slow = torch.linspace(0, TOLERANCE, 4 * RATE_HZ)[:, None].expand(4 * RATE_HZ, 10)
    assert settled_at(slow, 3.0)[0] is not None


def test_only_the_time_of_being_seen_counts():
    index, _ = settled_at(torch.ones(600, 10), 2.0, seen=lambda index: index < 30 or index >= 330)
    assert index == 300 + 2 * RATE_HZ
    assert settled_at(torch.ones(600, 10), 2.0, seen=lambda index: False) == (None, None)


def test_a_stream_keeps_a_settled_shape_until_it_is_released(tiny_model, filmed):
    """The untrained model's shapes differ by less than TOLERANCE: they settle as soon as may be."""
    stream = MoRoStream(tiny_model, MotionConfig(window=12, shape_lock_s=0.5))
    told = []
    for frame in filmed(np.arange(30) / RATE_HZ, {1: (0.0, 9.0, 0.0)}):
        told += stream.push(frame)
    locked = [motion.shape_locked for motion in told]
    first = locked.index(True)
    assert 15 <= first <= 17 and all(locked[first:])
    kept = told[first].smplx.betas
    assert all(np.array_equal(motion.smplx.betas, kept) for motion in told[first:])
    assert not np.array_equal(told[first - 2].smplx.betas, kept)
    stream.lock_shape(1, False)
    frames = filmed(np.arange(30, 60) / RATE_HZ, {1: (0.0, 9.0, 0.0)})
    told = [motion for frame in frames for motion in stream.push(frame)]
    assert [motion.shape_locked for motion in told].index(True) == first
    stream.reset()
    (motion,) = stream.push(filmed(np.array([2.1]), {1: (0.0, 9.0, 0.0)})[0])
    assert not motion.shape_locked


def test_by_default_no_shape_is_kept(tiny_model, filmed):
    stream = MoRoStream(tiny_model, MotionConfig(window=12))
    frames = filmed(np.arange(60) / RATE_HZ, {1: (0.0, 9.0, 0.0)})
    assert not any(motion.shape_locked for frame in frames for motion in stream.push(frame))
