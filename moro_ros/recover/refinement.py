"""Test-time refinement: a few damped Gauss-Newton steps of a body onto its seen 2D keypoints.

The network knows the pose from everything it was shown, but its skeleton need not fall exactly onto
the keypoints of this image. Each step solves, for every body at once, for the global orientation,
the joint rotations and the pelvis position that explain the keypoints robustly and stay close to
the network's estimate and to the extrapolated motion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from moro_ros.body.body_model import BodyModel, Skeleton
from moro_ros.body.topology import JOINT_NAMES, NUM_JOINTS, PARENTS
from moro_ros.geometry.rotation import matrix_to_rotvec, rotvec_to_matrix
from moro_ros.types import KEYPOINTS, SmplxParams

# Spread of the network's rotations, rad; tuned on validation motion. Feet, hands and head depend on
# few or no keypoints and must not follow their noise.
JOINT_SPREAD: dict[str, float] = {
    "pelvis": 0.30, "spine1": 0.15, "spine2": 0.10, "spine3": 0.10, "neck": 0.12, "head": 0.12,
    "left_collar": 0.15, "right_collar": 0.15, "left_shoulder": 0.60, "right_shoulder": 0.60,
    "left_elbow": 0.50, "right_elbow": 0.50, "left_wrist": 0.15, "right_wrist": 0.15,
    "left_hip": 0.40, "right_hip": 0.40, "left_knee": 0.40, "right_knee": 0.40,
    "left_ankle": 0.18, "right_ankle": 0.18, "left_foot": 0.12, "right_foot": 0.12,
}  # fmt: skip
# The same for the pelvis: across the line of sight in metres, along it as a share of the distance.
SIDEWAYS_SPREAD_M = 0.10
DEPTH_SPREAD = 0.01
# The same for the seen keypoints of trunk and head, along the line of sight: slightly too narrow
# shoulders must not be widened by leaning the trunk towards the camera.
TRUNK_DEPTH_SPREAD = 0.03
TRUNK = ("nose", "ear", "shoulder", "hip")
# A keypoint's own error as a share of the person box: that of BlazePose on calibrated views (bias,
# drift and noise, docs/training.md), and WIDER than it, because the body's shape is not exact.
MEASURED_SPREAD: dict[str, float] = {
    "nose": 0.020, "ear": 0.020, "shoulder": 0.018, "elbow": 0.023, "wrist": 0.020, "hip": 0.024,
    "knee": 0.023, "ankle": 0.022, "heel": 0.024, "index": 0.027,
}  # fmt: skip
WIDER = 2.25
# Residuals beyond this many spreads have less and less weight (Geman-McClure).
ROBUST_SPREADS = 5.0
# Spread of a frame around the extrapolated motion, relative to the network's spread; multiplied by
# the number of frames passed since.
TIME_SPREAD = 0.08
# The same for joints that move no seen keypoint: their correction is outdated, and the network is
# more accurate. As with the default of motion.gain, 0.4 of the way in one frame.
BLIND_TIME_SPREAD = 0.8
# Maximum step of one iteration, rad and m.
LONGEST_STEP = 0.4
MIN_DEPTH_M = 0.2
# Of align_sideways: the network's own position has the weight of this many seen keypoints, and a
# keypoint farther off than this share of the box has proportionally less weight (Huber).
NETWORK_WEIGHT, ROBUST_SHARE = 1.0, 0.1
ALIGN_ROUNDS = 2

# Arrays of either library.
Values = TypeVar("Values", Tensor, np.ndarray)


@dataclass(frozen=True, slots=True)
class PlacedBody:
    """N bodies in the camera optical frame: rotations (N, 22, 3, 3), pelvis translation (N, 3) m.

    rotations: the global orientation, then joints 1..21 relative to their parents.
    """

    rotations: Tensor
    translation: Tensor


def smplx_of(body: PlacedBody, betas: Tensor, pelvis_rest: Tensor) -> SmplxParams:
    """Return bodies as SMPL-X parameters; betas: (10,); pelvis_rest: (3,) m, of these betas."""
    turns = matrix_to_rotvec(body.rotations).numpy()  # (N, 22, 3)
    return SmplxParams(
        betas=betas.numpy(),
        global_orient=turns[:, 0],
        body_pose=turns[:, 1:].reshape(len(turns), -1),
        transl=(body.translation - pelvis_rest).numpy(),
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """The observations of N bodies, on the normalised image plane.

    points: (N, K, 2); weight: (N, K), zero for unseen keypoints; box_size: (N,), side of the
    person box.
    """

    points: Tensor
    weight: Tensor
    box_size: Tensor


@dataclass(frozen=True, slots=True)
class Measured:
    """Points of one body whose coordinate in a direction was measured, camera optical frame.

    joint: (P,), the joint that each point moves with; offset: (P, 3) m, from it in its frame;
    direction: (P, 3), or (3,) of all, of length 1; value: (P,) m, the measured coordinate;
    precision: (P,) 1/m^2, zero: not measured.
    """

    joint: Tensor
    offset: Tensor
    direction: Tensor
    value: Tensor
    precision: Tensor


class Refiner:
    """Refines bodies of one body model; keeps only constant tables."""

    def __init__(self, body: BodyModel) -> None:
        self.body = body
        self.moves = ancestors(body.keypoint_joints)
        self.chain_moves = ancestors(tuple(range(NUM_JOINTS)))
        self.trunk = torch.tensor([[float(name.endswith(TRUNK))] for name in KEYPOINTS])
        spreads = [MEASURED_SPREAD[name.split("_")[-1]] for name in KEYPOINTS]
        self.keypoint_spread = WIDER * torch.tensor(spreads)
        self.spread = torch.tensor([[JOINT_SPREAD[name]] * 3 for name in JOINT_NAMES]).flatten()

    def refine(
        self,
        network: PlacedBody,
        skeleton: Skeleton,
        seen: Seen,
        steps: int,
        expected: PlacedBody | None = None,
        stride: float = 1.0,
        measured: Measured | None = None,
    ) -> PlacedBody:
        """Return the bodies after `steps` Gauss-Newton steps; 0 steps return the network's.

        network: the estimate that the result stays close to; skeleton: of N bodies, or of one for
        all; expected: the extrapolated motion, also the starting point; stride: frames of the
        extrapolation; measured: points that also move to their coordinate (N = 1). A body without a
        seen keypoint moves to between the two.
        """
        if steps <= 0:
            return network
        now = network if expected is None else expected
        precision = self._precision(network.translation)
        anchors = [(network, precision)]
        if expected is not None:
            spread = torch.where(self._shown(seen), TIME_SPREAD, BLIND_TIME_SPREAD)
            anchors.append((expected, precision / (spread * stride).square()))
        depth = self.placed(network, skeleton)[2][..., 2]
        for _ in range(steps):
            matrix, gradient = self._keypoint_terms(now, skeleton, seen, depth)
            if measured is not None:
                more = self._measured_terms(now, skeleton, measured)
                matrix, gradient = matrix + more[0], gradient + more[1]
            for anchor, weight in anchors:
                matrix = matrix + torch.diag_embed(weight)
                gradient = gradient + weight * difference(now, anchor)
            factor = torch.linalg.cholesky_ex(matrix).L
            now = moved(now, -torch.cholesky_solve(gradient[..., None], factor)[..., 0])
        return now

    def _shown(self, seen: Seen) -> Tensor:
        """Return whether a seen keypoint depends on each unknown, (N, 69) bool."""
        joints = (seen.weight > 0).float() @ self.moves.to(seen.weight.dtype) > 0  # (N, 22)
        return torch.cat([thrice(joints), joints[:, :1].expand(-1, 3)], 1)

    def _precision(self, translation: Tensor) -> Tensor:
        """Return one over the squared spread of every unknown, (N, 69)."""
        joints = self.spread.expand(len(translation), -1)
        sideways = torch.full_like(translation[:, :2], SIDEWAYS_SPREAD_M)
        depth = DEPTH_SPREAD * translation[:, 2:].clamp_min(MIN_DEPTH_M)
        return torch.cat([joints, sideways, depth], -1).pow(-2)

    def placed(self, body: PlacedBody, skeleton: Skeleton) -> tuple[Tensor, Tensor, Tensor]:
        """Return the joints' rotations and positions, the pelvis at 0, and those of keypoints."""
        chain, joints = self.body.forward_kinematics(
            body.rotations, skeleton.joints[:, :NUM_JOINTS]
        )
        local = self.body.keypoints(chain, joints, skeleton.keypoint_offsets)  # (N, K, 3)
        return chain, joints, local + body.translation[:, None]

    def _keypoint_terms(
        self, now: PlacedBody, skeleton: Skeleton, seen: Seen, network_depth: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the keypoints' part of the normal equations, (N, 69, 69) and (N, 69).

        network_depth: (N, K) m, where the network put the keypoints.
        """
        chain, joints, placed = self.placed(now, skeleton)
        local = placed - now.translation[:, None]
        depth = placed[..., 2:].clamp_min(MIN_DEPTH_M)
        planar = placed[..., :2] / depth
        unit = (self.keypoint_spread * seen.box_size[:, None])[..., None]  # (N, K, 1)
        residual = (planar - seen.points) / unit  # (N, K, 2)
        weight = seen.weight * robust_weight(residual)
        spatial = motion_of(local, chain, joints, self.moves)  # (N, K, 3, 69)
        jacobian = (spatial[..., :2, :] - planar[..., None] * spatial[..., 2:, :]) / (depth * unit)[
            ..., None
        ]
        trust = 1.0 / (TRUNK_DEPTH_SPREAD * network_depth[..., None].clamp_min(MIN_DEPTH_M))
        trust = trust * self.trunk
        along = (placed[..., 2:] - network_depth[..., None]) * trust  # (N, K, 1)
        jacobian = torch.cat([jacobian, spatial[..., 2:, :] * trust[..., None]], -2)
        residual = torch.cat([residual, along], -1)
        rows = jacobian.flatten(1, 2)  # (N, 3 K, 69)
        weighted = rows * thrice(weight)[..., None]
        return weighted.mT @ rows, (weighted.mT @ residual.flatten(1)[..., None])[..., 0]

    def _measured_terms(
        self, now: PlacedBody, skeleton: Skeleton, measured: Measured
    ) -> tuple[Tensor, Tensor]:
        """Return the measured points' part of the normal equations, (1, 69, 69) and (1, 69)."""
        chain, joints, _ = self.placed(now, skeleton)
        arm = chain[:, measured.joint] @ measured.offset[..., None]
        local = joints[:, measured.joint] + arm[..., 0]  # (1, P, 3)
        moves = motion_of(local, chain, joints, self.chain_moves[measured.joint])
        rows = (measured.direction[..., None] * moves).sum(-2)  # (1, P, 69)
        placed = local + now.translation[:, None]
        residual = (placed * measured.direction).sum(-1) - measured.value
        weighted = (rows * measured.precision[:, None]).mT  # (1, 69, P)
        return weighted @ rows, (weighted @ residual[..., None])[..., 0]


def motion_of(local: Tensor, chain: Tensor, joints: Tensor, moves: Tensor) -> Tensor:
    """Return the derivatives of points by the unknowns of their bodies, (N, P, 3, 69).

    local: (N, P, 3) m, relative to the pelvis; chain: (N, 22, 3, 3) and joints: (N, 22, 3) m, of
    the bodies; moves: (P, 22), 1 where turning a joint moves a point.
    """
    arm = local[:, :, None] - joints[:, None]  # (N, P, 22, 3)
    turning = -cross_matrix(arm) @ chain[:, None]  # (N, P, 22, 3, 3)
    turning = turning * moves[..., None, None]
    shift = torch.eye(3).expand(*local.shape[:2], 3, 3)
    return torch.cat([turning.transpose(2, 3).flatten(3), shift], -1)


def thrice(values: Tensor) -> Tensor:
    """Repeat every value three times: (N, M) -> (N, 3 M)."""
    return values[..., None].expand(-1, -1, 3).flatten(1)


def ancestors(carriers: tuple[int, ...]) -> Tensor:
    """Return (K, 22), 1 where turning a joint moves a keypoint: its carrier and all above it."""
    table = torch.zeros(len(carriers), NUM_JOINTS)
    for row, carrier in enumerate(carriers):
        joint = carrier
        while joint >= 0:
            table[row, joint] = 1.0
            joint = PARENTS[joint]
    return table


def robust_weight(residual: Tensor) -> Tensor:
    """Return the weight (N, K) of residuals (N, K, 2) in spreads."""
    return geman_mcclure(residual.square().sum(-1) / ROBUST_SPREADS**2)


def geman_mcclure(squared: Values) -> Values:
    """Return the weights of squared residuals over the squared usual one (Geman & McClure 1987)."""
    return (1.0 + squared) ** -2


def cross_matrix(vectors: Tensor) -> Tensor:
    """Return the matrices (..., 3, 3) with [v] w = v x w."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))


def difference(body: PlacedBody, anchor: PlacedBody) -> Tensor:
    """Return the offsets of bodies from an anchor, (N, 69): rotation vectors [rad], pelvis [m]."""
    turn = matrix_to_rotvec(anchor.rotations.mT @ body.rotations)
    return torch.cat([turn.flatten(1), body.translation - anchor.translation], -1)


def moved(body: PlacedBody, step: Tensor) -> PlacedBody:
    """Return bodies moved by a step (N, 69), shortened where it is longer than LONGEST_STEP."""
    step = step / (step.abs().amax(-1, keepdim=True) / LONGEST_STEP).clamp_min(1.0)
    turn = rotvec_to_matrix(step[:, :-3].unflatten(-1, (NUM_JOINTS, 3)))
    return PlacedBody(body.rotations @ turn, body.translation + step[:, -3:])


def align_sideways(body_points: Tensor, seen: Seen, translation: Tensor) -> Tensor:
    """Return the pelvis positions (N, 3) m, moved across the line of sight to the keypoints.

    body_points: (N, K, 3) m, the body's keypoints in camera axes relative to the pelvis;
    translation: (N, 3) m, the network's pelvis, which stays without a seen keypoint. Depth is not
    changed: one frame's keypoints determine it far less well than the network's window, and
    changing it frame by frame shakes the body along the line of sight (docs/training.md).
    """
    placed = body_points + translation[:, None, :]
    gap = seen.points * placed[..., 2:] - placed[..., :2]  # (N, K, 2) m at the keypoint's depth
    scale = ROBUST_SHARE * seen.box_size * translation[:, 2]  # (N,) m
    shift = torch.zeros_like(translation[:, :2])
    for _ in range(ALIGN_ROUNDS):
        off = (gap - shift[:, None, :]).norm(dim=-1) / scale[:, None]
        used = seen.weight / off.clamp_min(1.0)  # (N, K)
        total = used.sum(-1, keepdim=True) + NETWORK_WEIGHT
        shift = (used[..., None] * gap).sum(-2) / total
    return torch.cat([translation[:, :2] + shift, translation[:, 2:]], -1)
