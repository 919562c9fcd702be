"""Extreme crops: what is kept, and the boxes around it."""

import numpy as np
import pytest

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.data.cropping import (
    MODES,
    crop_boxes,
    jitter_boxes,
    kept_points,
    part_boxes,
)
from moro_ros.data.image_labels import OPENPOSE_NAMES
from moro_ros.types import KEYPOINTS

# What each mode keeps of OpenPose's 25 points, as in the published training.
FEET = {19, 20, 21, 22, 23, 24}
HEAD = {0, 1, 2, 5, 15, 16, 17, 18}
KEPT = {
    "hips": set(range(25)) - {10, 11, 13, 14} - FEET,
    "shoulders": HEAD,
    "head": HEAD,
    "torso": {1, 2, 5, 8, 9, 12},
    "right_arm": {2, 3, 4},
    "left_arm": {5, 6, 7},
    "legs": {8, 9, 10, 11, 12, 13, 14} | FEET,
    "right_leg": {9, 10, 11, 22, 23, 24},
    "left_leg": {12, 13, 14, 19, 20, 21},
}


def inside(boxes, points):
    """Which points (F, N, 3) are in their frame's box (F, 3)."""
    offset = np.abs(points[..., :2] - boxes[:, None, :2])
    return (offset <= boxes[:, None, 2:] / 2).all(-1)


def person_points(person):
    return np.concatenate([person.pixels, np.ones((*person.pixels.shape[:2], 1))], -1)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_modes_keep_what_the_paper_keeps(mode):
    assert set(np.flatnonzero(kept_points(OPENPOSE_NAMES, mode)).tolist()) == KEPT[mode.name]
    prefixed = [f"openpose_{name}" for name in OPENPOSE_NAMES]
    np.testing.assert_array_equal(kept_points(prefixed, mode), kept_points(OPENPOSE_NAMES, mode))
    assert kept_points(tuple(KEYPOINTS), mode).sum() >= 3
    assert sum(each.share for each in MODES) == pytest.approx(1)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_a_part_s_box_holds_the_part(person, mode):
    points = person_points(person)
    boxes, usable = part_boxes(points, JOINT_NAMES, mode)
    assert usable.all()
    kept = kept_points(JOINT_NAMES, mode)
    assert inside(boxes, points)[:, kept].all()
    whole = np.ptp(person.pixels, axis=1).max(1)
    if mode.name in ("left_arm", "right_leg", "head"):
        assert (boxes[:, 2] < whole).all() and not inside(boxes, points).all()


def test_points_without_confidence_do_not_count(person):
    points = person_points(person)
    arm = next(mode for mode in MODES if mode.name == "left_arm")
    points[0, kept_points(JOINT_NAMES, arm), 2] = 0
    points[1, kept_points(JOINT_NAMES, arm), :2] = 7.0
    _, usable = part_boxes(points, JOINT_NAMES, arm)
    assert usable.tolist() == [False, False, True, True, True, True]


def test_a_share_of_the_clips_and_frames_is_cropped(person):
    points = np.tile(person_points(person)[:1], (50, 1, 1))
    boxes = np.tile(np.float32([300, 240, 500]), (50, 1))
    rng = np.random.default_rng(0)
    changed = np.array(
        [
            (crop_boxes(boxes, points, JOINT_NAMES, rng, 0.5) != boxes).any(1).mean()
            for _ in range(200)
        ]
    )
    assert 0.4 < (changed > 0).mean() < 0.6
    assert 0.5 < changed[changed > 0].mean() < 0.7
    assert (crop_boxes(boxes, points, JOINT_NAMES, rng, 0.0) == boxes).all()


def test_jitter_is_small_and_stays_in_the_image():
    boxes = np.tile(np.float32([5, 240, 200]), (500, 1))
    moved = jitter_boxes(boxes, 640, 480, np.random.default_rng(0))
    assert (moved[:, 0] >= 0).all() and np.abs(moved[:, 1] - 240).max() <= 20
    assert moved[:, 1].std() > 8 and (moved[:, 2] == 200).all()
