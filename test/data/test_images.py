"""Pictures come as the labels mean them."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from moro_ros.data.dataset import Clip, read_image
from moro_ros.errors import DataError
from moro_ros.geometry.lens import rectified_camera
from moro_ros.types import Camera


@pytest.fixture()
def clip(tmp_path):
    """An image with a red corner at the top left and a green one at the top right."""
    image = np.zeros((40, 60, 3), np.uint8)
    image[:10, :10] = (255, 0, 0)
    image[:10, -10:] = (0, 255, 0)
    cv2.imwrite(str(tmp_path / "a.png"), image[..., ::-1])
    camera = Camera(np.array([[50.0, 0, 30], [0, 50, 20], [0, 0, 1]]), 60, 40)
    return Clip("c", "s", np.zeros(1, np.int64), 0.0, images=(tmp_path / "a.png",), camera=camera)


def test_pictures_are_rgb_and_upright(clip):
    image = read_image(clip, 0)
    assert image.shape == (40, 60, 3)
    assert image[2, 2].tolist() == [255, 0, 0] and image[2, -3].tolist() == [0, 255, 0]
    turned = replace(clip, image_turns=1, camera=replace(clip.camera, width=40, height=60))
    # A quarter turn clockwise brings the top left to the top right.
    image = read_image(turned, 0)
    assert image.shape == (60, 40, 3) and image[2, -3].tolist() == [255, 0, 0]
    image = read_image(replace(clip, mirrored=True), 0)
    assert image[2, -3].tolist() == [255, 0, 0] and image[2, 2].tolist() == [0, 255, 0]


def test_distortion_is_taken_out(clip):
    bent = replace(clip, camera=replace(clip.camera, distortion=(0.5, 0, 0, 0)))
    assert (read_image(bent, 0) != read_image(clip, 0)).any()
    assert rectified_camera(bent.camera) == replace(clip.camera, matrix=bent.camera.matrix)


def test_what_is_wrong_is_named(clip):
    with pytest.raises(DataError, match="60 x 40 pixels, expected 64 x 40"):
        read_image(replace(clip, camera=replace(clip.camera, width=64)), 0)
    clip.images[0].write_bytes(b"x")
    with pytest.raises(DataError, match="is damaged"):
        read_image(clip, 0)
    clip.images[0].unlink()
    with pytest.raises(DataError, match="is missing"):
        read_image(clip, 0)
    with pytest.raises(DataError, match="has no images"):
        read_image(replace(clip, images=None), 0)
