"""A body as capsules: one per body part, around the vertices that its joint moves most.

A capsule is the set of points within a radius of a line segment. The capsules are fitted to the
mesh of a body shape at rest and move with the joints, so that no mesh is needed per image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from moro_ros.body.topology import NUM_JOINTS, PARENTS
from moro_ros.types import BodyMotion

if TYPE_CHECKING:  # wrong parameters are reported before torch is loaded
    from torch import Tensor

    from moro_ros.body.body_model import BodyModel


@dataclass(frozen=True, slots=True)
class Capsules:
    """J capsules: the ends of their axes (J, 3) m, and radii (J,) m.

    Row j belongs to body joint j. A part without vertices is a point at its joint.
    """

    starts: np.ndarray
    ends: np.ndarray
    radii: np.ndarray

    def posed(self, joints: np.ndarray, rotations: np.ndarray) -> Capsules:
        """Return the capsules of a pose; these are relative to the joints at rest.

        joints: (J, 3) m and rotations: (J, 3, 3) of the body parts, in one frame.
        """
        starts = joints + np.einsum("jab,jb->ja", rotations, self.starts)
        ends = joints + np.einsum("jab,jb->ja", rotations, self.ends)
        return Capsules(starts, ends, self.radii)

    def moved(self, rotation: np.ndarray, translation: np.ndarray) -> Capsules:
        """Return the capsules in a frame where points are rotation p + translation."""
        starts, ends = (p @ rotation.T + translation for p in (self.starts, self.ends))
        return Capsules(starts, ends, self.radii)

    def rows(self, chosen: np.ndarray) -> Capsules:
        """Return some of the capsules; chosen: their rows."""
        return Capsules(self.starts[chosen], self.ends[chosen], self.radii[chosen])

    def distances(self, points: np.ndarray) -> np.ndarray:
        """Return the signed distance [m] of points (N, 3) to each surface, (N, J); inside < 0."""
        # Products of matrices, about a place among the capsules, are several times faster than
        # the vectors (N, J, 3), and as exact beyond 1e-6 m from an axis.
        middle = self.starts.mean(axis=0)
        points, starts, along = points - middle, self.starts - middle, self.ends - self.starts
        squared = (along**2).sum(-1)
        forward = points @ along.T
        forward -= (starts * along).sum(-1)
        share = np.clip(forward / np.maximum(squared, 1e-12), 0.0, 1.0)
        away = points @ (-2.0 * starts.T)
        away += (points**2).sum(-1)[:, None] + (starts**2).sum(-1)
        away += share * (share * squared - 2.0 * forward)
        return np.sqrt(np.maximum(away, 0.0)) - self.radii


def fit_capsules(vertices: np.ndarray, joints: np.ndarray, parts: np.ndarray) -> Capsules:
    """Return the smallest capsules found around each part of a body at rest.

    vertices: (V, 3) m; joints: (at least 22, 3) m; parts: (V,) body joint that moves each vertex
    most. The axis is a principal axis of the part. The capsules hold all vertices at rest, and
    their ends are relative to the joints.
    """
    fits = [
        fit_capsule(vertices[parts == joint] - joints[joint]) if (parts == joint).any() else _POINT
        for joint in range(NUM_JOINTS)
    ]
    starts, ends, radii = (np.array(values) for values in zip(*fits, strict=True))
    return Capsules(starts, ends, radii)


def body_capsules(body: BodyModel, betas: Tensor) -> Capsules:
    """Return the capsules of a body of betas (10,) at rest."""
    vertices = body.rest_vertices(betas[None])[0].numpy().astype(np.float64)
    joints = body.skeleton(betas[None]).joints[0].numpy().astype(np.float64)
    return fit_capsules(vertices, joints, body.vertex_parts())


_POINT = (np.zeros(3), np.zeros(3), 0.0)


def fit_capsule(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return start (3,), end (3,) and radius of the smallest capsule found around points (N, 3)."""
    centered = points - points.mean(axis=0)
    axes = np.linalg.eigh(centered.T @ centered)[1].T
    found = (_capsule_along(points, axes[i], np.delete(axes, i, axis=0)) for i in range(3))
    return min(found, key=_volume)


def _capsule_along(
    points: np.ndarray, axis: np.ndarray, across: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """The smallest capsule whose axis has a direction (3,); across: (2, 3), the other two."""
    flat = points @ across.T
    # In mm: OpenCV's tolerance is 1e-4 units, which in metres gives arbitrary circles for a foot.
    middle = np.array(cv2.minEnclosingCircle((1e3 * flat).astype(np.float32))[0]) / 1e3
    off_axis = np.linalg.norm(flat - middle, axis=1)
    radius = float(off_axis.max())
    # Distance beyond an end that is allowed for a point at this distance from the axis.
    reach = np.sqrt(np.maximum(radius**2 - off_axis**2, 0.0))
    along = points @ axis
    low, high = float((along + reach).min()), float((along - reach).max())
    if low > high:
        low = high = (low + high) / 2
        radius = float(np.hypot(off_axis, along - low).max())
    base = middle @ across
    return base + low * axis, base + high * axis, radius


def _volume(capsule: tuple[np.ndarray, np.ndarray, float]) -> float:
    start, end, radius = capsule
    return float(_volumes(np.asarray(np.linalg.norm(end - start) / 2.0), np.asarray(radius)))


@dataclass(frozen=True, slots=True)
class PartUncertainty:
    """The uncertainty of the body parts of one frame, (J,) each: m of one sigma, and m/s.

    A part is between its joint and those below, so the largest of these is used. sigma_m: in the
    least certain direction; along_m and across_m: along and across the line of sight. All are 0
    if the uncertainty is unknown. speed: of the faster end.
    """

    sigma_m: np.ndarray
    along_m: np.ndarray
    across_m: np.ndarray
    speed: np.ndarray

    @staticmethod
    def of(motion: BodyMotion, camera: np.ndarray) -> PartUncertainty:
        """That of the newest frame; camera: its position (3,) m in the frame of the motion."""
        covariance = motion.covariance[-1].astype(np.float64)
        sight = _unit(motion.joints[-1] - camera)
        across = np.eye(3) - sight[:, :, None] * sight[:, None]
        values = np.stack(
            [
                np.linalg.eigvalsh(covariance)[:, -1],
                np.einsum("ja,jab,jb->j", sight, covariance, sight),
                np.linalg.eigvalsh(across @ covariance @ across)[:, -1],
                (motion.velocity[-1].astype(np.float64) ** 2).sum(axis=-1),
            ]
        )
        own = np.sqrt(np.maximum(values, 0.0))
        parts = own.copy()
        for joint, parent in enumerate(PARENTS[1:], start=1):
            parts[:, parent] = np.maximum(parts[:, parent], own[:, joint])
        return PartUncertainty(*parts)


def keep_clear(
    body: Capsules,
    uncertainty: PartUncertainty,
    camera: np.ndarray,
    sigmas: float,
    delay_s: float,
    margin_m: float,
) -> Capsules:
    """Return capsules that contain the parts of a body with their uncertainty, motion and a margin.

    body: posed; camera: its position (3,) m in the same frame; sigmas: number of standard
    deviations; delay_s: time from the stamp to the use. The distance from the camera is the least
    certain. A part is therefore moved along the line of sight by the uncertainty in that
    direction, both ways, and the capsule is the smaller one of those along the part and along the
    line of sight.
    """
    across_m = sigmas * uncertainty.across_m
    beyond_m = np.maximum(sigmas * uncertainty.along_m - across_m, 0.0)
    middle, half = (body.starts + body.ends) / 2, (body.ends - body.starts) / 2
    sight = _unit(middle - camera)
    # From the middle, the ends of the axis moved away from the camera; the others mirror them.
    corners = np.stack([half, -half]) + beyond_m[:, None] * sight  # (2, J, 3)
    radii = body.radii + across_m + delay_s * uncertainty.speed + margin_m
    found = [_around(corners, axis, radii) for axis in (_unit(half), sight)]
    chosen = np.argmin([_volumes(*one) for one in found], axis=0)
    reach, radii = (np.choose(chosen, pair) for pair in zip(*found, strict=True))
    axes = np.where(chosen[:, None] == 0, _unit(half), sight) * reach[:, None]
    return Capsules(middle - axes, middle + axes, radii)


def _around(
    corners: np.ndarray, axes: np.ndarray, radii: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Half the length and the radius, (J,) m, of capsules along axes (J, 3) through the middle.

    They hold balls of radii (J,) around corners (2, J, 3) and around the corners' mirror images.
    """
    along = np.abs((corners * axes).sum(axis=-1))
    away = np.sqrt(np.maximum((corners**2).sum(axis=-1) - along**2, 0.0))
    widest = away.max(axis=0)
    reach = (along - np.sqrt(widest**2 - away**2)).max(axis=0)
    return np.maximum(reach, 0.0), widest + radii


def _volumes(half_length: np.ndarray, radii: np.ndarray) -> np.ndarray:
    return np.pi * radii**2 * (2.0 * half_length + 4.0 / 3.0 * radii)


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Directions of vectors (J, 3); any where one has no length."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.where(length > 1e-9, vectors, [0.0, 0.0, 1.0]) / np.where(length > 1e-9, length, 1.0)
