"""The loss terms of the open model: its rotation head and its trajectory in the person box."""

from __future__ import annotations

import torch
from torch import Tensor

from moro_ros.body.body_model import BodyModel
from moro_ros.network.decoder import DecoderOutput
from moro_ros.network.moro import FrameFeatures
from moro_ros.training.clips import TrainingClips, View

# Beyond this a difference in time tells nothing: without it, the first steps' wild positions would
# drown every other gradient.
LARGEST_STEP = 0.25  # m per frame


def distance(first: Tensor, second: Tensor, largest: float = 100.0) -> Tensor:
    """Return the mean Euclidean distance of points (..., 3) or (..., 2), each cut at `largest`."""
    return (first - second).norm(dim=-1).clamp(max=largest).mean()


def in_box_units(points: Tensor, view: View) -> Tensor:
    """Project camera-frame points (B, F, N, 3) into units of half the person box, (B, F, N, 2)."""
    plane = points[..., :2] / points[..., 2:].clamp_min(0.2)
    center, size = view.box[:, :, None, :2], view.box[:, :, None, 2:]
    return (plane - center) / (size / 2)


def posed_joints(output: DecoderOutput, body: BodyModel) -> tuple[Tensor, Tensor]:
    """Return the rotation head's joints (B, F, 22, 3) and keypoints (B, F, K, 3), pelvis at 0."""
    assert output.body_rotations is not None and output.betas is not None
    skeleton = body.skeleton(output.betas.mean(1))
    rotations = torch.cat([output.rotation[:, :, None], output.body_rotations], 2)
    chain, joints = body.forward_kinematics(rotations, skeleton.joints[:, None, :22])
    return joints, body.keypoints(chain, joints, skeleton.keypoint_offsets[:, None])


def box_trajectory_terms(
    output: DecoderOutput, features: FrameFeatures, clips: TrainingClips, view: View
) -> dict[str, Tensor]:
    """Return the terms on root rotation and position, final and coarse."""
    depth = clips.translation[..., 2].clamp_min(0.3)
    at = in_box_units(clips.translation[:, :, None], view)

    def log_depth(translation: Tensor) -> Tensor:
        return (translation[..., 2].clamp_min(0.1).log() - depth.log()).abs().clamp(max=2).mean()

    coarse_center = in_box_units(features.translation[:, :, None], view) - at
    return {
        "root_rotation": (output.rotation - clips.rotation).abs().mean(),
        "coarse_rotation": (features.rotation - clips.rotation).abs().mean(),
        "depth": log_depth(output.translation),
        "coarse_depth": log_depth(features.translation),
        "coarse_center": coarse_center.norm(dim=-1).clamp(max=2).mean(),
    }


def rotation_head_terms(
    output: DecoderOutput, clips: TrainingClips, view: View, body: BodyModel
) -> dict[str, Tensor]:
    """Return the terms on joints, their differences in time and their projections.

    Without true keypoints (View.keypoints) nothing is said of projections.
    """
    assert output.body_rotations is not None and output.betas is not None
    joints, keypoints = posed_joints(output, body)
    placed = joints + output.translation[:, :, None]
    terms = {
        "joints": distance(joints, clips.joints - clips.translation[:, :, None]),
        "betas": (output.betas - clips.betas[:, None]).abs().mean(),
        "body_rotation": (output.body_rotations - clips.body_rotations).abs().mean(),
    }
    if view.keypoints is not None:
        seen_at = in_box_units(keypoints + output.translation[:, :, None], view)
        true_at = in_box_units(view.keypoints, view)
        terms["reprojection"] = (seen_at - true_at).norm(dim=-1).clamp(max=2).mean()
    step, true_step = placed.diff(dim=1), clips.joints.diff(dim=1)
    if placed.shape[1] > 1:
        terms["velocity"] = distance(step, true_step, LARGEST_STEP)
    if placed.shape[1] > 2:
        terms["acceleration"] = distance(step.diff(dim=1), true_step.diff(dim=1), LARGEST_STEP)
    return terms
