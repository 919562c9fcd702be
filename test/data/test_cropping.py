"""Extreme crops: what is kept, what is hidden, and pixels with their camera."""

import numpy as np
import pytest
import torch

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.data.cropping import (
    MODES,
    crop_boxes,
    crop_image,
    jitter_boxes,
    kept_points,
    part_boxes,
    seen_in,
    tight_crop,
)
from moro_ros.data.image_labels import OPENPOSE_NAMES
from moro_ros.geometry.camera import project
from moro_ros.network.inputs import PersonBoxes
from moro_ros.types import KEYPOINTS, Camera

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
    assert seen_in(boxes, points)[:, kept].all()
    whole = np.ptp(person.pixels, axis=1).max(1)
    if mode.name in ("left_arm", "right_leg", "head"):
        assert (boxes[:, 2] < whole).all() and not seen_in(boxes, points).all()


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


@pytest.mark.parametrize("box", [(300, 200, 100), (10, 470, 200), (-500, 100, 50), (320, 240, 9e3)])
def test_a_cropped_image_shows_the_same_rays(person, box):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (person.height, person.width, 3), dtype=np.uint8)
    camera = Camera(person.matrix, person.width, person.height)
    part, cropped = crop_image(image, np.array(box), camera)
    assert part.shape == (cropped.height, cropped.width, 3) and part.size
    points = torch.tensor(person.joints)
    before = project(points, torch.tensor(camera.matrix)).numpy()
    after = project(points, torch.tensor(cropped.matrix)).numpy()
    shift = camera.matrix[:2, 2] - cropped.matrix[:2, 2]
    np.testing.assert_allclose(before - after, np.broadcast_to(shift, before.shape), atol=1e-9)
    x, y = (int(value) for value in shift)
    np.testing.assert_array_equal(part, image[y : y + cropped.height, x : x + cropped.width])


def test_a_tight_crop_hides_the_rest_of_the_body_for_a_while():
    rng = np.random.default_rng(0)
    points = torch.from_numpy(rng.normal(size=(40, 19, 2))).float() * 0.1
    points = points[:1].expand(40, -1, -1) + 0.002 * torch.arange(40)[:, None, None]
    box = PersonBoxes(torch.zeros(40, 2), torch.full((40,), 0.5))
    hidden = torch.stack([tight_crop(points, box, rng) for _ in range(200)])
    frames = hidden.any(-1).float().mean(1)
    assert frames.max() > 0.9 and 0.1 < frames[frames > 0].min() < 0.4
    share = hidden.float().mean((1, 2))
    assert 0.05 < share.mean() < 0.6
    # The kept part's own points stay in sight in the middle of the cropped frames.
    assert (hidden.float().mean(1) < 1).any(-1).all()
