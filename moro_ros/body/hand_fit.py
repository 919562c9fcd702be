"""The orientation of a hand from its knuckles in the image."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

# Errors of a seen knuckle and of the recovered orientation of a hand: the weights of the fit.
KNUCKLE_M, TURN_RAD = 0.012, 0.7
# Maximum distance of fitted knuckles from the seen ones (root mean square).
FITTING_M = 0.03
ROUNDS = 6


def fit_hand(
    knuckles: np.ndarray, wrist: np.ndarray, turn: np.ndarray, seen: np.ndarray
) -> np.ndarray | None:
    """Rotate a hand about its wrist so that its knuckles match the seen ones.

    knuckles: (N, 3) m from the wrist in the hand's own frame; wrist: (3,) m, camera frame; turn:
    (3, 3), the initial orientation; seen: (N, 2), the knuckles on the normalised image plane.
    Damped Gauss-Newton; the result stays as near to `turn` as the knuckles allow, because two
    orientations of a hand may look alike.
    Returns (3, 3), or None if no orientation near `turn` fits.
    """
    if wrist[2] <= 0.0:
        return None
    found, prior = turn, np.zeros(3)
    for _ in range(ROUNDS):
        off, slope = _residuals(knuckles, wrist, found, seen)
        normal = slope.T @ slope / KNUCKLE_M**2 + np.eye(3) / TURN_RAD**2
        step = np.linalg.solve(normal, -slope.T @ off / KNUCKLE_M**2 - prior / TURN_RAD**2)
        found, prior = Rotation.from_rotvec(step).as_matrix() @ found, prior + step
    off, _ = _residuals(knuckles, wrist, found, seen)
    fits = float(np.sqrt((off**2).mean())) < FITTING_M
    return found if fits else None


def _residuals(
    knuckles: np.ndarray, wrist: np.ndarray, turn: np.ndarray, seen: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The errors of the knuckles (2 N,) m, and their derivative by a small rotation (2 N, 3)."""
    arms = knuckles @ turn.T
    points = wrist + arms
    depth = np.maximum(points[:, 2:], 1e-3)
    off = (points[:, :2] / depth - seen) * wrist[2]
    # d p = d w x arm; of x / z: (d x - x / z d z) / z.
    slopes = np.cross(np.eye(3)[None], arms[:, None])  # (N, w, xyz)
    plane = points[:, :2] / depth
    slope = (slopes[..., :2] - plane[:, None] * slopes[..., 2:]) / depth[:, None] * wrist[2]
    return off.ravel(), slope.swapaxes(1, 2).reshape(-1, 3)
