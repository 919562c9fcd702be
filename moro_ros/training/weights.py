"""The weight of every loss term by name: a stage lists its terms, others are not computed.

Names without a prefix are of the rotation head and of the trajectory in the person box (the open
model); those that start with mesh_ are of joints regressed from the decoded mesh (the paper's
loss). coarse: the image encoder's own pose; final: the decoder's; rel: the motion encoder's clean
trajectory, integrated from the true first frame.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class TermWeights:
    """Weight of each term; distances in metres, speeds in metres per frame unless said otherwise.

    tokens: cross-entropy over masked tokens; clean_trajectory: squared error in deviations, and
    clean_trajectory_cut, the same cut at 5 deviations; mesh: local vertices; contact:
    cross-entropy; skating: speed [m/s] of feet that stand.
    """

    tokens: float = 0.0
    clean_trajectory: float = 0.0
    clean_trajectory_cut: float = 0.0
    mesh: float = 0.0
    contact: float = 0.0
    coarse_rotation_squared: float = 0.0
    final_rotation_squared: float = 0.0
    coarse_translation_squared: float = 0.0
    final_translation_squared: float = 0.0
    mesh_joints_rel: float = 0.0
    mesh_joints_coarse: float = 0.0
    mesh_joints_final: float = 0.0
    mesh_steps_rel: float = 0.0
    mesh_steps_coarse: float = 0.0
    mesh_steps_final: float = 0.0
    mesh_acceleration_rel: float = 0.0
    mesh_acceleration_coarse: float = 0.0
    mesh_acceleration_final: float = 0.0
    mesh_plane_coarse: float = 0.0
    mesh_plane_final: float = 0.0
    mesh_plane_weak: float = 0.0
    mesh_skating_rel: float = 0.0
    mesh_skating_coarse: float = 0.0
    mesh_skating_final: float = 0.0
    joints: float = 0.0
    body_rotation: float = 0.0
    root_rotation: float = 0.0
    coarse_rotation: float = 0.0
    depth: float = 0.0
    coarse_depth: float = 0.0
    reprojection: float = 0.0
    coarse_center: float = 0.0
    velocity: float = 0.0
    acceleration: float = 0.0
    betas: float = 0.0
    coarse_joints: float = 0.0
    coarse_keypoints: float = 0.0
    coarse_body_rotation: float = 0.0
    coarse_reprojection: float = 0.0
    coarse_betas: float = 0.0
    keypoints: float = 0.0

    def used(self) -> frozenset[str]:
        """Names of the weighted terms."""
        return frozenset(
            item.name for item in dataclasses.fields(self) if getattr(self, item.name) != 0.0
        )

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """Return the weighted sum of terms."""
        return torch.stack([getattr(self, name) * value for name, value in terms.items()]).sum()
