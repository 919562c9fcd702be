"""The posture of a body in a depth image: its parts are bent onto the measured surface.

The network places limbs and trunk along the line of sight by their appearance alone, which is its
least certain direction. Given the distance of the whole body (depth_fit.py), the measured distances
of its surface and of its seen elbows, wrists, knees and ankles are further equations of the
refinement (refinement.py), which keeps the body on its keypoints and near the network's estimate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from moro_ros.body.body_model import BodyModel
from moro_ros.body.topology import JOINT_NAMES
from moro_ros.geometry.depth_image import DepthImage
from moro_ros.recover.depth_fit import DepthFit, Surface, depth_clue, gaps
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
# Limbs: from the skin to the joint [m], sigma, and the gap as above.
RADIUS_M = {"elbow": 0.045, "wrist": 0.03, "knee": 0.06, "ankle": 0.045}
LIMB_SIGMA_M, LIMB_GAP_M = 0.03, 0.12
# A limb is the nearer part of what is measured this far around its keypoint [m]: a detected
# keypoint may be beside it. What is this much nearer or farther than expected is something else.
BESIDE_M, NEARER_M, FARTHER_M = 0.04, 0.2, 0.3
# A limb this far behind the body's own surface is hidden by it [m].
HIDDEN_M = 0.15
# Minimum visibility of a limb's keypoint.
VISIBLE = 0.5


@dataclass(frozen=True, slots=True)
class DepthMeasurement:
    """What a depth image tells about a pose.

    posture: the step (1, 69) of refinement.py from the pose to the measured one, None: unknown.
    """

    clue: Clue
    posture: Tensor | None = None


class DepthMeter:
    """Measures the distance and posture of bodies of one body model in depth images."""

    def __init__(self, body: BodyModel) -> None:
        self._fit = DepthFit(body)
        self._pose = DepthPose(body)

    def measure(
        self, posed: Unplaced, depth: DepthImage, near: float | None = None
    ) -> DepthMeasurement | None:
        """Compare a person with a depth image; None if too little of them is seen in it.

        near: see depth_clue.
        """
        surface = self._fit.surface(posed.pose, posed.observed)
        clue = depth_clue(surface, depth, near)
        if clue is None or posed.seen is None:
            return None if clue is None else DepthMeasurement(clue)
        bent = self._pose.bent(posed.pose, posed.seen, surface, depth, clue.log_scale)
        return DepthMeasurement(clue, difference(bent, posed.pose))


class DepthPose:
    """Bends bodies of one body model onto depth images."""

    def __init__(self, body: BodyModel) -> None:
        self._refiner = Refiner(body)
        self._broad = np.isin(JOINT_NAMES, BROAD)
        kinds = [name.split("_")[-1] for name in KEYPOINTS]
        self._limbs = np.array([number for number, kind in enumerate(kinds) if kind in RADIUS_M])
        self._radius_m = np.array([RADIUS_M[kinds[number]] for number in self._limbs])
        self._limb_joint = torch.tensor([body.keypoint_joints[number] for number in self._limbs])

    def bent(
        self, pose: BodyPose, seen: Seen, surface: Surface, depth: DepthImage, log_scale: float
    ) -> BodyPose:
        """Return a pose (F = 1) bent onto a depth image, at the same size.

        It also follows the keypoints of its image once more, without the motion before it.

        seen: keypoints of the pose's image; surface: of the pose; log_scale: the logarithm of the
        measured over the pose's distance.
        """
        scale = math.exp(log_scale)
        broad = surface.only(self._broad[surface.part])
        skeleton = self._refiner.body.skeleton(pose.betas[None])
        chain, joints, points = self._refiner.placed(pose, skeleton)
        limbs = points[0, self._limbs].numpy().astype(np.float64)
        limbs = self._limb_terms(limbs, seen, surface, depth, scale)
        part = torch.from_numpy(broad.part)
        from_pelvis = torch.from_numpy(broad.points).float() - pose.translation
        offset = chain[0, part].mT @ (from_pelvis - joints[0, part])[..., None]
        whole = surface_terms(broad, depth, log_scale)
        away, precision = np.concatenate([whole, limbs], 1) * [[1.0 / scale], [scale**2]]
        measured = Measured(
            torch.cat([part, self._limb_joint]),
            torch.cat([offset[..., 0], skeleton.keypoint_offsets[0, self._limbs]]),
            torch.tensor([0.0, 0.0, 1.0]),
            torch.from_numpy(away).float(),
            torch.from_numpy(precision).float(),
        )
        body = self._refiner.refine(pose, skeleton, seen, 1, measured=measured)
        return BodyPose(body.rotations, body.translation, pose.betas)

    def _limb_terms(
        self, limbs: np.ndarray, seen: Seen, surface: Surface, depth: DepthImage, scale: float
    ) -> np.ndarray:
        """Return the distance [m] and precision [1/m^2] of each limb, (2, L), at true scale.

        limbs: (L, 3) m, the pose's.
        """
        planar = seen.points[0, self._limbs].numpy().astype(np.float64)
        rays = np.concatenate([planar, np.ones((len(planar), 1))], 1)
        sought = rays * limbs[:, 2:]
        there = depth.in_depth_frame(sought * scale)
        gap = depth.nearest(there, BESIDE_M) + self._radius_m - there[:, 2]
        known = (gap > -NEARER_M) & (gap < FARTHER_M)  # not NaN
        known &= seen.weight[0, self._limbs].numpy() > VISIBLE
        known &= ~surface.front.hides(sought, HIDDEN_M, reach=1)
        gap = np.where(known, gap, 0.0)
        precision = known * geman_mcclure((gap / LIMB_GAP_M) ** 2) / LIMB_SIGMA_M**2
        return np.stack([sought[:, 2] * scale + gap, precision])


def surface_terms(surface: Surface, depth: DepthImage, log_scale: float) -> np.ndarray:
    """Return the distance [m] and precision [1/m^2] of each point, (2, N), at true scale."""
    gap, _ = gaps(surface.points, log_scale, depth)
    known = np.isfinite(gap)
    gap = np.where(known, gap, 0.0)
    precision = known * geman_mcclure((gap / SURFACE_GAP_M) ** 2) / SURFACE_SIGMA_M**2
    return np.stack([surface.points[:, 2] * math.exp(log_scale) + gap, precision])
