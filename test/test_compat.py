"""Undistortion gives the same points where OpenCV is older than 4.6."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from moro_ros import compat

K = np.array([[500.0, 0.0, 320.0], [0.0, 510.0, 240.0], [0.0, 0.0, 1.0]])
POINTS = np.stack(np.meshgrid([5.0, 200.0, 330.0, 630.0], [4.0, 250.0, 470.0]), -1)
POINTS = POINTS.reshape(-1, 1, 2)
PLUMB_BOB = np.array([-0.28, 0.07, 1e-4, -2e-4, 0.0])
EQUIDISTANT = np.array([-0.02, 0.004, -0.001, 0.0002])


@pytest.fixture
def old_opencv(monkeypatch):
    """OpenCV as of 4.5.4: another name with other arguments, and no criterion for a fisheye."""
    if not hasattr(cv2, "undistortImagePoints"):
        return

    def iterated(points, matrix, distortion, rotation, projection, criterion):
        return cv2.undistortImagePoints(points, projection, distortion, None, criterion)

    def fisheye(points, matrix, distortion, target, rotation, projection):
        return cv2.fisheye.undistortPoints(points, matrix, distortion, target, rotation, projection)

    old = SimpleNamespace(
        undistortPointsIter=iterated, fisheye=SimpleNamespace(undistortPoints=fisheye)
    )
    monkeypatch.setattr(compat, "cv2", old)


def test_pinhole(old_opencv):
    found = compat.undistort_image_points(POINTS, K, PLUMB_BOB)
    rays = (found.reshape(-1, 2) - K[:2, 2]) / K.diagonal()[:2]
    again, _ = cv2.projectPoints(
        np.column_stack((rays, np.ones(len(rays)))), np.zeros(3), np.zeros(3), K, PLUMB_BOB
    )
    np.testing.assert_allclose(again.reshape(-1, 1, 2), POINTS, atol=1e-3)


def test_fisheye(old_opencv):
    found = compat.undistort_fisheye_points(POINTS, K, EQUIDISTANT)
    rays = (found.reshape(-1, 2) - K[:2, 2]) / K.diagonal()[:2]
    source = np.column_stack((rays, np.ones(len(rays)))).reshape(-1, 1, 3)
    again, _ = cv2.fisheye.projectPoints(source, np.zeros(3), np.zeros(3), K, EQUIDISTANT)
    np.testing.assert_allclose(again.reshape(-1, 1, 2), POINTS, atol=1e-3)
