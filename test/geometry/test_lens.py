"""Points that a lens cannot have come from are told from those that it can."""

from __future__ import annotations

import numpy as np
import pytest

from moro_ros.geometry.lens import (
    MAX_ANGLE_DEG,
    image_points,
    normalised_points,
    part_of_camera,
    project_points,
)
from moro_ros.types import Camera

# Intel T265, as its driver publishes it: 163 degrees over the image's width.
FISHEYE = Camera(
    np.array([[286.1, 0, 424.6], [0, 286.3, 399.9], [0, 0, 1]]),
    *(848, 800, (-0.0055, 0.0416, -0.0388, 0.0067), "equidistant"),
)


def ray(angle_deg: float) -> list[float]:
    angle = np.radians(angle_deg)
    return [np.sin(angle), 0.0, np.cos(angle)]


@pytest.mark.parametrize("distortion", [FISHEYE.distortion, (0.0,) * 4])
def test_a_fisheye_is_inverted_up_to_the_limit(distortion: tuple[float, ...]) -> None:
    camera = Camera(FISHEYE.matrix, 848, 800, distortion, "equidistant")
    angles = [-75.0, -40.0, 5.0, 60.0, 79.0, 81.0, 89.0]
    pixels = image_points(np.array([ray(a) for a in angles]), camera)
    plane, sound = normalised_points(pixels, camera)
    assert sound.tolist() == [True] * 5 + [False] * 2
    np.testing.assert_allclose(plane[:5, 0], np.tan(np.radians(angles[:5])), rtol=1e-3)
    limit = np.tan(np.radians(MAX_ANGLE_DEG))
    np.testing.assert_allclose(plane[5:], [[limit, 0.0]] * 2, atol=1e-6)


def test_pixels_that_no_direction_reaches_are_not_sound_and_stay_finite() -> None:
    beyond = FISHEYE.matrix[:2, 2] + np.array([[600.0, 0], [1e4, -3e3], [0, -1e7]])
    barrel = Camera(np.array([[900.0, 0, 640], [0, 900, 360], [0, 0, 1]]), 1280, 720,
                    (-0.35, 0.0, 0.0, 0.0))  # fmt: skip
    folded = np.array([[640.0 + 700, 360]])  # its image ends 586 px from the centre
    for pixels, camera in ((beyond, FISHEYE), (folded, barrel)):
        plane, sound = normalised_points(pixels, camera)
        assert not sound.any()
        assert np.linalg.norm(plane, axis=1).max() <= np.tan(np.radians(MAX_ANGLE_DEG)) + 1e-9
    assert normalised_points(np.array([[640.0 + 500, 360]]), barrel)[1].all()


def test_no_points_are_no_trouble() -> None:
    plane, sound = normalised_points(np.zeros((0, 2)), FISHEYE)
    assert plane.shape == (0, 2) and sound.shape == (0,)


def test_regions_and_binning_as_image_geometry_has_them() -> None:
    part = part_of_camera(FISHEYE, (100, 50, 400, 300), (2, 0))
    assert (part.width, part.height) == (200, 300)
    np.testing.assert_allclose(part.matrix[0], [286.1 / 2, 0, (424.6 - 100) / 2])
    np.testing.assert_allclose(part.matrix[1], [0, 286.3, 399.9 - 50])


def test_points_behind_the_camera_are_not_on_its_image():
    points = np.array([[0.2, 0.1, 2.0], [0.2, 0.1, -2.0], [0.0, 0.0, 0.05]], np.float32)
    pixels = project_points(points, FISHEYE)
    np.testing.assert_array_equal(pixels[:1], image_points(points[:1], FISHEYE))
    assert np.isnan(pixels[1:]).all() and np.isnan(project_points(points[1:], FISHEYE)).all()
