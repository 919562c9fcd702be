"""Move a recovered body onto the seen keypoints, at the network's depth.

The network estimates pose and depth from the whole window, while the image gives the exact
direction of the body now. Depth is not changed: one frame's keypoints determine it far less well,
and changing it frame by frame shakes the body along the line of sight (docs/training.md).
"""

from __future__ import annotations

import torch
from torch import Tensor

# The network's own position has the weight of this many seen keypoints.
NETWORK_WEIGHT = 1.0
# A keypoint farther off than this share of the box has proportionally less weight (Huber).
ROBUST = 0.1
ROUNDS = 2


def align_sideways(
    body_points: Tensor, points: Tensor, weight: Tensor, translation: Tensor, box_size: Tensor
) -> Tensor:
    """Return the pelvis position (..., 3) m, moved across the line of sight to the keypoints.

    body_points: (..., K, 3) m, the body's keypoints in camera axes relative to the pelvis;
    points: (..., K, 2) seen keypoints on the normalised image plane; weight: (..., K), zero for
    unseen ones; translation: (..., 3) m, the network's pelvis; box_size: (...,) side of the
    person box on the normalised plane. Without a seen keypoint the network's position stays.
    """
    placed = body_points + translation[..., None, :]
    gap = points * placed[..., 2:] - placed[..., :2]  # (..., K, 2) m at the keypoint's depth
    scale = ROBUST * box_size * translation[..., 2]  # (...,) m
    shift = torch.zeros_like(translation[..., :2])
    for _ in range(ROUNDS):
        off = (gap - shift[..., None, :]).norm(dim=-1) / scale[..., None]
        used = weight / off.clamp_min(1.0)  # (..., K)
        total = used.sum(-1, keepdim=True) + NETWORK_WEIGHT
        shift = (used[..., None] * gap).sum(-2) / total
    return torch.cat([translation[..., :2] + shift, translation[..., 2:]], -1)
