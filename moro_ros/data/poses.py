"""Random single bodies for the tokenizer: open poses, mixed limbs, joint noise, random shapes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from moro_ros.body.topology import MIRRORED_JOINTS
from moro_ros.data.mocap import CATEGORY_WEIGHT, MotionSet
from moro_ros.geometry.rotation import rotvec_to_matrix

# Groups of joints 1..21 that are swapped between poses together.
LIMB_GROUPS: tuple[tuple[int, ...], ...] = (
    (1, 4, 7, 10),
    (2, 5, 8, 11),
    (3, 6, 9),
    (12, 15),
    (13, 16, 18, 20),
    (14, 17, 19, 21),
)


class PoseSampler:
    """Draws single poses from a motion set."""

    def __init__(self, motion: MotionSet) -> None:
        frames, weight = [], []
        for start, length, category in zip(
            motion.starts, motion.lengths, motion.categories, strict=True
        ):
            frames.append(np.arange(start, start + length))
            weight.append(np.full(length, CATEGORY_WEIGHT.get(str(category), 1.0)))
        self.poses = torch.from_numpy(motion.rotations[np.concatenate(frames)][:, 1:])
        share = np.concatenate(weight)
        self.cumulative = np.cumsum(share / share.sum())

    def draw(self, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return body rotations (count, 21, 3, 3) and betas (count, 10)."""

        def some() -> Tensor:
            rows = np.searchsorted(self.cumulative, rng.random(count))
            return self.poses[rows.clip(0, len(self.poses) - 1)]

        pose = some()
        flip = torch.from_numpy(rng.random(count) < 0.5)[:, None, None]
        order = torch.tensor(MIRRORED_JOINTS[1:]) - 1
        swapped = pose.index_select(1, order) * torch.tensor([1.0, -1.0, -1.0])
        pose = torch.where(flip, swapped, pose)
        for group in LIMB_GROUPS:
            joints = torch.zeros(21, dtype=torch.bool)
            joints[[j - 1 for j in group]] = True
            take = torch.from_numpy(rng.random(count) < 0.2)[:, None, None] & joints[:, None]
            pose = torch.where(take, some(), pose)
        noisy = torch.from_numpy(rng.random((count, 21, 1)) < 0.15)
        pose = pose + torch.where(
            noisy, torch.from_numpy(rng.normal(0, 0.25, (count, 21, 3))).float(), torch.zeros(())
        )
        betas = torch.from_numpy(rng.normal(size=(count, 10))).float()
        return rotvec_to_matrix(pose), betas
