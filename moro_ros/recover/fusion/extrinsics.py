"""Refines the poses of cameras from the people in view: bundle adjustment over the views.

The points in space are eliminated: for given extrinsics they are where the rays meet, so the
unknowns are six numbers for each camera except the first, which is fixed. Keypoints of people do
not determine the scale of the scene; a weak prior on the given extrinsics keeps it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from moro_ros.errors import DataError
from moro_ros.geometry.views import View, intersect, projected

# Prior sigma of the given extrinsics, rad and m. It counts as much as INDEPENDENT points with the
# error ERROR, because a detector's errors are correlated between images.
TURN, SHIFT_M, INDEPENDENT = 0.05, 0.1, 200
# A detector's error on the normalised image plane: 10 px at a focal length of 1000 px. Points with
# errors above that and this many medians are excluded, which is decided again in each round.
ERROR, OUTLYING, ROUNDS = 0.01, 4.0, 3
# Minimum and maximum number of points: more take time without improving the result.
LEAST_POINTS, MOST_POINTS = 200, 3000
# Every n-th point is held out of the refinement to measure whether it improves.
HELD_OUT = 5
BEHIND = 10.0
# Relative step size at which the result has converged.
TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Refined:
    """Refined cameras, and the median reprojection error in pixels of each, before and after.

    The errors are of held-out points. points: number of points used. turn_deg and shift_m: how far
    each camera was moved.
    """

    views: tuple[View, ...]
    before_px: tuple[float, ...]
    after_px: tuple[float, ...]
    turn_deg: tuple[float, ...]
    shift_m: tuple[float, ...]
    points: int


def refine_extrinsics(views: Sequence[View], point: np.ndarray, weight: np.ndarray) -> Refined:
    """Return cameras moved so that the rays of people's keypoints meet.

    point: (C, N, 2) one thing on the normalised planes of all views; weight: (C, N), 0 for unseen.
    Raises: DataError if cameras share too few keypoints, with the name of such a camera.
    """
    shared = (weight > 0).sum(0) >= 2
    for view, seen in zip(views, weight, strict=True):
        if ((seen > 0) & shared).sum() < LEAST_POINTS:
            raise DataError(
                f"Camera {view.name} shares {int(((seen > 0) & shared).sum())} keypoints of people "
                f"with another camera, expected at least {LEAST_POINTS}: let a person walk through "
                "the part of the scene that several cameras see."
            )
    chosen = np.flatnonzero(shared)
    chosen = chosen[:: max(1, len(chosen) // MOST_POINTS)]
    held = np.arange(len(chosen)) % HELD_OUT == 0
    tested = point[:, chosen[held]], weight[:, chosen[held]]
    point, weight = point[:, chosen[~held]], weight[:, chosen[~held]]
    step = np.zeros(6 * (len(views) - 1))
    for _ in range(ROUNDS):
        agreeing = without_outliers(stepped(views, step), point, weight)
        step = solved(views, point, agreeing, step)
    better = stepped(views, step)
    moves = step.reshape(-1, 6)
    return Refined(
        better,
        median_px(views, *tested),
        median_px(better, *tested),
        (0.0, *np.degrees(np.linalg.norm(moves[:, :3], axis=1)).tolist()),
        (0.0, *[apart(a, b) for a, b in zip(views[1:], better[1:], strict=True)]),
        point.shape[1],
    )


def solved(
    views: Sequence[View], point: np.ndarray, weight: np.ndarray, start: np.ndarray
) -> np.ndarray:
    """Return the step from given views at which rays meet best, from a start; see stepped."""
    share = float(np.sqrt(INDEPENDENT / point.shape[1]))

    def residuals(step: np.ndarray) -> np.ndarray:
        off = misses(stepped(views, step), point, weight) * (share / ERROR)
        prior = step.reshape(-1, 6) / np.repeat([TURN, SHIFT_M], 3)
        return np.concatenate([off.ravel(), prior.ravel()])

    return np.asarray(least_squares(residuals, start, xtol=TOLERANCE, ftol=TOLERANCE).x)


def without_outliers(views: Sequence[View], point: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the weights, 0 in all views for points whose rays are far apart."""
    off = np.linalg.norm(misses(views, point, weight), axis=-1)
    middle = [np.median(row[seen > 0]) for row, seen in zip(off, weight, strict=True)]
    wild = off > OUTLYING * np.array(middle)[:, None] + ERROR
    return np.where(wild.any(0), 0.0, weight)


def apart(first: View, second: View) -> float:
    """Return the distance between two cameras, m."""
    return float(np.linalg.norm(first.centre - second.centre))


def stepped(views: Sequence[View], step: np.ndarray) -> tuple[View, ...]:
    """Return rotated and shifted views; step: six numbers for each but the first, rad and m."""
    moved = [views[0]]
    for view, part in zip(views[1:], step.reshape(-1, 6), strict=True):
        turn = Rotation.from_rotvec(part[:3]).as_matrix()
        rotation = turn @ view.rotation
        # About the camera's own centre, so that rotation and shift are separate.
        moved.append(
            replace(view, rotation=rotation, translation=-rotation @ (view.centre + part[3:]))
        )
    return tuple(moved)


def misses(views: Sequence[View], point: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return (C, N, 2), offsets of points from where their rays meet, 0 where unseen."""
    world = intersect(views, point[:, None], weight[:, None])[0]
    off = np.zeros(point.shape)
    for row, view in enumerate(views):
        planar, depth = projected(view, world)
        miss = np.where(depth[:, None] > 0, planar - point[row], BEHIND)
        off[row] = np.where(weight[row, :, None] > 0, np.nan_to_num(miss, nan=BEHIND), 0.0)
    return off


def median_px(views: Sequence[View], point: np.ndarray, weight: np.ndarray) -> tuple[float, ...]:
    """Return the median reprojection error of each view, pixels."""
    off = np.linalg.norm(misses(views, point, weight), axis=-1)
    return tuple(
        float(np.median(row[seen > 0]) * view.camera.matrix[0, 0])
        for view, row, seen in zip(views, off, weight, strict=True)
    )
