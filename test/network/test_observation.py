"""What the network is shown of a person whom the lens cannot place completely."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from moro_ros.geometry.lens import image_points
from moro_ros.network.observation import normalised_keypoints
from moro_ros.network.preprocess import next_box
from moro_ros.types import NUM_KEYPOINTS, Camera, Keypoints, PersonObservation

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
        assert np.isfinite(points.numpy()).all()
        return next_box(None, points, shown > 0.5), shown.numpy(), presence.numpy()

    hidden = sure.copy()
    hidden[3] = 0.0
    expected, *_ = box(pixels, hidden)
    pixels[3] = camera.matrix[:2, 2] + (away_px, 0.0)
    found, shown, presence = box(pixels, sure)
    assert (shown[3], presence[3]) == (0.0, 0.0)
    assert (np.delete(shown, 3) == 1.0).all() and (np.delete(presence, 3) == 1.0).all()
    torch.testing.assert_close(found.size, expected.size)
    torch.testing.assert_close(found.center, expected.center)
