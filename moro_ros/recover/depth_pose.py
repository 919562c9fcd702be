"""The posture of a body in a depth image: its parts are bent onto the measured surface.

The network places limbs and trunk along the line of sight by their appearance alone, which is its
least certain direction. Given the distance of the whole body (depth_fit.py), the measured distances
of its surface and of its seen elbows, wrists, knees and ankles, and the edges of its outline
(depth_outline.py) are further equations of the refinement (refinement.py), which keeps the body on
its keypoints and near the network's estimate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from moro_ros.body.body_model import BodyModel
from moro_ros.body.topology import JOINT_NAMES
from moro_ros.geometry.depth_image import DepthImage
from moro_ros.recover.depth_fit import DepthFit, Surface, depth_clue, gaps
from moro_ros.recover.depth_outline import Outline, outline_in, wider
from moro_ros.recover.place import Clue, Unplaced
from moro_ros.recover.refinement import Measured, Refiner, Seen, difference, geman_mcclure
from moro_ros.recover.steady_pose import BodyPose
from moro_ros.types import KEYPOINTS

# The parts whose surface is wide enough to lie on its own image. Limbs are measured at keypoints.
BROAD = (
    "pelvis", "spine1", "spine2", "spine3", "left_collar", "right_collar", "neck", "head",
    "left_hip", "right_hip", "left_knee", "right_knee",
)  # fmt: skip
# Sigma of one point of a surface, of which there are many with a common error, and the gap beyond
# which it has less and less weight (Geman-McClure) [m].
SURFACE_SIGMA_M, SURFACE_GAP_M = 0.06, 0.06
# The same for a point of the outline, across the line of sight.
EDGE_SIGMA_M, EDGE_GAP_M = 0.04, 0.06
# From the skin to each keypoint [m].
RADIUS_M = {
    "nose": 0.0, "ear": 0.0, "shoulder": 0.06, "elbow": 0.045, "wrist": 0.03, "hip": 0.1,
    "knee": 0.06, "ankle": 0.045, "heel": 0.02, "index": 0.02,
}  # fmt: skip
# Limbs that are measured at their keypoint, sigma, and the gap as above.
LIMBS = ("elbow", "wrist", "knee", "ankle")
LIMB_SIGMA_M, LIMB_GAP_M = 0.03, 0.12
# A limb is the nearer part of what is measured this far around its keypoint [m]: a detected
# keypoint may be beside it. What is this much nearer or farther than expected is something else.
BESIDE_M, NEARER_M, FARTHER_M = 0.04, 0.2, 0.3
# A distance is wrong if the median of at least so many keypoints is this far from it [m].
LEAST_KEYPOINTS, WRONG_M = 3, 0.25
# A limb this far behind the body's own surface is hidden by it [m].
HIDDEN_M = 0.15
# Minimum visibility of a limb's keypoint.
VISIBLE = 0.5


@dataclass(frozen=True, slots=True)
class DepthMeasurement:
    """What a depth image tells about a pose.

    posture: the step (1, 69) of refinement.py from the pose to the measured one, None: unknown;
    bulk: how much wider the person is than the body model, as a share of its radii, None: unknown.
    """

    clue: Clue
    posture: Tensor | None = None
    bulk: float | None = None


class DepthMeter:
    """Measures the distance and posture of bodies of one body model in depth images."""

    def __init__(self, body: BodyModel) -> None:
        self._fit = DepthFit(body)
        self._pose = DepthPose(body)

    def measure(
        self, posed: Unplaced, depth: DepthImage, near: float | None = None, bulk: float = 0.0
    ) -> DepthMeasurement | None:
        """Compare a person with a depth image; None if too little of them is seen in it.

        near: see depth_clue; bulk: of earlier images, see DepthMeasurement.
        """
        pose, seen = posed.pose, posed.seen
        surface = self._fit.surface(pose, posed.observed, bulk)
        clue = depth_clue(surface, depth, near)
        if clue is None or seen is None:
            return None if clue is None else DepthMeasurement(clue)
        scale = math.exp(clue.log_scale)
        gap = self._pose.keypoint_gaps(pose, seen, surface, depth, scale)
        known = gap[np.isfinite(gap)]
        if len(known) >= LEAST_KEYPOINTS and abs(np.median(known)) > WRONG_M:
            return None  # the surface is that of a wall or of something in front
        outline = outline_in(surface.outline, scale, depth)
        more = wider(outline)
        outline = replace(outline, beyond=outline.beyond - more * outline.radius)
        bent = self._pose.bent(pose, seen, surface, outline, gap, depth, clue.log_scale)
        return DepthMeasurement(clue, difference(bent, pose), bulk + more)


class DepthPose:
    """Bends bodies of one body model onto depth images."""

    def __init__(self, body: BodyModel) -> None:
        self._refiner = Refiner(body)
        self._broad = np.isin(JOINT_NAMES, BROAD)
        kinds = [name.split("_")[-1] for name in KEYPOINTS]
        self._limbs = np.array([number for number, kind in enumerate(kinds) if kind in LIMBS])
        self._radius_m = np.array([RADIUS_M[kind] for kind in kinds])
        self._limb_joint = torch.tensor([body.keypoint_joints[number] for number in self._limbs])

    def bent(
        self,
        pose: BodyPose,
        seen: Seen,
        surface: Surface,
        outline: Outline,
        gap: np.ndarray,
        depth: DepthImage,
        log_scale: float,
    ) -> BodyPose:
        """Return a pose (F = 1) bent onto a depth image, at the same size.

        It also follows the keypoints of its image once more, without the motion before it.

        seen: keypoints of the pose's image; surface: of the pose; outline: its edges in the depth
        image; gap: see keypoint_gaps; log_scale: the logarithm of the measured over the pose's
        distance.
        """
        scale = math.exp(log_scale)
        broad = surface.only(self._broad[surface.part])
        outline = outline.only(self._broad[outline.part])
        skeleton = self._refiner.body.skeleton(pose.betas[None])
        chain, joints, points = self._refiner.placed(pose, skeleton)
        limbs = points[0, self._limbs, 2].numpy().astype(np.float64) * scale
        at_size = np.array([[1.0 / scale], [scale**2]])
        value, precision = np.concatenate(
            [
                surface_terms(broad, depth, log_scale) * at_size,
                outline_terms(outline),
                limb_terms(limbs, gap[self._limbs]) * at_size,
            ],
            axis=1,
        )
        skin = torch.from_numpy(np.concatenate([broad.points, outline.points])).float()
        part = torch.from_numpy(np.concatenate([broad.part, outline.part]))
        offset = chain[0, part].mT @ (skin - pose.translation - joints[0, part])[..., None]
        sight = torch.tensor([0.0, 0.0, 1.0])
        outward = torch.from_numpy(outline.outward).float()
        measured = Measured(
            torch.cat([part, self._limb_joint]),
            torch.cat([offset[..., 0], skeleton.keypoint_offsets[0, self._limbs]]),
            torch.cat([sight.expand(len(broad.points), 3), outward, sight.expand(len(limbs), 3)]),
            torch.from_numpy(value).float(),
            torch.from_numpy(precision).float(),
        )
        body = self._refiner.refine(pose, skeleton, seen, 1, measured=measured)
        return BodyPose(body.rotations, body.translation, pose.betas)

    def keypoint_gaps(
        self, pose: BodyPose, seen: Seen, surface: Surface, depth: DepthImage, scale: float
    ) -> np.ndarray:
        """Return how much farther than the pose's each keypoint was measured, (K,) m, true scale.

        NaN for those that are not seen, are behind the body, or have no distance.
        """
        skeleton = self._refiner.body.skeleton(pose.betas[None])
        away = self._refiner.placed(pose, skeleton)[2][0, :, 2:].numpy().astype(np.float64)
        planar = seen.points[0].numpy().astype(np.float64)
        sought = np.concatenate([planar, np.ones((len(planar), 1))], 1) * away
        there = depth.in_depth_frame(sought * scale)
        gap = depth.nearest(there, BESIDE_M) + self._radius_m - there[:, 2]
        known = (seen.weight[0].numpy() > VISIBLE) & ~surface.front.hides(sought, HIDDEN_M, reach=1)
        return np.where(known, gap, np.nan)


def surface_terms(surface: Surface, depth: DepthImage, log_scale: float) -> np.ndarray:
    """Return the distance [m] and precision [1/m^2] of each point, (2, N), at true scale."""
    gap, _ = gaps(surface.points, log_scale, depth)
    known = np.isfinite(gap)
    gap = np.where(known, gap, 0.0)
    precision = known * geman_mcclure((gap / SURFACE_GAP_M) ** 2) / SURFACE_SIGMA_M**2
    return np.stack([surface.points[:, 2] * math.exp(log_scale) + gap, precision])


def limb_terms(away: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """Return the distance [m] and precision [1/m^2] of each limb, (2, L), at true scale.

    away: (L,) m, the pose's distance; gap: (L,) m, see DepthPose.keypoint_gaps.
    """
    known = (gap > -NEARER_M) & (gap < FARTHER_M)  # not NaN
    gap = np.where(known, gap, 0.0)
    precision = known * geman_mcclure((gap / LIMB_GAP_M) ** 2) / LIMB_SIGMA_M**2
    return np.stack([away + gap, precision])


def outline_terms(outline: Outline) -> np.ndarray:
    """Return the coordinate [m] outward and precision [1/m^2] of each edge, (2, N)."""
    place = (outline.points * outline.outward).sum(1) + outline.beyond
    precision = geman_mcclure((outline.beyond / EDGE_GAP_M) ** 2) / EDGE_SIGMA_M**2
    return np.stack([place, precision])
