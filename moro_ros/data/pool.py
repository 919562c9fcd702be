"""A pool of motion windows with their shapes and mesh tokens, computed once and reused.

Cameras, noise and occluders are drawn for every batch (synthesis.py). Augmentation of the motion,
shape and tokens, which do not depend on them, are computed once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from moro_ros.body.body_model import BodyModel
from moro_ros.data.mocap import MotionSet, MotionWindows, mirror, recombine
from moro_ros.data.variation import seat, vary
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.network.tokenizer import MeshTokenizer


@dataclass(frozen=True, slots=True)
class WindowPool:
    """windows of (N, F) frames; betas (N, 10); token_ids (N, F, T) int64."""

    windows: MotionWindows
    betas: Tensor
    token_ids: Tensor

    def to(self, device: torch.device) -> WindowPool:
        """Return the pool on another device."""
        windows = MotionWindows(
            self.windows.rotations.to(device), self.windows.translation.to(device)
        )
        return WindowPool(windows, self.betas.to(device), self.token_ids.to(device))

    def draw(
        self, count: int, frames: int, rng: np.random.Generator
    ) -> tuple[MotionWindows, Tensor, Tensor]:
        """Return windows cut to `frames`, their betas and token ids."""
        total, length = self.token_ids.shape[:2]
        chosen = torch.from_numpy(rng.integers(total, size=count))
        first = int(rng.integers(length - frames + 1))
        part = slice(first, first + frames)
        windows = MotionWindows(
            self.windows.rotations[chosen][:, part], self.windows.translation[chosen][:, part]
        )
        return windows, self.betas[chosen], self.token_ids[chosen][:, part]


def augment(windows: MotionWindows, rng: np.random.Generator) -> MotionWindows:
    """Mirror half of the windows and give a fifth of them another one's upper body."""
    batch = windows.translation.shape[0]
    windows = mirror(windows, torch.from_numpy(rng.random(batch) < 0.5))
    partner = torch.from_numpy(rng.permutation(batch))
    return recombine(windows, partner, torch.from_numpy(rng.random(batch) < 0.2))


def tokenise(
    windows: MotionWindows, betas: Tensor, body: BodyModel, tokenizer: MeshTokenizer
) -> Tensor:
    """Return the token ids (B, F, T) of windows; body's vertices must be the tokenizer's."""
    frames = windows.rotations.shape[1]
    rows = []
    with torch.no_grad():
        for rotations, shape in zip(windows.rotations, betas, strict=True):
            body_rotations = rotvec_to_matrix(rotations[:, 1:])
            mesh = body.local_mesh(body_rotations, shape.expand(frames, -1))
            rows.append(tokenizer.encode(mesh))
    return torch.stack(rows)


def build_pool(
    motion: MotionSet,
    count: int,
    frames: int,
    body: BodyModel,
    tokenizer: MeshTokenizer,
    rng: np.random.Generator,
    *,
    varied: float = 0.0,
    seated: float = 0.0,
) -> WindowPool:
    """Draw, augment and tokenise `count` windows of `frames` frames.

    varied: share of the windows with random postures; seated: share of all windows, varied ones
    included, that sit or lie (data/variation.py).
    """
    windows = augment(motion.draw(count, frames, rng), rng)
    if varied > 0.0:
        chosen = torch.from_numpy(rng.random(count) < varied)
        windows = vary(windows, chosen, body, rng)
    if seated > 0.0:
        windows = seat(windows, torch.from_numpy(rng.random(count) < seated), body, rng)
    betas = torch.from_numpy(rng.normal(size=(count, 10))).float()
    return WindowPool(windows, betas, tokenise(windows, betas, body, tokenizer))


def save_pool(pool: WindowPool, path: Path) -> None:
    """Write a pool, so that a resumed run uses the same one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {
        "rotations": pool.windows.rotations,
        "translation": pool.windows.translation,
        "betas": pool.betas,
        "token_ids": pool.token_ids,
    }
    torch.save(arrays, path)


def load_pool(path: Path) -> WindowPool:
    """Read a pool of save_pool."""
    arrays = torch.load(path, weights_only=True)
    windows = MotionWindows(arrays["rotations"], arrays["translation"])
    return WindowPool(windows, arrays["betas"], arrays["token_ids"])
