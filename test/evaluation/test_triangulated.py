"""Triangulated keypoints without a body: gaps, low-pass filter, rows."""

from __future__ import annotations

import numpy as np
import pytest

from moro_ros.evaluation.metrics import jitter, point_jitter
from moro_ros.evaluation.triangulated import LONGEST_GAP, keypoint_rows, smoothed
from moro_ros.evaluation.video_score import (
    BODY_ROWS,
    KEYPOINT_ROWS,
    LIMB_JOINTS,
    NUM_ROWS,
    bends_deg,
)
from moro_ros.types import NUM_KEYPOINTS

RATE_HZ = 30.0
FRAMES = 60


@pytest.fixture()
def walk() -> np.ndarray:
    """Keypoints that move along a line, (F, K, 3) m."""
    rng = np.random.default_rng(4)
    start, speed = rng.uniform(-1, 1, (2, NUM_KEYPOINTS, 3))
    return start + speed * np.arange(FRAMES)[:, None, None] / RATE_HZ


def test_short_gaps_are_interpolated_and_long_ones_and_ends_are_not(walk) -> None:
    points = walk.copy()
    points[10 : 10 + LONGEST_GAP, 3] = np.nan
    points[10 : 11 + LONGEST_GAP, 5] = np.nan
    points[:4, 7] = np.nan
    points[:, 8] = np.nan
    found = smoothed(points, RATE_HZ)
    np.testing.assert_allclose(found[:, 3], walk[:, 3], atol=1e-4)
    assert np.isnan(found[10 : 11 + LONGEST_GAP, 5]).all() and np.isfinite(found[:10, 5]).all()
    assert np.isnan(found[:4, 7]).all() and np.isnan(found[:, 8]).all()
    assert np.isnan(points[10, 3]).all()  # the input stays


def test_the_filter_keeps_slow_motion_and_removes_fast_noise() -> None:
    seconds = np.arange(FRAMES) / RATE_HZ
    points = np.zeros((FRAMES, 3, 3))
    points[:, 0, 0] = np.sin(2 * np.pi * 1.0 * seconds)
    points[:, 1, 0] = np.sin(2 * np.pi * 12.0 * seconds)
    points[:, 2, 0] = np.sin(2 * np.pi * 6.0 * seconds)
    inside = slice(15, -15)
    found = smoothed(points, RATE_HZ)[inside, :, 0]
    np.testing.assert_allclose(found[:, 0], points[inside, 0, 0], atol=0.01)
    assert np.abs(found[:, 1]).max() < 0.02
    # Half of the amplitude is left at the cut-off, as the filter runs forwards and backwards.
    assert np.abs(found[:, 2]).max() == pytest.approx(0.5, abs=0.03)


def test_sequences_too_short_for_the_filter_are_kept() -> None:
    noise = np.random.default_rng(1).normal(size=(5, NUM_KEYPOINTS, 3))
    np.testing.assert_array_equal(smoothed(noise, RATE_HZ), noise)


def test_rows_have_the_keypoints_and_those_of_the_limb_joints(walk) -> None:
    rows = keypoint_rows(walk)
    assert rows.shape == (FRAMES, NUM_ROWS, 3)
    np.testing.assert_array_equal(rows[:, BODY_ROWS], walk[:, KEYPOINT_ROWS])
    np.testing.assert_array_equal(rows[:, 22 : 22 + NUM_KEYPOINTS], walk)
    assert np.isnan(rows[:, 0]).all()  # no keypoint is the pelvis


def test_jitter_of_points_is_that_of_joints_and_skips_unknown_ones() -> None:
    points = np.random.default_rng(3).normal(size=(20, 4, 3))
    assert point_jitter(points, RATE_HZ) == pytest.approx(jitter(points, RATE_HZ).mean())
    points[:, 2] = np.nan
    rest = points[:, [0, 1, 3]]
    assert point_jitter(points, RATE_HZ) == pytest.approx(jitter(rest, RATE_HZ).mean())
    assert np.isnan(point_jitter(points[:3], RATE_HZ))


def test_bends_of_knees_elbows_and_hips() -> None:
    at = {name: np.zeros(3) for name in LIMB_JOINTS}
    for side, x in (("left", 0.2), ("right", -0.2)):
        for name, height in (("shoulder", 1.4), ("hip", 0.9), ("knee", 0.5), ("ankle", 0.1)):
            at[f"{side}_{name}"] = np.array([x, height, 0.0])
        for name, height in (("elbow", 1.1), ("wrist", 0.8)):
            at[f"{side}_{name}"] = np.array([x, height, 0.0])
    at["left_ankle"] = np.array([0.2, 0.5, -0.4])  # knee: a right angle
    turn = np.radians(30)
    at["right_wrist"] = np.array([-0.2, 1.1, 0.0]) + 0.3 * np.array(
        [0.0, -np.cos(turn), np.sin(turn)]
    )
    at["right_knee"] = np.array([-0.2, 0.9, 0.4])  # hip and knee: a right angle
    at["right_ankle"] = np.array([-0.2, 0.5, 0.4])
    limbs = np.stack([at[name] for name in LIMB_JOINTS])[None]
    expected = [90, 90, 0, 30, 0, 90]
    np.testing.assert_allclose(bends_deg(limbs)[0], expected, atol=1e-6)
