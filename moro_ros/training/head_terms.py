"""The loss terms of the open model: tokens, rotation head, trajectory in the person box."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from moro_ros.body.body_model import BodyModel
from moro_ros.geometry.rotation import rotation_6d_to_matrix
from moro_ros.network.decoder import DecoderOutput
from moro_ros.network.estimate import ESTIMATE, ROTATIONS, betas_of
from moro_ros.network.moro import FrameFeatures
from moro_ros.training.clips import TrainingClips, View
from moro_ros.training.mesh_terms import Pose


def near_codes(codebook: Tensor, spread: float) -> Tensor:
    """Return the target share of each code, (C, C): row = true code, rows sum to one.

    A Gaussian of the distance between codes (C, code width) whose deviation is `spread` times the
    mean distance of a code to its nearest: a code next to the true one is a small error.
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


# Limit of differences in time: without it, the wrong positions of the first steps would dominate
# every other gradient.
LARGEST_STEP = 0.25  # m per frame


def distance(first: Tensor, second: Tensor, largest: float = 100.0) -> Tensor:
    """Return the mean Euclidean distance of points (..., 3) or (..., 2), clamped at `largest`."""
    return (first - second).norm(dim=-1).clamp(max=largest).mean()


def in_box_units(points: Tensor, view: View) -> Tensor:
    """Project camera-frame points (B, F, N, 3) into units of half the person box, (B, F, N, 2)."""
    plane = points[..., :2] / points[..., 2:].clamp_min(0.2)
    center, size = view.box[:, :, None, :2], view.box[:, :, None, 2:]
    return (plane - center) / (size / 2)


def posed_joints(
    rotation: Tensor, body_rotations: Tensor, betas: Tensor, body: BodyModel
) -> tuple[Tensor, Tensor]:
    """Return joints (B, F, 22, 3) and keypoints (B, F, K, 3) m, the pelvis at 0.

    rotation: (B, F, 3, 3); body_rotations: (B, F, 21, 3, 3); betas: (B, F or 1, 10).
    """
    skeleton = body.skeleton(betas.flatten(0, 1))
    shape = betas.shape[:2]
    joints, offsets = (
        part.unflatten(0, shape) for part in (skeleton.joints[:, :22], skeleton.keypoint_offsets)
    )
    rotations = torch.cat([rotation[:, :, None], body_rotations], 2)
    chain, joints = body.forward_kinematics(rotations, joints)
    return joints, body.keypoints(chain, joints, offsets)


def log_depth_term(translation: Tensor, truth: Tensor) -> Tensor:
    """Return the mean error of the logarithm of the depth of (B, F, 3) m."""
    depth = truth[..., 2].clamp_min(0.3)
    return (translation[..., 2].clamp_min(0.1).log() - depth.log()).abs().clamp(max=2).mean()


def coarse_pose_terms(features: FrameFeatures, truth: Pose, view: View) -> dict[str, Tensor]:
    """Return the terms on the image encoder's root rotation and position."""
    at = in_box_units(truth.translation[:, :, None], view)
    center = in_box_units(features.translation[:, :, None], view) - at
    return {
        "coarse_rotation": (features.rotation - truth.rotation).abs().mean(),
        "coarse_depth": log_depth_term(features.translation, truth.translation),
        "coarse_center": center.norm(dim=-1).clamp(max=2).mean(),
    }


def box_trajectory_terms(
    output: DecoderOutput, features: FrameFeatures, clips: TrainingClips, view: View
) -> dict[str, Tensor]:
    """Return the terms on root rotation and position, final and coarse."""
    truth = Pose(clips.rotation, clips.translation)
    return {
        "root_rotation": (output.rotation - clips.rotation).abs().mean(),
        "depth": log_depth_term(output.translation, clips.translation),
        **coarse_pose_terms(features, truth, view),
    }


def frame_estimate_terms(
    features: FrameFeatures, scale_betas: Tensor, clips: TrainingClips, view: View, body: BodyModel
) -> dict[str, Tensor]:
    """Return the terms on the bodies that the image encoder estimates from single frames."""
    numbers = features.image_tokens[:, :, -1, :ESTIMATE].float()
    body_rotations = rotation_6d_to_matrix(numbers[..., :ROTATIONS].unflatten(-1, (-1, 6)))
    betas = betas_of(numbers[..., ROTATIONS:], scale_betas)
    joints, keypoints = posed_joints(features.rotation, body_rotations, betas, body)
    terms = {
        "joints": distance(joints, clips.joints - clips.translation[:, :, None]),
        "body_rotation": (body_rotations - clips.body_rotations).abs().mean(),
        "betas": (betas - clips.betas[:, None]).abs().mean(),
    }
    terms.update(keypoint_terms(keypoints, features.translation, clips, view))
    return {f"coarse_{name}": value for name, value in terms.items()}


def keypoint_terms(
    keypoints: Tensor, translation: Tensor, clips: TrainingClips, view: View
) -> dict[str, Tensor]:
    """Return the terms on keypoints (B, F, K, 3) m about the pelvis, and on their projections.

    Nothing without true keypoints (View.keypoints).
    """
    if view.keypoints is None:
        return {}
    seen_at = in_box_units(keypoints + translation[:, :, None], view)
    true_at = in_box_units(view.keypoints, view)
    return {
        "keypoints": distance(keypoints, view.keypoints - clips.translation[:, :, None]),
        "reprojection": (seen_at - true_at).norm(dim=-1).clamp(max=2).mean(),
    }


def rotation_head_terms(
    output: DecoderOutput, clips: TrainingClips, view: View, body: BodyModel
) -> dict[str, Tensor]:
    """Return the terms on joints, their differences in time and their projections."""
    assert output.body_rotations is not None and output.betas is not None
    betas = output.betas.mean(1, keepdim=True)
    joints, keypoints = posed_joints(output.rotation, output.body_rotations, betas, body)
    placed = joints + output.translation[:, :, None]
    terms = {
        "joints": distance(joints, clips.joints - clips.translation[:, :, None]),
        "betas": (output.betas - clips.betas[:, None]).abs().mean(),
        "body_rotation": (output.body_rotations - clips.body_rotations).abs().mean(),
        **keypoint_terms(keypoints, output.translation, clips, view),
    }
    step, true_step = placed.diff(dim=1), clips.joints.diff(dim=1)
    if placed.shape[1] > 1:
        terms["velocity"] = distance(step, true_step, LARGEST_STEP)
    if placed.shape[1] > 2:
        terms["acceleration"] = distance(step.diff(dim=1), true_step.diff(dim=1), LARGEST_STEP)
    return terms
