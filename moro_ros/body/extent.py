"""The extent of a body: an upright box around its capsules, and points of its surface."""

from __future__ import annotations

import math

import numpy as np

from moro_ros.body.capsules import Capsules

# Below this horizontal share, the front of the pelvis does not define where a person faces.
LEVEL = 0.5
_GOLDEN_ANGLE = math.pi * (3.0 - math.sqrt(5.0))


def facing_axes(pelvis: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Return an upright frame (3, 3), front, left and up as columns, of a body.

    pelvis: (3, 3) rotation of the pelvis (x left, y towards the head, z front); up: (3,) unit
    vector against gravity, in the same frame. Front is where the pelvis faces; for a person lying
    on the back or the front, it is the direction of the head.
    """
    front = pelvis[:, 2] - (pelvis[:, 2] @ up) * up
    if np.linalg.norm(front) < LEVEL:
        front = pelvis[:, 1] - (pelvis[:, 1] @ up) * up
    front = front / np.linalg.norm(front)
    return np.stack([front, np.cross(up, front), up], axis=1)


def box_around(capsules: Capsules, axes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return center (3,) and size (3,) m of the smallest box around capsules along given axes.

    axes: (3, 3), the box's axes as columns. The size is along these, the center in the frame of the
    capsules.
    """
    used = capsules.radii > 0.0
    radii = capsules.radii[used, None]
    starts, ends = capsules.starts[used] @ axes, capsules.ends[used] @ axes
    low = (np.minimum(starts, ends) - radii).min(axis=0)
    high = (np.maximum(starts, ends) + radii).max(axis=0)
    return axes @ (low + high) / 2, high - low


def surface_points(capsules: Capsules, spacing_m: float) -> np.ndarray:
    """Return points (N, 3) m on the surface of all capsules together, about spacing_m apart.

    Points inside another capsule are omitted, which for large capsules are most points.
    """
    clouds = [
        _capsule_points(start, end, radius, spacing_m)
        for start, end, radius in zip(
            capsules.starts, capsules.ends, capsules.radii.tolist(), strict=True
        )
        if radius > 0.0
    ]
    points = np.concatenate(clouds) if clouds else np.zeros((0, 3))
    # The largest ones first, which leaves few points for the others.
    largest_first = np.argsort(-capsules.radii)
    for some in filter(len, np.split(largest_first, [1, 3, 8])):
        points = points[(capsules.rows(some).distances(points) > -0.1 * spacing_m).all(axis=1)]
    return points


def _capsule_points(
    start: np.ndarray, end: np.ndarray, radius: float, spacing_m: float
) -> np.ndarray:
    """Points of a sphere, cut in the middle and moved to both ends, and rings between them."""
    axis = end - start
    length = float(np.linalg.norm(axis))
    along = axis / length if length > 1e-9 else np.array([0.0, 0.0, 1.0])
    ball = radius * _sphere(max(8, math.ceil(5.0 * math.pi * (radius / spacing_m) ** 2)))
    ends = np.where((ball @ along > 0.0)[:, None], end, start)
    points = [ball + ends]
    rings = math.ceil(length / spacing_m) - 1
    if rings > 0:
        across = np.linalg.svd(along[None])[2][1:]
        angles = np.linspace(
            0.0, 2.0 * math.pi, max(6, math.ceil(2 * math.pi * radius / spacing_m))
        )
        ring = radius * np.stack([np.cos(angles[:-1]), np.sin(angles[:-1])], axis=1) @ across
        middles = start + np.linspace(0.0, 1.0, rings + 2)[1:-1, None] * axis
        points.append((middles[:, None] + ring).reshape(-1, 3))
    return np.concatenate(points)


def _sphere(count: int) -> np.ndarray:
    """Nearly even directions (count, 3) on a Fibonacci spiral."""
    height = 1.0 - 2.0 * (np.arange(count) + 0.5) / count
    flat = np.sqrt(1.0 - height**2)
    angle = _GOLDEN_ANGLE * np.arange(count)
    return np.stack([flat * np.cos(angle), flat * np.sin(angle), height], axis=1)
