"""The distance of a body in a depth image: its surface is moved along the line of sight to fit.

The body's posture and size in the image are known. The search is for the scale of both distance
and body at which most of its surface agrees with the measured one. Furniture in front of the body
is nearer than its surface and background is farther: both are outliers. At a visible keypoint
nothing can be in front of the body, and the body is not in front of the measured surface. Where the
body hides itself, such as the chest behind an arm, only the front part is compared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from moro_ros.body.body_model import BodyModel
from moro_ros.body.capsules import body_capsules
from moro_ros.body.topology import JOINT_NAMES
from moro_ros.geometry.depth_image import BEFORE_CAMERA_M, DepthImage
from moro_ros.geometry.mesh import vertex_normals
from moro_ros.recover.depth_outline import Outline
from moro_ros.recover.place import Clue
from moro_ros.recover.steady_pose import BodyPose

# Weight of the surface of each part. Limbs and head may be bent differently than the network
# estimates, and so be nearer or farther than the pelvis, whose distance is searched.
PART_WEIGHT = {
    "pelvis": 2.0, "spine1": 2.0, "spine2": 1.0, "spine3": 0.7, "left_hip": 1.0, "right_hip": 1.0,
    "left_collar": 0.5, "right_collar": 0.5, "left_shoulder": 0.3, "right_shoulder": 0.3,
    "head": 0.3, "left_knee": 0.2, "right_knee": 0.2, "left_wrist": 0.1, "right_wrist": 0.1,
}  # fmt: skip
# Maximum number of points of each part.
POINTS = 80
# A point that is farther than the body's nearest point in the same cell of the image by this is
# hidden by the body itself; side of a cell at the body's distance [m].
BEHIND_M, CELL_M = 0.08, 0.05
# Minimum cosine of the angle between surface normal and line of sight, facing the camera.
FACING = 0.35
# Maximum cosine of this angle on the outline, where the surface turns away.
ACROSS = 0.25
# Candidate scales, logarithms: from a child estimated as an adult to a tall adult.
SCALES = np.linspace(-0.8, 0.45, 51)
# Surface and depth agree within this, plus a share of the distance [m].
AGREE_M, AGREE_SHARE = 0.04, 0.008
# Penalty of a visible point that does not agree with a scale.
AGAINST = 0.5
# Minimum share of the visible surface that agrees, and minimum number of its points.
LEAST_SHARE, LEAST_POINTS = 0.3, 12
# Points this far outside of the body's outline [m]. If most of them are as far away as the body,
# up to FLAT_M, the depth image shows a wall and not a body.
BESIDE_M, FLAT_M, FLAT_SHARE = 0.15, 0.1, 0.8
ROUNDS = 4
# The search uses every n-th point.
ROUGHLY = 3
# Sigma of the surface: of clothes and build [m], of the sensor per squared distance [1/m], and of
# the pelvis if only other parts are seen [m].
BUILD_SIGMA_M, SENSOR_SIGMA, POSTURE_SIGMA_M = 0.015, 0.002, 0.04
TRUNK = ("pelvis", "spine1", "left_hip", "right_hip")


@dataclass(frozen=True, slots=True)
class Surface:
    """The potentially visible part of a body's surface: points (N, 3) m, camera frame.

    part: (N,), the joint that each point moves with; weight: (N,), of each point; trunk: (N,) bool,
    points that measure the pelvis' distance itself; beside: (M, 3) m, points around the body's
    outline; front: of the whole body; outline: of its parts.
    """

    points: np.ndarray
    part: np.ndarray
    weight: np.ndarray
    trunk: np.ndarray
    beside: np.ndarray
    front: Front
    outline: Outline

    def only(self, some: slice | np.ndarray) -> Surface:
        """Return some of the points: a slice, or (N,) bool."""
        points, part, weight = self.points[some], self.part[some], self.weight[some]
        trunk = self.trunk[some]
        return Surface(points, part, weight, trunk, self.beside, self.front, self.outline)


class Front:
    """The nearest distance of a body's points (N, 3) m in each cell of the image plane."""

    def __init__(self, points: np.ndarray, away_m: float) -> None:
        self._cell = CELL_M / away_m
        cells = self._cells(points)
        self._first = cells.min(axis=0)
        self._last = cells.max(axis=0) - self._first
        self._nearest = np.full(self._last + 1, np.inf)
        np.minimum.at(self._nearest, tuple((cells - self._first).T), points[:, 2])

    def _cells(self, points: np.ndarray) -> np.ndarray:
        planar = points[:, :2] / np.maximum(points[:, 2:], BEFORE_CAMERA_M)
        return np.floor(planar / self._cell).astype(int)

    def covers(self, outline: Outline) -> np.ndarray:
        """Return which points of an outline are before or behind another part, (N,) bool."""
        covered = np.zeros(len(outline.points), bool)
        step = self._cell * outline.points[:, 2:] * outline.outward
        for count in (1, 2):
            cells = self._cells(outline.points + count * step) - self._first
            inside = ((cells >= 0) & (cells <= self._last)).all(1)
            nearest = self._nearest[tuple(np.clip(cells, 0, self._last).T)]
            covered |= inside & np.isfinite(nearest)
        return covered

    def hides(self, points: np.ndarray, behind_m: float, reach: int = 0) -> np.ndarray:
        """Return which points (N, 3) m are more than behind_m behind the body, (N,) bool.

        reach: number of neighbouring cells in each direction that count, too.
        """
        cells = self._cells(points) - self._first
        steps = range(-reach, reach + 1)
        near = [np.clip(cells + np.array([x, y]), 0, self._last) for x in steps for y in steps]
        nearest = np.min([self._nearest[tuple(cell.T)] for cell in near], axis=0)
        return np.asarray(points[:, 2] > nearest + behind_m)


class DepthFit:
    """Fits the surface of one body model's bodies to depth images."""

    def __init__(self, body: BodyModel) -> None:
        parts = body.vertex_parts()
        ids = np.concatenate([spread(np.flatnonzero(parts == part)) for part in np.unique(parts)])
        self._surface = body.subset(torch.from_numpy(ids))
        self._parts = parts[ids].astype(int)
        weights = np.array([PART_WEIGHT.get(name, 0.0) for name in JOINT_NAMES])
        self._weights = weights[self._parts]
        normals = vertex_normals(body.template.numpy(), body.faces.numpy())[ids]
        self._normals = normals / np.maximum(np.linalg.norm(normals, axis=1), 1e-12)[:, None]
        self._radius = body_capsules(body, torch.zeros(10)).radii[self._parts]
        self._trunk = np.isin(self._parts, [JOINT_NAMES.index(name) for name in TRUNK])

    def surface(self, pose: BodyPose, observed: np.ndarray, bulk: float = 0.0) -> Surface:
        """Return the surface of a pose (F = 1) that faces the camera and is not behind the body.

        observed: (22,) bool, the joints that the image shows; the surface of others may be hidden
        and is left out. bulk: how much wider the person is than the body model, with their
        clothes, as a share of the radii.
        """
        posed = self._surface.skin(pose.rotations, pose.betas[None])
        points = (posed.vertices[0] + pose.translation[0]).numpy().astype(np.float64)
        chain = posed.joint_rotations[0].numpy()[self._parts]
        normals = np.einsum("nij,nj->ni", chain, self._normals)
        sight = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-6)
        points += bulk * self._radius[:, None] * normals
        along = (normals * sight).sum(1)
        shown = observed[self._parts] & (points[:, 2] > BEFORE_CAMERA_M)
        facing = shown & (along < -FACING)
        away_m = max(float(pose.translation[0, 2]), BEFORE_CAMERA_M)
        front = Front(points, away_m)
        edge = np.flatnonzero(shown & (np.abs(along) < ACROSS))
        outward = normals[edge] - along[edge, None] * sight[edge]
        outward /= np.linalg.norm(outward, axis=1, keepdims=True)
        part, radius = self._parts[edge], self._radius[edge]
        outline = Outline(points[edge], part, outward, radius, np.zeros(len(edge)))
        outline = outline.only(~front.covers(outline))
        facing[facing] &= ~front.hides(points[facing], BEHIND_M)
        return Surface(
            points[facing],
            self._parts[facing],
            self._weights[facing],
            self._trunk[facing],
            around(points, float(np.median(points[facing, 2])) if facing.any() else away_m),
            front,
            outline,
        )


def spread(ids: np.ndarray) -> np.ndarray:
    """Return at most POINTS of some ids, evenly."""
    return ids[np.linspace(0, len(ids) - 1, min(len(ids), POINTS)).astype(int)]


def depth_clue(surface: Surface, depth: DepthImage, near: float | None = None) -> Clue | None:
    """Return the distance clue of a depth image for a body's surface, colour camera frame.

    near: logarithm of the initial scale, None: all of SCALES. Returns None if too little of the
    body is seen in the depth image.
    """
    surface = surface.only(surface.weight > 0)
    if len(surface.points) < LEAST_POINTS:
        return None
    if near is not None and (clue := refined(surface, near, depth)) is not None:
        return clue
    rough = surface.only(slice(None, None, ROUGHLY))
    scores = [score(rough, scale, depth) for scale in SCALES]
    return refined(surface, float(SCALES[int(np.argmax(scores))]), depth)


def gaps(points: np.ndarray, scale: float, depth: DepthImage) -> tuple[np.ndarray, np.ndarray]:
    """Return the gap from points to depth image, (N,) m, and the depth image's distance, (N,) m.

    points: (N, 3) m; scale: the logarithm of the distance over that of the points. NaN at holes,
    edges and outside of the depth image.
    """
    there = depth.in_depth_frame(points * math.exp(scale))
    return depth.at(there) - there[:, 2], there[:, 2]


def around(points: np.ndarray, away_m: float) -> np.ndarray:
    """Return points (M, 3) m around the outline of points (N, 3) m, at one distance."""
    flat = points[:, :2] / np.maximum(points[:, 2:], 0.1) * away_m
    outline = cv2.convexHull(flat.astype(np.float32))[:, 0].astype(np.float64)
    outward = outline - flat.mean(axis=0)
    outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-6)
    outline = outline + BESIDE_M * outward
    return np.concatenate([outline, np.full((len(outline), 1), away_m)], 1)


def continues(surface: Surface, scale: float, depth: DepthImage) -> bool:
    """Return whether the measured surface continues around the body, like a wall."""
    gap, _ = gaps(surface.beside, scale, depth)
    known = np.isfinite(gap)
    return bool(known.any() and (np.abs(gap[known]) < FLAT_M).mean() > FLAT_SHARE)


def agreement(gap: np.ndarray, away: np.ndarray) -> np.ndarray:
    """Return the agreement of surface and depth image, (N,) in [0, 1]; 0 at holes."""
    agrees = np.exp(-0.5 * (gap / (AGREE_M + AGREE_SHARE * away)) ** 2)
    return np.where(np.isfinite(gap), agrees, 0.0)


def score(surface: Surface, scale: float, depth: DepthImage) -> float:
    """Return the score of a scale for a depth image; disagreement reduces it."""
    gap, away = gaps(surface.points, scale, depth)
    agrees = agreement(gap, away)
    value = (1.0 + AGAINST) * agrees - AGAINST * np.isfinite(gap)
    return float((surface.weight * value).sum())


def refined(surface: Surface, scale: float, depth: DepthImage) -> Clue | None:
    """Return the clue at the best scale near a given one; None if too little agrees there."""
    for _ in range(ROUNDS):
        gap, away = gaps(surface.points, scale, depth)
        agrees = agreement(gap, away)
        share = surface.weight * agrees
        if share.sum() < 1e-6:
            return None
        scale += float((share * np.nan_to_num(gap) / away).sum() / share.sum())
    seen = surface.weight[np.isfinite(gap)].sum()
    if (agrees > 0.5).sum() < LEAST_POINTS or share.sum() < LEAST_SHARE * seen:
        return None
    if continues(surface, scale, depth):
        return None
    distance = float((share * away).sum() / share.sum())
    elsewhere = 1.0 - float(share[surface.trunk].sum() / share.sum())
    surface_m = math.hypot(BUILD_SIGMA_M, SENSOR_SIGMA * distance**2)
    return Clue(scale, math.hypot(surface_m, POSTURE_SIGMA_M * elsewhere) / distance)
