"""The views of the scene."""

from __future__ import annotations

import itertools

import numpy as np

# The direction from the people, and whether the camera is also in the picture.
VIEWS = {
    "overview": ((0.75, -0.57, 0.33), True),
    "people": ((0.6, -1.0, 0.2), False),
    "side": ((1.0, 0.0, 0.1), False),
    "top": ((0.0, -0.01, 1.2), False),
}
# The vertical angle of view [rad].
FOV = 0.9
# Margin around the joints for heads, hands and ids [m].
MARGIN_M = 0.4


def view(
    name: str, low: np.ndarray, high: np.ndarray, camera: np.ndarray, aspect: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the position and the target of one of VIEWS, (3,) m, z up, as near as possible.

    low, high: corners (3,) of the space with the people, which is in the picture. camera: its
    position (3,). aspect: width / height of the picture.
    """
    direction, with_camera = VIEWS[name]
    back = np.array(direction) / np.linalg.norm(direction)
    right = np.cross([0.0, 0.0, 1.0], back)
    right /= np.linalg.norm(right)
    box = np.stack([low - MARGIN_M, high + MARGIN_M])
    points = np.array([*itertools.product(*box.T), *[camera] * with_camera])
    depth = points @ back
    eye, reach = np.zeros(3), -np.inf
    for axis, slope in (
        (right, np.tan(FOV / 2) * aspect),
        (np.cross(back, right), np.tan(FOV / 2)),
    ):
        # The two planes of the picture's edges touch the outermost points; the eye is on both.
        place = points @ axis
        one, other = (place + slope * depth).max(), (slope * depth - place).max()
        eye += (one - other) / 2 * axis
        reach = max(reach, (one + other) / (2 * slope))
    eye += reach * back
    people = (low + high) / 2
    return eye, eye - ((eye - people) @ back) * back
