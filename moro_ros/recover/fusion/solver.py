"""Solves for one body that explains the views of several cameras: pose, place and shape.

Damped Gauss-Newton steps as in refinement.py, in the world frame. The normal equations of all
views add up: the keypoints of each, through its own extrinsics, and the network's estimate of each
view alone: its place by its covariance, its rotations by which joints that view sees. The distance
from one camera, which its network knows least, is sideways motion for another one. The size of the
body follows from its place.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moro_ros.body.body_model import NUM_BETAS, BodyModel
from moro_ros.body.size import BodySize
from moro_ros.body.topology import JOINT_NAMES, NUM_JOINTS
from moro_ros.recover.refinement import (
    JOINT_SPREAD,
    MIN_DEPTH_M,
    PlacedBody,
    ancestors,
    cross_matrix,
    difference,
    moved,
    robust_weight,
)

# A keypoint's own error as a share of the person box. It is smaller than for one view, for which
# the network knows the distance better than keypoints do.
KEYPOINT_SHARE = 0.015
# A view whose network's rotations differ from the others by more than this many spreads, root mean
# square over the joints, has less and less weight.
ROBUST_TURNS = 1.5
# Spread of a body in a frame around the extrapolated motion: share of the joints' spread, m, and a
# share of the step, because fast limbs deviate more.
TIME_TURN, TIME_PLACE_M, TIME_STEP = 0.2, 0.015, 0.5
# Spread of each beta of a new person around the mean of the views' networks, each of which counts
# by how well it knows the distance and so the size.
SHAPE_SPREAD = 2.0
# The share of one image's knowledge of the shape that is independent of the image before.
NEW_SHARE = 0.05
STEPS, FIRST_STEPS = 3, 12
# For a new person, the first steps accept points that are this much farther off.
FAR, FAR_STEPS = 4.0, 6
TURNS = 3 * NUM_JOINTS
PLACE = slice(TURNS, TURNS + 3)
SHAPE = slice(TURNS + 3, TURNS + 3 + NUM_BETAS)
UNKNOWNS = TURNS + 3 + NUM_BETAS


@dataclass(frozen=True, slots=True)
class ViewTerm:
    """The observations of one body by C views.

    rotation: (C, 3, 3) and translation: (C, 3), world to camera; points: (C, K, 2) on the
    normalised planes; weight: (C, K), zero for unseen; spread: (C,), of a keypoint there;
    network: C bodies, each the estimate of its view's network, in the world frame; turn_weight:
    (C, 22) of their rotations; place_precision: (C, 3, 3) of their pelvis, 1/m^2, world axes;
    betas: (C, 10) of their shapes; stature: the stature [m] that a view knows, and its precision,
    1/m^2, 0 if none does.
    """

    rotation: Tensor
    translation: Tensor
    points: Tensor
    weight: Tensor
    spread: Tensor
    network: PlacedBody
    turn_weight: Tensor
    place_precision: Tensor
    betas: Tensor
    stature: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Shape:
    """The estimate of a body's betas: (10,), and its precision (10, 10)."""

    betas: Tensor
    precision: Tensor


@dataclass(frozen=True, slots=True)
class Expected:
    """The extrapolated motion: a body (N = 1), its step there (69,) rad and m, and frames."""

    body: PlacedBody
    step: Tensor
    frames: float


@dataclass(frozen=True, slots=True)
class Solution:
    """One body (N = 1) in the world frame.

    shape: its current estimate; covariance: (22, 3, 3) m^2 of the joints; residual: (C, K) in
    spreads of all keypoints, seen or not.
    """

    body: PlacedBody
    shape: Shape
    covariance: Tensor
    residual: Tensor


class Solver:
    """Solves for bodies of one body model; keeps only constant tables."""

    def __init__(self, body: BodyModel) -> None:
        self.body = body
        self.moves = ancestors(body.keypoint_joints)
        self.joint_moves = ancestors(tuple(range(NUM_JOINTS)))
        spread = torch.tensor([JOINT_SPREAD[name] for name in JOINT_NAMES])
        self.turn_precision = spread.repeat_interleave(3).pow(-2)
        carriers = list(body.keypoint_joints)
        # (10, ...) m by which each beta moves the joints, and keypoints relative to their joints.
        self.joint_slope = body.joint_shapedirs[:NUM_JOINTS].permute(2, 0, 1)
        offsets = body.keypoint_shapedirs - body.joint_shapedirs[carriers]
        self.offset_slope = offsets.permute(2, 0, 1)
        self.size = BodySize(body)

    @torch.inference_mode()
    def solve(self, views: ViewTerm, shape: Shape | None, expected: Expected | None) -> Solution:
        """Return the body that explains all views.

        shape: its earlier estimate, None for a new person; expected: the extrapolated motion,
        None if unknown.
        """
        if shape is None:
            shape = first_shape(views)
        prior = self._with_stature(shape, *views.stature)
        now = beginning(views) if expected is None else expected.body
        betas = prior.betas
        for number in range(FIRST_STEPS if expected is None else STEPS):
            far = FAR if expected is None and number < FAR_STEPS else 1.0
            matrix, gradient, _ = self._equations(now, betas, views, prior, expected, far)
            step = -torch.linalg.solve(matrix, gradient)
            now = moved(now, step[None, : TURNS + 3])
            betas = betas + step[SHAPE].clamp(-1.0, 1.0)
        matrix, _, residual = self._equations(now, betas, views, prior, expected)
        return Solution(
            now,
            self._learned(shape, prior, betas, matrix),
            self._covariance(now, betas, matrix),
            residual,
        )

    def _equations(
        self,
        now: PlacedBody,
        betas: Tensor,
        views: ViewTerm,
        shape: Shape,
        expected: Expected | None,
        far: float = 1.0,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the normal equations, (79, 79) and (79,), and the residuals (C, K).

        far: factor by which keypoints may be farther off than usual.
        """
        matrix, gradient, residual = self._keypoint_terms(now, betas, views, far)
        matrix[SHAPE, SHAPE] += shape.precision
        gradient[SHAPE] += shape.precision @ (betas - shape.betas)
        # Each view's network: its rotations, weighted together, and its place.
        off = difference(now, views.network)  # (C, 69)
        share = views.turn_weight.repeat_interleave(3, -1)
        squared = (off[:, :TURNS].square() * self.turn_precision * share).sum(-1)
        squared = squared / (ROBUST_TURNS**2 * share.sum(-1).clamp_min(1.0))
        turns = self.turn_precision * share * (1.0 + squared).pow(-2)[:, None]
        matrix[:TURNS, :TURNS] += torch.diag(turns.sum(0))
        gradient[:TURNS] += (turns * off[:, :TURNS]).sum(0)
        matrix[PLACE, PLACE] += views.place_precision.sum(0)
        gradient[PLACE] += (views.place_precision @ off[:, TURNS:, None])[..., 0].sum(0)
        if expected is not None:
            spread = torch.cat(
                [TIME_TURN * self.turn_precision.rsqrt(), torch.full((3,), TIME_PLACE_M)]
            )
            spread = torch.hypot(spread * expected.frames, TIME_STEP * expected.step)
            precision = spread.pow(-2)
            matrix[: TURNS + 3, : TURNS + 3] += torch.diag(precision)
            gradient[: TURNS + 3] += precision * difference(now, expected.body)[0]
        return matrix, gradient, residual

    def _keypoint_terms(
        self, now: PlacedBody, betas: Tensor, views: ViewTerm, far: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        chain, joints, local = self.posed(now, betas)
        slope = self._slopes(chain, joints, local, self.moves)
        slope[..., SHAPE] = self._shape_slopes(now, chain)[1]
        # Into every view: (C, K, 3) and (C, K, 3, 79).
        placed = (local + now.translation[0]) @ views.rotation.mT + views.translation[:, None]
        inside = views.rotation[:, None] @ slope
        depth = placed[..., 2:].clamp_min(MIN_DEPTH_M)
        planar = placed[..., :2] / depth
        unit = views.spread[:, None, None]
        residual = (planar - views.points) / unit
        weight = views.weight * robust_weight(residual / far) * (placed[..., 2] > MIN_DEPTH_M)
        jacobian = (inside[..., :2, :] - planar[..., None] * inside[..., 2:, :]) / (depth * unit)[
            ..., None
        ]
        rows = jacobian.flatten(0, 2)  # (2 C K, 79)
        weighted = rows * weight.flatten().repeat_interleave(2)[:, None]
        return weighted.mT @ rows, weighted.mT @ residual.flatten(), residual.norm(dim=-1)

    def posed(self, now: PlacedBody, betas: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return joint rotations (22, 3, 3), joints (22, 3) and keypoints (K, 3), pelvis at 0."""
        skeleton = self.body.skeleton(betas[None])
        chain, joints = self.body.forward_kinematics(now.rotations, skeleton.joints[:, :NUM_JOINTS])
        return chain[0], joints[0], self.body.keypoints(chain, joints, skeleton.keypoint_offsets)[0]

    def _slopes(self, chain: Tensor, joints: Tensor, points: Tensor, moves: Tensor) -> Tensor:
        """Return derivatives of points (P, 3) by rotations and place, (P, 3, 79), 0 for the shape.

        moves: (P, 22), 1 where a joint turns a point.
        """
        arm = points[:, None] - joints[None]
        turning = -cross_matrix(arm) @ chain[None] * moves[..., None, None]  # (P, 22, 3, 3)
        slope = torch.zeros(len(points), 3, UNKNOWNS)
        slope[..., :TURNS] = turning.transpose(1, 2).flatten(2)
        slope[..., PLACE] = torch.eye(3)
        return slope

    def _shape_slopes(self, now: PlacedBody, chain: Tensor) -> tuple[Tensor, Tensor]:
        """Return the derivatives of joints and keypoints by betas, (22, 3, 10) and (K, 3, 10)."""
        rotations = now.rotations.expand(NUM_BETAS, -1, -1, -1)
        _, joints = self.body.forward_kinematics(rotations, self.joint_slope)
        turns = chain.expand(NUM_BETAS, -1, -1, -1)
        points = self.body.keypoints(turns, joints, self.offset_slope)
        return joints.permute(1, 2, 0), points.permute(1, 2, 0)

    def _covariance(self, now: PlacedBody, betas: Tensor, matrix: Tensor) -> Tensor:
        chain, joints, _ = self.posed(now, betas)
        slope = self._slopes(chain, joints, joints, self.joint_moves)
        slope[..., SHAPE] = self._shape_slopes(now, chain)[0]
        return slope @ torch.linalg.inv(matrix) @ slope.mT

    def _with_stature(self, shape: Shape, stature_m: float, precision: float) -> Shape:
        """Return a shape with the stature [m] that a view knows; precision: 1/m^2."""
        slope = self.size.per_beta
        total = shape.precision + precision * torch.outer(slope, slope)
        off_m = stature_m - self.size.stature(shape.betas)
        return Shape(shape.betas + torch.linalg.solve(total, precision * off_m * slope), total)

    def _learned(self, shape: Shape, prior: Shape, betas: Tensor, matrix: Tensor) -> Shape:
        """Return the estimate of the shape after an image, without the pose of that image.

        prior: with the stature known in that image, which every image repeats.
        """
        pose, between = matrix[: TURNS + 3, : TURNS + 3], matrix[: TURNS + 3, SHAPE]
        alone = matrix[SHAPE, SHAPE] - between.mT @ torch.linalg.solve(pose, between)
        new = alone - prior.precision
        return Shape(betas, shape.precision + NEW_SHARE * (new + new.mT) / 2)


def beginning(views: ViewTerm) -> PlacedBody:
    """Return a body to start from: the pose of the view that sees most, at the mean place."""
    most = int(views.weight.sum(1).argmax())
    total = views.place_precision.sum(0)
    weighted = (views.place_precision @ views.network.translation[..., None])[..., 0].sum(0)
    place = torch.linalg.solve(total, weighted)
    return PlacedBody(views.network.rotations[most : most + 1], place[None])


def first_shape(views: ViewTerm) -> Shape:
    """Return a new person's shape: the mean of the networks', by how well each knows the size."""
    sight = views.network.translation + (views.rotation.mT @ views.translation[..., None])[..., 0]
    known = torch.einsum("ci,cij,cj->c", sight, views.place_precision, sight)
    return Shape(known / known.sum() @ views.betas, torch.eye(NUM_BETAS) / SHAPE_SPREAD**2)
