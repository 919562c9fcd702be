"""The losses of the open model's training: plain functions of predictions and truth.

The list is the paper's (spec 7.4) - tokens, local mesh, trajectory, joints, joint differences, 2D,
contact - with the rotation head's own terms added; weights are gathered in LossWeights.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from moro_ros.body.body_model import BodyModel
from moro_ros.body.topology import CONTACT_JOINTS
from moro_ros.data.synthesis import CameraMotion, ObservedMotion
from moro_ros.network.decoder import DecoderOutput
from moro_ros.network.moro import FrameFeatures

CONTACT_SPEED = 0.3  # m/s, spec 7.4


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Weight of each term; distances are in metres."""

    tokens: float = 0.3
    mesh: float = 5.0
    joints: float = 6.0
    body_rotation: float = 2.0
    root_rotation: float = 2.0
    coarse_rotation: float = 1.0
    depth: float = 2.0
    coarse_depth: float = 1.0
    reprojection: float = 2.0
    coarse_center: float = 1.0
    velocity: float = 10.0
    acceleration: float = 20.0
    betas: float = 0.05
    contact: float = 0.1
    clean_trajectory: float = 0.02


# Beyond this a difference in time tells nothing: without it, the first steps' wild positions would
# drown every other gradient.
LARGEST_STEP = 0.25  # m per frame


def distance(first: Tensor, second: Tensor, largest: float = 100.0) -> Tensor:
    """Return the mean Euclidean distance of points (..., 3) or (..., 2), each cut at `largest`."""
    return (first - second).norm(dim=-1).clamp(max=largest).mean()


def in_box_units(points: Tensor, observed: ObservedMotion) -> Tensor:
    """Project camera-frame points (B, F, N, 3) into units of half the person box, (B, F, N, 2)."""
    plane = points[..., :2] / points[..., 2:].clamp_min(0.2)
    center = observed.boxes.center[:, :, None]
    return (plane - center) / (observed.boxes.size[:, :, None, None] / 2)


def posed_joints(output: DecoderOutput, body: BodyModel) -> tuple[Tensor, Tensor]:
    """Return the rotation head's joints (B, F, 22, 3) and keypoints (B, F, K, 3), pelvis at 0."""
    assert output.body_rotations is not None and output.betas is not None
    skeleton = body.skeleton(output.betas.mean(1))
    rotations = torch.cat([output.rotation[:, :, None], output.body_rotations], 2)
    chain, joints = body.forward_kinematics(rotations, skeleton.joints[:, None, :22])
    return joints, body.keypoints(chain, joints, skeleton.keypoint_offsets[:, None])


def contact_labels(joints: Tensor, fps: float) -> Tensor:
    """Return ground contact (B, F - 1, 4): joints slower than 0.3 m/s (static camera)."""
    feet = joints[:, :, list(CONTACT_JOINTS)]
    return ((feet[:, 1:] - feet[:, :-1]).norm(dim=-1) * fps < CONTACT_SPEED).float()


def trajectory_terms(
    output: DecoderOutput, features: FrameFeatures, observed: ObservedMotion
) -> dict[str, Tensor]:
    """Return the terms on root rotation and position, final and coarse."""
    truth = observed.truth
    depth = truth.translation[..., 2].clamp_min(0.3)
    pelvis = truth.translation[:, :, None]
    half = in_box_units(pelvis, observed)

    def log_depth(translation: Tensor) -> Tensor:
        return (translation[..., 2].clamp_min(0.1).log() - depth.log()).abs().clamp(max=2).mean()

    coarse_center = in_box_units(features.translation[:, :, None], observed) - half
    return {
        "root_rotation": (output.rotation - truth.rotation).abs().mean(),
        "coarse_rotation": (features.rotation - truth.rotation).abs().mean(),
        "depth": log_depth(output.translation),
        "coarse_depth": log_depth(features.translation),
        "coarse_center": coarse_center.norm(dim=-1).clamp(max=2).mean(),
    }


def motion_terms(
    output: DecoderOutput, observed: ObservedMotion, body: BodyModel, fps: float
) -> dict[str, Tensor]:
    """Return the terms on joints, their differences in time and their projections."""
    truth: CameraMotion = observed.truth
    root = truth.translation[:, :, None]
    joints, keypoints = posed_joints(output, body)
    true_joints = observed.joints
    placed = joints + output.translation[:, :, None]
    seen_at = in_box_units(keypoints + output.translation[:, :, None], observed)
    true_at = in_box_units(observed.keypoints, observed)
    step, true_step = placed.diff(dim=1), true_joints.diff(dim=1)
    terms = {
        "joints": distance(joints, true_joints - root),
        "reprojection": (seen_at - true_at).norm(dim=-1).clamp(max=2).mean(),
        "velocity": distance(step, true_step, LARGEST_STEP),
        "betas": (output.betas - truth.betas[:, None]).abs().mean(),  # type: ignore[operator]
        "body_rotation": (output.body_rotations - truth.body_rotations).abs().mean(),  # type: ignore[operator]
        "contact": binary_cross_entropy_with_logits(
            output.contact[:, :-1].float(), contact_labels(true_joints, fps)
        ),
    }
    if placed.shape[1] > 2:
        terms["acceleration"] = distance(step.diff(dim=1), true_step.diff(dim=1), LARGEST_STEP)
    return terms


def near_codes(codebook: Tensor, spread: float) -> Tensor:
    """Return what share of a token each code should get, (C, C): row = true code, rows sum to one.

    A Gaussian of the distance between codes (C, code width) whose deviation is `spread` times the
    mean distance of a code to its nearest: a code beside the true one is hardly a mistake.
    """
    gap = torch.cdist(codebook, codebook)
    nearest = gap.masked_fill(torch.eye(len(gap), dtype=torch.bool), torch.inf).amin(1).mean()
    return (-0.5 * (gap / (spread * nearest)) ** 2).softmax(-1)


def token_loss(
    logits: Tensor, labels: Tensor, masked: Tensor, near: Tensor | None = None
) -> Tensor:
    """Return the cross-entropy over masked tokens: logits (B, F, T, C), the rest (B, F, T).

    near: (C, C) shares of near_codes, or None for the true code alone.
    """
    target = labels.flatten() if near is None else near[labels.flatten()]
    each = cross_entropy(logits.float().flatten(0, 2), target, reduction="none")
    weight = masked.flatten().float()
    return (each * weight).sum() / weight.sum().clamp_min(1.0)


def weighted(terms: dict[str, Tensor], weights: LossWeights) -> Tensor:
    """Return the weighted sum of named terms."""
    return torch.stack([getattr(weights, name) * value for name, value in terms.items()]).sum()
