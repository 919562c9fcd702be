"""The camera: projection and undistortion invert OpenCV's, weak cameras keep people on pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from moro_ros.errors import CalibrationError
from moro_ros.geometry.camera import (
    box_condition,
    project,
    resized_camera,
    weak_to_full_camera,
)
from moro_ros.geometry.lens import undistort_image, undistort_points
from moro_ros.geometry.rotation import matrix_to_rotation_6d, rotvec_to_matrix
from moro_ros.types import Camera

K = np.array([[610.0, 0, 333], [0, 590, 251], [0, 0, 1]])
PLUMB_BOB = (-0.31, 0.12, 1e-3, -5e-4, -0.02)
TILTED = (0.4, -0.2, 1e-4, 2e-4, 0.05, 0.7, -0.1, 0.02, 1e-3, -2e-3, 1e-3, 2e-3, 0.02, -0.01)
RATIONAL = (0.4, -0.2, 1e-4, 2e-4, 0.05, 0.7, -0.1, 0.02)
EQUIDISTANT = (-0.03, 0.01, -0.004, 0.001)


def scene() -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.uniform((-1.2, -0.9, 2.5), (1.2, 0.9, 6.0), (200, 3))


def test_projection_is_opencvs():
    points = scene()
    expected, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), K, None)
    pixels = project(torch.from_numpy(points), torch.from_numpy(K))
    np.testing.assert_allclose(pixels, expected[:, 0], atol=1e-3)


def test_a_resized_image_shows_the_same_directions():
    camera = Camera(K, 640, 480, PLUMB_BOB)
    small = resized_camera(camera, 320, 120)
    assert (small.width, small.height, small.distortion) == (320, 120, PLUMB_BOB)
    # The outer corners of the corner pixels stay corners; pixel centres lie at whole numbers.
    for corner, same in [((-0.5, -0.5), (-0.5, -0.5)), ((639.5, 479.5), (319.5, 119.5))]:
        ray = np.linalg.inv(camera.matrix) @ (*corner, 1.0)
        np.testing.assert_allclose((small.matrix @ ray)[:2], same, atol=1e-9)


def test_every_clip_has_its_own_camera():
    points, scale = torch.randn(2, 5, 7, 3) + torch.tensor([0, 0, 5.0]), torch.tensor([1.0, 2.0])
    matrices = torch.from_numpy(K).float() * scale[:, None, None]
    both = project(points, matrices[:, None])
    torch.testing.assert_close(both[1], project(points[1], matrices[1]))


@pytest.mark.parametrize(
    ("model", "distortion"),
    [
        ("plumb_bob", PLUMB_BOB),
        ("plumb_bob", RATIONAL),
        ("plumb_bob", TILTED[:12]),
        ("plumb_bob", TILTED),
        ("equidistant", EQUIDISTANT),
        ("equidistant", (0.0,) * 4),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_undistortion_inverts_the_lens(model, distortion, dtype):
    points, zero = scene(), np.zeros(3)
    ideal, _ = cv2.projectPoints(points, zero, zero, K, None)
    if model == "equidistant":
        seen, _ = cv2.fisheye.projectPoints(points[:, None], zero, zero, K, np.array(distortion))
    else:
        seen, _ = cv2.projectPoints(points, zero, zero, K, np.array(distortion))
    seen = seen.reshape(-1, 2).astype(dtype)
    assert np.abs(seen - ideal[:, 0]).max() > 1  # the lens does something
    found = undistort_points(seen, Camera(K, 640, 480, distortion, model))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, ideal[:, 0], atol=2e-2)


def test_rectified_images_and_unknown_lenses():
    points = np.array([[10.0, 20.0]])
    np.testing.assert_array_equal(undistort_points(points, Camera(K, 640, 480, (0.0,) * 5)), points)
    none = np.zeros((0, 2))
    assert undistort_points(none, Camera(K, 640, 480, PLUMB_BOB)).shape == (0, 2)
    with pytest.raises(CalibrationError, match="omni"):
        undistort_points(points, Camera(K, 640, 480, (0.1,) * 5, "omni"))


def test_box_condition_is_free_of_resolution():
    center, side = torch.tensor([[400.0, 120.0]]), torch.tensor([300.0])
    matrix = torch.from_numpy(K).float()
    condition = box_condition(center, side, matrix)
    expected = torch.tensor([[67.0, -131.0, 300.0]]) / 600
    torch.testing.assert_close(condition, expected)
    double = torch.diag(torch.tensor([2.0, 2.0, 1.0])) @ matrix
    torch.testing.assert_close(box_condition(2 * center, 2 * side, double), condition)


def test_a_weak_camera_puts_the_body_where_the_box_says():
    """At the depth found, a body point at s (X_xy + t) in the box is projected to that place."""
    focal = 600.0
    matrix = torch.tensor([[focal, 0, 333], [0, focal, 251], [0, 0, 1]])
    center, side = torch.tensor([420.0, 200.0]), torch.tensor(250.0)
    rotation = rotvec_to_matrix(torch.tensor([2.0, 1.0, -1.0]))
    weak = torch.cat((matrix_to_rotation_6d(rotation), torch.tensor([0.2, 0.1, -0.3])))
    found, translation = weak_to_full_camera(weak, box_condition(center, side, matrix))
    torch.testing.assert_close(found, rotation)
    in_box = weak[6].exp() * weak[7:]  # of the pelvis, X = 0
    pixel = project(translation[None], matrix)[0]
    torch.testing.assert_close(pixel, center + in_box * side / 2, rtol=0, atol=1e-3)


def test_a_larger_box_is_nearer():
    weak = torch.tensor([1.0, 0, 0, 0, 1, 0, 0, 0, 0])
    depths = [
        weak_to_full_camera(weak, torch.tensor([0.1, 0.0, size]))[1][2] for size in (0.2, 0.4)
    ]
    torch.testing.assert_close(depths[0], 2 * depths[1])


def test_undistorted_images_agree_with_undistorted_points():
    matrix = np.array([[500.0, 0, 320], [0, 500.0, 240], [0, 0, 1]])
    for model, coefficients in (
        ("plumb_bob", (-0.25, 0.08, 0.001, -0.001)),
        ("equidistant", (0.05, -0.01, 0.002, 0.0)),
    ):
        camera = Camera(matrix, 640, 480, coefficients, model)
        image = np.zeros((480, 640, 3), np.uint8)
        image[118:123, 148:153] = 255  # a spot round pixel (150, 120)
        rectified = undistort_image(image, camera)
        rows, columns = np.nonzero(rectified[..., 0] > 100)
        expected = undistort_points(np.array([[150.0, 120.0]]), camera)[0]
        assert abs(columns.mean() - expected[0]) < 1.0 and abs(rows.mean() - expected[1]) < 1.0
    plain = Camera(matrix, 640, 480)
    assert undistort_image(image, plain) is image
