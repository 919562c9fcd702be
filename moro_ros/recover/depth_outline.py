"""The outline of a body in a depth image: where its surface ends and what is behind it begins.

Distances along the line of sight do not tell where a body is across it, and keypoints are off by
centimetres. At the edge of a limb or of the trunk the depth image steps back to the background.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from moro_ros.geometry.depth_image import DepthImage
from moro_ros.recover.refinement import geman_mcclure

# An edge is sought this far inside and outside of the body's own [m], in steps of STEP_M.
INSIDE_M, OUTSIDE_M, STEP_M = 0.06, 0.08, 0.005
# What is this much nearer than the outline is in front of the body, this much farther behind it.
NEARER_M, FARTHER_M = 0.18, 0.12
# An edge is clear if the mean of the places inside of it, 1 for body and -1 for behind, and that of
# the places outside with the opposite sign are above CLEAR. Minimum number of places on each side.
CLEAR, LEAST_PLACES = 0.6, 3
# Maximum angle between the views of both cameras, rad.
OTHER_VIEW = 0.25
# Minimum number of edges from which a body's width is found, and their usual error [m].
LEAST_EDGES, USUAL_M = 20, 0.03
ROUNDS = 3
# Prior of `wider`: as one edge each that is not shifted in x and y, and five that are not wider, at
# a radius of 0.1 m: 5 (0.1 m)^2 [m^2].
KEPT = (1.0, 1.0, 0.05)


@dataclass(frozen=True, slots=True)
class Outline:
    """Points on the outline of a body: points (N, 3) m, camera frame.

    part: (N,), the joint that each point moves with; outward: (N, 3), of length 1, across the line
    of sight; radius: (N,) m, of the part; beyond: (N,) m, how far outside the edge was measured, 0
    before it is.
    """

    points: np.ndarray
    part: np.ndarray
    outward: np.ndarray
    radius: np.ndarray
    beyond: np.ndarray

    def only(self, some: np.ndarray) -> Outline:
        """Return some of the points, (N,) bool."""
        return Outline(*(getattr(self, one.name)[some] for one in fields(self)))


def outline_in(outline: Outline, scale: float, depth: DepthImage) -> Outline:
    """Return the points of an outline with an edge in a depth image, and how far outside it is.

    scale: the measured over the outline's distance. A depth camera whose view is another one than
    the colour camera's, by more than OTHER_VIEW, sees another outline: there are no edges.
    """
    if len(outline.points) and depth.beside(scale * outline.points.mean(axis=0)) > OTHER_VIEW:
        outline = outline.only(np.zeros(len(outline.points), bool))
    steps = np.arange(-INSIDE_M, OUTSIDE_M + 1e-9, STEP_M)
    sought = outline.points[:, None] * scale + steps[:, None] * outline.outward[:, None]
    there = depth.in_depth_frame(sought)  # (N, S, 3)
    found = depth.pixel(there.reshape(-1, 3)).reshape(there.shape[:2])
    gap = found - there[..., 2]
    behind = gap > FARTHER_M  # not NaN
    body = np.where(gap < -NEARER_M, 0.0, np.where(gap < FARTHER_M, 1.0, -1.0))
    # The edge that most places agree with: inside of it is the body, and outside of it is not.
    total = np.concatenate([np.zeros((len(body), 1)), np.cumsum(body, 1)], 1)
    best = total == total.max(1, keepdims=True)
    first, last = best.argmax(1), best.shape[1] - 1 - best[:, ::-1].argmax(1)
    rows = np.arange(len(body))
    inside = total[rows, first] / np.maximum(first, 1)
    outside = (total[rows, last] - total[:, -1]) / np.maximum(len(steps) - last, 1)
    clear = np.minimum(inside, outside) > CLEAR
    clear &= (first >= LEAST_PLACES) & (last <= len(steps) - LEAST_PLACES)
    clear &= last - first < LEAST_PLACES
    # A hole or the border of the image is no edge unless something farther follows.
    beyond_edge = np.arange(len(steps)) >= last[:, None]
    clear &= (behind & beyond_edge).sum(1) >= LEAST_PLACES
    beyond = (0.5 * (first + last) - 0.5) * STEP_M - INSIDE_M
    return replace(outline, beyond=beyond / scale).only(clear)


def wider(outline: Outline) -> float:
    """Return how much wider than its outline a body was measured, as a share of its radii.

    outline: see outline_in. A body that is beside its outline is not wider.
    """
    if len(outline.points) < LEAST_EDGES:
        return 0.0
    matrix = np.concatenate([outline.outward[:, :2], outline.radius[:, None]], 1)
    found, weight = np.zeros(3), np.ones(len(matrix))
    for _ in range(ROUNDS):
        weighted = matrix.T * weight
        found = np.linalg.solve(weighted @ matrix + np.diag(KEPT), weighted @ outline.beyond)
        weight = geman_mcclure(((outline.beyond - matrix @ found) / USUAL_M) ** 2)
    return float(found[2])
