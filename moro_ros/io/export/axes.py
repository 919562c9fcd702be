"""The axes of exported motion: y or z up, the floor at height 0 if it is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# From axes with z up to axes with y up; x points to the right of the image in both.
Y_FROM_Z = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
# Up in the optical frame of a level camera.
LEVEL = (0.0, -1.0, 0.0)


@dataclass(frozen=True, slots=True)
class Axes:
    """A frame for export: rotation @ p + translation for a point p of the camera optical frame.

    up: "y" or "z". rotation: (3, 3); translation: (3,) m.
    """

    up: str
    rotation: np.ndarray
    translation: np.ndarray

    @property
    def from_body(self) -> np.ndarray:
        """The rotation (3, 3) from a body's axes in the T-pose, y up, into axes with this up."""
        return np.eye(3) if self.up == "y" else Y_FROM_Z.T

    def points(self, points: np.ndarray) -> np.ndarray:
        """Return points (..., 3) m of the camera optical frame in this frame."""
        return np.asarray(points @ self.rotation.T + self.translation)


def axes(up: str, normal: tuple[float, ...] = LEVEL, height_m: float = 0.0) -> Axes:
    """Return the export frame with x to the right of the image.

    The origin is the point of the floor below the camera. With the defaults, the camera is level
    and is the origin itself.

    up: "y" (z towards the camera) or "z" (y away from the camera). normal: (3,), the floor's unit
    normal in the camera optical frame. height_m: of the camera above the floor.
    """
    vertical = np.asarray(normal, np.float64)
    right = np.array([1.0, 0.0, 0.0]) - vertical[0] * vertical
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(vertical, right), vertical])
    translation = np.array([0.0, 0.0, height_m])
    if up == "y":
        rotation, translation = Y_FROM_Z @ rotation, Y_FROM_Z @ translation
    return Axes(up, rotation, translation)
