"""Frames out of stamps: rates, jitter and drops, and what is seen between two images."""

import numpy as np
import pytest

from moro_ros.live.clock import BRIDGE, FrameClock, sight_between
from moro_ros.recover.sight import Sight
from moro_ros.types import NUM_KEYPOINTS


def ticks(stamps_s, fps=30.0, **options):
    clock = FrameClock(fps, **options)
    return [clock.tick(round(s * 1e9)) for s in stamps_s]


@pytest.mark.parametrize("rate", [12.0, 15.0, 24.0, 25.0, 29.97, 30.0, 50.0, 60.0, 120.0])
def test_the_grid_has_the_model_s_rate_whatever_the_camera_s(rate):
    stamps = 100.0 + np.arange(200) / rate
    found = ticks(stamps)
    slots = [slot for tick in found for slot in tick.slots]
    assert slots == list(range(len(slots)))
    assert abs(len(slots) - 1 - (stamps[-1] - stamps[0]) * 30.0) <= 1.0 + 0.002 * len(slots)
    now = np.array([tick.now for tick in found])
    assert (np.diff(now) > 0).all()
    for tick in found:
        newest = tick.slots[-1] if len(tick.slots) else None
        assert tick.provisional == (newest != tick.now)
        if newest is not None:
            assert newest <= tick.now < newest + 1


def test_a_camera_of_nearly_the_model_s_rate_needs_no_interpolation():
    rng = np.random.default_rng(0)
    stamps = np.arange(3000) / 29.97 + rng.uniform(-0.001, 0.001, 3000)
    found = ticks(stamps)
    assert not any(tick.provisional for tick in found)
    assert [tick.now for tick in found] == list(range(3000))


def test_every_image_keeps_its_own_time():
    rng = np.random.default_rng(1)
    stamps = np.arange(300) / 25 + rng.uniform(-0.008, 0.008, 300)
    now = np.array([tick.now for tick in ticks(stamps)])
    assert np.abs(now - (stamps - stamps[0]) * 30).max() < 1.0  # the grid follows a little
    assert np.abs(np.diff(now) - np.diff(stamps) * 30).max() < 0.21


def test_pixels_go_to_the_nearest_frame():
    found = ticks(np.arange(60) / 25, snap=0.5)
    assert not any(tick.provisional for tick in found)
    assert {len(tick.slots) for tick in found} == {1, 2}


def sight(time, value, visible=1.0):
    full = np.full(NUM_KEYPOINTS, visible, np.float32)
    return Sight(time, 7, np.full((NUM_KEYPOINTS, 2), value, np.float32), full, full)


def test_between_two_images_keypoints_move_evenly():
    found = sight_between(sight(1.5, 0.0), sight(2.5, 1.0, 0.4), 2.0)
    np.testing.assert_allclose(found.points, 0.5)
    np.testing.assert_allclose(found.visibility, 0.4)
    assert found.time == 2.0
    after = sight(2.0, 1.0)
    assert sight_between(sight(1.0, 0.0), after, 2.0) is after


@pytest.mark.parametrize("rate_hz", [30, 15, 10, 7])
def test_slow_cameras_are_bridged(rate_hz):
    """Frames between images of 7 Hz and more follow from both; they are not blind."""
    apart = 30 / rate_hz
    found = sight_between(sight(0.0, 0.0), sight(apart, apart), apart / 2)
    np.testing.assert_allclose(found.points, apart / 2, rtol=1e-5)
    assert found.visibility.all()


def test_nothing_is_made_up_across_a_long_gap():
    found = sight_between(sight(0.0, 1.0), sight(BRIDGE + 0.1, 1.0), 1.0)
    assert not found.visibility.any()
