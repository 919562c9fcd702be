"""Robust triangulation of one person's keypoints from several calibrated cameras."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from moro_ros.geometry.lens import undistort_points
from moro_ros.geometry.views import View, intersect, projected
from moro_ros.types import KEYPOINTS, Frame, Keypoints

MIN_VISIBILITY = 0.5
MIN_VIEWS = 2
# At 3.5 m, 40 px of a 1080 x 1920 video are 8 cm: views differ by half of that on one point.
MAX_REPROJECTION_PX = 40.0


@dataclass(frozen=True, slots=True)
class Truth:
    """The true position of a person, from triangulation or a body fit (body_fit.py).

    points: (F, K, 3) m, world frame, keypoints, NaN if no two views agree on the point.
    error_px: (F, K) largest reprojection error over the views used, pixels, NaN likewise.
    joints: (F, 22, 3) m of the fitted body, whose keypoints the points then are, or None.
    """

    points: np.ndarray
    error_px: np.ndarray
    joints: np.ndarray | None = None


def triangulate(
    views: Sequence[View],
    frames: Sequence[Sequence[Frame]],
    max_px: float = MAX_REPROJECTION_PX,
    min_views: int = MIN_VIEWS,
) -> Truth:
    """Triangulate all keypoints, each view weighted by the visibility it reports.

    A point uses the largest set of views whose worst reprojection error is within max_px (a view
    that confuses left and right disagrees and is excluded).

    frames: of each view, synchronous; the first person of each is used. min_views: minimum number
    of views of a point; two may agree accidentally if both infer it.
    """
    point, weight = observations(views, frames)
    world = np.full((*weight.shape[1:], 3), np.nan)
    error_px = np.full(weight.shape[1:], np.nan)
    for size in range(len(views), min_views - 1, -1):
        best_px = np.full(error_px.shape, float(max_px))
        best_world = np.full_like(world, np.nan)
        for subset in combinations(range(len(views)), size):
            rows = list(subset)
            chosen = [views[row] for row in rows]
            found = intersect(chosen, point[rows], weight[rows])
            errors = reprojection_px(chosen, found, point[rows])
            better = (weight[rows] > 0).all(0) & (errors.max(0) <= best_px)
            best_px[better], best_world[better] = errors.max(0)[better], found[better]
        new = np.isnan(error_px) & np.isfinite(best_world[..., 0])
        world[new], error_px[new] = best_world[new], best_px[new]
    return Truth(world, error_px)


def observations(
    views: Sequence[View], frames: Sequence[Sequence[Frame]]
) -> tuple[np.ndarray, np.ndarray]:
    """Return keypoints (C, F, K, 2) on the normalised plane and weights (C, F, K), 0 if unseen."""
    count = min(len(of_view) for of_view in frames)
    weight = np.zeros((len(views), count, len(KEYPOINTS)))
    point = np.zeros((*weight.shape, 2))
    for row, (view, of_view) in enumerate(zip(views, frames, strict=True)):
        for number, frame in enumerate(of_view[:count]):
            keypoints = frame.people[0].keypoints if frame.people else None
            if keypoints is None:
                continue
            point[row, number] = normalised(keypoints, view)
            seen = keypoints.visibility >= MIN_VISIBILITY
            weight[row, number] = np.where(seen, keypoints.visibility, 0)
    return point, weight


def normalised(keypoints: Keypoints, view: View) -> np.ndarray:
    """Return keypoints (K, 2) on the normalised image plane, without lens distortion."""
    matrix = view.camera.matrix
    straight = undistort_points(keypoints.points_px.astype(np.float64), view.camera)
    return np.asarray((straight - matrix[:2, 2]) / matrix[[0, 1], [0, 1]])


def reprojection_px(views: Sequence[View], world: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Distance in each view between a point and its observation, (C, F, K) px; inf behind it."""
    errors = []
    for view, observed in zip(views, point, strict=True):
        planar, depth = projected(view, world)
        distance = np.linalg.norm(planar - observed, axis=-1) * view.camera.matrix[0, 0]
        errors.append(np.where(depth > 0, distance, np.inf))
    return np.array(errors)
