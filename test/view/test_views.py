"""From where the page looks: everybody is in the picture, and as large as possible."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from moro_ros.view.views import FOV, MARGIN_M, VIEWS, view

LOW, HIGH = np.array([-1.0, 3.0, 0.0]), np.array([1.5, 6.0, 1.8])
CAMERA = np.array([0.0, 0.0, 1.6])


def seen(points: np.ndarray, eye: np.ndarray, target: np.ndarray, aspect: float) -> np.ndarray:
    """Places (N, 2) of points (N, 3) before the eye in the picture, whose edges are at -1 and 1."""
    ahead = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(ahead, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    depth = (points - eye) @ ahead
    assert (depth > 0).all()
    up = np.cross(right, ahead)
    plane = np.stack([(points - eye) @ right / aspect, (points - eye) @ up], 1) / depth[:, None]
    return plane / np.tan(FOV / 2)


@pytest.mark.parametrize("aspect", [0.5, 0.74, 1.0, 2.2])
@pytest.mark.parametrize("name", VIEWS)
def test_everybody_fills_the_picture_of_any_shape(name: str, aspect: float) -> None:
    eye, target = view(name, LOW, HIGH, CAMERA, aspect)
    corners = np.array(list(itertools.product(*np.stack([LOW - MARGIN_M, HIGH + MARGIN_M]).T)))
    points = np.vstack([corners, CAMERA]) if VIEWS[name][1] else corners
    places = seen(points, eye, target, aspect)
    highest, lowest = places.max(0), places.min(0)
    assert (highest <= 1 + 1e-6).all() and (lowest >= -1 - 1e-6).all()
    # In one direction they reach from edge to edge.
    assert (highest - lowest).max() == pytest.approx(2.0)


def test_the_eye_turns_about_the_people() -> None:
    eye, target = view("side", LOW, HIGH, CAMERA, 1.0)
    assert target[0] == pytest.approx((LOW[0] + HIGH[0]) / 2, abs=0.2)
    assert eye[0] > HIGH[0]
