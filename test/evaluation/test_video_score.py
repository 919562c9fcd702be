"""Scores of one view against the triangulation: what they measure and what they leave out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.evaluation.multiview import Truth
from moro_ros.evaluation.video_score import (
    BODY_ROWS,
    LIMB_JOINTS,
    NUM_POINTS,
    NUM_ROWS,
    Score,
    mean_scores,
    score,
)
from moro_ros.geometry.views import View
from moro_ros.types import KEYPOINTS, NUM_KEYPOINTS, Camera

FRAMES = 40
NAMES = list(KEYPOINTS)
CAMERA = Camera(np.array([[1000.0, 0, 500], [0, 1000, 500], [0, 0, 1]]), 1000, 1000)
ROTATION = Rotation.from_rotvec([0.2, 1.1, -0.3]).as_matrix()
VIEW = View("cam01", CAMERA, ROTATION, np.array([0.1, -0.2, 4.0]))


@pytest.fixture(scope="module")
def truth() -> Truth:
    points = np.random.default_rng(3).uniform(-0.8, 0.8, (FRAMES, NUM_KEYPOINTS, 3))
    return Truth(points, np.ones(points.shape[:2]))


def joints_of(truth: Truth) -> np.ndarray:
    """The rows, (F, NUM_ROWS, 3) in VIEW's camera, of somebody exactly like the truth."""
    joints = np.zeros((FRAMES, NUM_ROWS, 3))
    joints[:, NUM_POINTS:] = np.nan
    joints[:, len(JOINT_NAMES) : NUM_POINTS] = truth.points @ VIEW.rotation.T + VIEW.translation
    for name in LIMB_JOINTS:
        inside = truth.points[:, NAMES.index(name)] @ VIEW.rotation.T + VIEW.translation
        joints[:, JOINT_NAMES.index(name)] = inside
    return joints


NOTHING_HIDDEN = np.zeros((FRAMES, NUM_KEYPOINTS), bool)


def test_the_truth_itself_scores_zero(truth) -> None:
    result = score(joints_of(truth), VIEW, truth, NOTHING_HIDDEN)
    assert result.mpjpe_mm == pytest.approx(0, abs=1e-6)
    assert result.pa_mpjpe_mm == pytest.approx(0, abs=1e-6)
    assert result.root_m == pytest.approx(0, abs=1e-9)
    assert result.coverage == 1
    assert np.isnan(result.hidden_mpjpe_mm)


def test_a_wrong_place_is_a_root_error_and_a_wrong_pose_is_not(truth) -> None:
    away = score(joints_of(truth) + np.array([0, 0, 0.3]), VIEW, truth, NOTHING_HIDDEN)
    assert away.root_m == pytest.approx(0.3)
    assert away.mpjpe_mm == pytest.approx(0, abs=1e-6)

    bent = joints_of(truth)
    bent[:, JOINT_NAMES.index("left_wrist"), 1] += 0.12
    hidden = NOTHING_HIDDEN.copy()
    hidden[:, NAMES.index("left_wrist")] = True
    result = score(bent, VIEW, truth, hidden)
    assert result.root_m == pytest.approx(0, abs=1e-9)
    assert result.mpjpe_mm == pytest.approx(10)  # one of twelve
    assert result.hidden_mpjpe_mm == pytest.approx(120)
    assert 0 < result.pa_mpjpe_mm < 20


def test_errors_are_within_the_sigma_of_their_own_axis_or_not(truth) -> None:
    found = joints_of(truth)
    nothing = score(found, VIEW, truth, NOTHING_HIDDEN)
    assert np.isnan(nothing.within_1_sigma) and np.isnan(nothing.within_2_sigma)
    found[:, NUM_POINTS:] = [0.1, 0.1, 0.2]  # across, across, along
    near = found.copy()
    sight = found[:, BODY_ROWS] / np.linalg.norm(found[:, BODY_ROWS], axis=-1, keepdims=True)
    near[:, BODY_ROWS] -= 0.3 * sight
    result = score(near, VIEW, truth, NOTHING_HIDDEN)  # 1.5 sigma on one of three axes
    assert result.within_1_sigma == pytest.approx(2 / 3) and result.within_2_sigma == 1
    near[:, BODY_ROWS] -= 0.2 * sight
    assert score(near, VIEW, truth, NOTHING_HIDDEN).within_2_sigma == pytest.approx(2 / 3)


def test_a_larger_turned_body_is_right_after_alignment(truth) -> None:
    turned = 1.1 * joints_of(truth) @ Rotation.from_rotvec([0, 0.5, 0]).as_matrix()
    result = score(turned, VIEW, truth, NOTHING_HIDDEN)
    assert result.pa_mpjpe_mm == pytest.approx(0, abs=1e-6)
    assert result.mpjpe_mm > 100


def test_unknown_truth_and_missing_motion_are_left_out(truth) -> None:
    points = truth.points.copy()
    points[:5] = np.nan
    points[5:9, NAMES.index("right_knee")] = np.nan
    joints = joints_of(truth)
    joints[30:] = np.nan
    result = score(joints, VIEW, replace(truth, points=points), NOTHING_HIDDEN)
    assert result.mpjpe_mm == pytest.approx(0, abs=1e-6)
    assert result.pa_mpjpe_mm == pytest.approx(0, abs=1e-6)
    assert result.coverage == pytest.approx(25 / 35)  # of the 35 frames with a truth
    assert result.frames == 25


def test_a_fitted_body_is_compared_joint_by_joint_and_keypoint_by_keypoint(truth) -> None:
    joints = np.random.default_rng(4).uniform(-0.8, 0.8, (FRAMES, len(JOINT_NAMES), 3))
    fitted = replace(truth, joints=joints)
    found = joints_of(truth)
    found[:, : len(JOINT_NAMES)] = joints @ VIEW.rotation.T + VIEW.translation
    result = score(found, VIEW, fitted, NOTHING_HIDDEN)
    assert result.mpjpe_mm == pytest.approx(0, abs=1e-6)
    assert result.keypoints_mm == pytest.approx(0, abs=1e-6)
    found[:, len(JOINT_NAMES) + NAMES.index("nose"), 2] += 0.19
    result = score(found, VIEW, fitted, NOTHING_HIDDEN)
    assert result.mpjpe_mm == pytest.approx(0, abs=1e-6)
    assert result.keypoints_mm == pytest.approx(10)  # one of nineteen
    assert score(found, VIEW, truth, NOTHING_HIDDEN).mpjpe_mm > 100


def test_means_are_over_views_and_frames_add_up() -> None:
    def made(view: str, condition: str, error: float, frames: int) -> Score:
        return Score(view, condition, error, error, float("nan"), 0.1, 1.0, 1.0, frames)

    group = [made("a", "plain", 10, 5), made("b", "plain", 30, 7), made("a", "dark", 50, 5)]
    plain, dark = mean_scores(group)
    assert (plain.condition, plain.mpjpe_mm, plain.frames) == ("plain", 20, 12)
    assert (dark.condition, dark.mpjpe_mm, dark.frames) == ("dark", 50, 5)
    assert np.isnan(plain.hidden_mpjpe_mm)


def test_jitter_is_that_of_the_motion_not_of_the_truth(truth) -> None:
    smooth = np.linspace(0, 1, FRAMES)[:, None, None] * np.ones((1, NUM_ROWS, 3))
    smooth[:, NUM_POINTS:] = np.nan
    assert score(smooth, VIEW, truth, NOTHING_HIDDEN).jitter == pytest.approx(0, abs=1e-6)
    assert score(joints_of(truth), VIEW, truth, NOTHING_HIDDEN).jitter > 100
