"""Person boxes, normalised keypoints and crops: what the network sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from moro_ros.geometry.lens import image_points
from moro_ros.network.inputs import (
    BOX_PADDING,
    crop_person,
    crop_square,
    enclosing_box,
    next_box,
    normalised_keypoints,
    observe,
    running_boxes,
    window,
)
from moro_ros.types import NUM_KEYPOINTS, Camera, Keypoints, PersonObservation


def scene(frames=20):
    generator = torch.Generator().manual_seed(0)
    points = 0.2 * torch.randn(3, frames, 19, 2, generator=generator)
    points = points + torch.linspace(0, 1, frames)[None, :, None, None]
    seen = torch.rand(3, frames, 19, generator=generator) > 0.3
    seen[0, :5] = False  # the first person appears late
    seen[1, 8:12] = False  # the second vanishes for a while
    seen[2] = False  # the third is never seen
    return points, seen


def test_box_holds_the_seen_points_with_padding():
    points, seen = scene()
    box, enough = enclosing_box(points, seen)
    low = box.center - box.size[..., None] / 2
    high = box.center + box.size[..., None] / 2
    inside = (points > low[..., None, :]) & (points < high[..., None, :])
    assert inside.all(-1)[seen & enough[..., None]].all()
    shown = points[0, 10][seen[0, 10]]
    extent = (shown.amax(0) - shown.amin(0)).max()
    torch.testing.assert_close(box.size[0, 10], BOX_PADDING * extent)


def test_one_frame_at_a_time_equals_the_whole_window():
    points, seen = scene()
    whole = running_boxes(points, seen)
    for person in (0, 1):
        box = None
        for frame in range(points.shape[1]):
            box = next_box(box, points[person, frame], seen[person, frame])
            if box is not None:
                torch.testing.assert_close(box.center, whole.center[person, frame])
                torch.testing.assert_close(box.size, whole.size[person, frame])


def test_box_stays_while_nobody_is_seen():
    points, seen = scene()
    box = running_boxes(points, seen)
    assert torch.equal(box.size[1, 8:12], box.size[1, 7].expand(4))
    assert torch.isfinite(box.center).all() and (box.size > 0).all()


def test_observation_is_in_box_units():
    points, seen = scene()
    box, _ = enclosing_box(points, seen)
    visibility = seen.float()
    observation = observe(points, visibility, visibility, box)
    assert observation.shape == (3, 20, 19, 4)
    assert observation[0, 10][seen[0, 10]][:, :2].abs().max() <= 1.0
    assert torch.equal(observation[..., 2], visibility)


GOLDEN = Path(__file__).parents[1] / "golden/b0_crop.npz"


def test_recorded_crops_agree_to_the_bit():
    with np.load(GOLDEN) as golden:
        images, crops = golden["images"], golden["crops_uint8"]
        # Of the recorded images the first ones have their crops with them.
        count = len(crops)
        assert count > 0
        boxes = zip(golden["center"][:count], golden["scale"][:count], strict=True)
        for image, crop, (center, scale) in zip(images[:count], crops, boxes, strict=True):
            assert np.array_equal(crop_square(image, center, scale), crop)


@pytest.fixture()
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)


def test_a_window_of_crop_size_is_copied(image):
    crop = crop_square(image, np.array([200.0, 150.0]), 256 / 200)
    assert np.array_equal(crop, image[22:278, 72:328])


def test_the_network_sees_the_middle_columns(image):
    crop = crop_person(image, np.array([200.0, 150.0]), 256 / 200)
    assert crop.shape == (3, 256, 192)
    assert np.array_equal(crop.transpose(1, 2, 0), image[22:278, 104:296])


def test_corners_are_truncated_towards_zero():
    assert window(np.array([10.6, -3.2]), 0.1) == ((0, -13), (20, 6))


def test_outside_the_image_is_black(image):
    crop = crop_square(image + np.uint8(1) // 255, np.array([0.0, 0.0]), 256 / 200)
    assert not crop[:128].any()
    assert not crop[:, :128].any()
    assert np.array_equal(crop[128:, 128:], image[:128, :128])


@pytest.mark.parametrize(
    ("center", "scale"),
    [((-500, 100), 1.0), ((100, 900), 1.0), ((200, 150), 7.0), ((50.5, 50.5), 0.001)],
)
def test_hopeless_windows_are_black(image, center, scale):
    crop = crop_square(image, np.array(center, np.float32), scale)
    assert crop.shape == (256, 256, 3)
    assert not crop.any()


def test_shrinking_averages(image):
    crop = crop_square(image, np.array([200.0, 150.0]), 2.0)
    patch = np.zeros((400, 400, 3), np.uint8)
    patch[50:350] = image[:, 0:400]
    expected = np.asarray(Image.fromarray(patch).resize((256, 256), Image.BILINEAR))
    assert np.array_equal(crop, expected)
    assert crop[64:192].std() < image.std() * 0.75


# Intel T265, as its driver publishes it: 163 degrees over the image's width.
FISHEYE = Camera(
    np.array([[286.1, 0, 424.6], [0, 286.3, 399.9], [0, 0, 1]]),
    *(848, 800, (-0.0055, 0.0416, -0.0388, 0.0067), "equidistant"),
)


@pytest.mark.parametrize("away_px", [435.0, 450.0, 470.0, 600.0, 3000.0])
@pytest.mark.parametrize("distortion", [FISHEYE.distortion, (0.0,) * 4])
def test_a_keypoint_at_the_fisheye_s_rim_does_not_move_the_box(
    away_px: float, distortion: tuple[float, ...]
) -> None:
    """Near and beyond 90 degrees the normalised plane ends; such a point is as good as unseen."""
    camera = Camera(FISHEYE.matrix, 848, 800, distortion, "equidistant")
    body = np.random.default_rng(1).normal((1.2, 0.1, 2.0), 0.2, (NUM_KEYPOINTS, 3))
    pixels = image_points(body, camera).astype(np.float32)
    sure = np.ones(NUM_KEYPOINTS, np.float32)

    def box(points_px: np.ndarray, visibility: np.ndarray):
        keypoints = Keypoints(points_px, visibility, sure)
        person = PersonObservation(1, np.zeros(4, np.float32), 1.0, keypoints)
        points, shown, presence = normalised_keypoints(person, camera)
        assert np.isfinite(points).all()
        seen = torch.from_numpy(shown > 0.5)
        return next_box(None, torch.from_numpy(points), seen), shown, presence

    hidden = sure.copy()
    hidden[3] = 0.0
    expected, *_ = box(pixels, hidden)
    pixels[3] = camera.matrix[:2, 2] + (away_px, 0.0)
    found, shown, presence = box(pixels, sure)
    assert (shown[3], presence[3]) == (0.0, 0.0)
    assert (np.delete(shown, 3) == 1.0).all() and (np.delete(presence, 3) == 1.0).all()
    torch.testing.assert_close(found.size, expected.size)
    torch.testing.assert_close(found.center, expected.center)
