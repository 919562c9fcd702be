"""The person crop: recorded crops to the bit, and the geometry of the window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from moro_ros.network.crop import crop_person, crop_square, window

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
