"""Inputs of one training pass: its seed, and clips with their truth from any source."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class View:
    """A camera's observation of B clips of F frames, and the person's place in its image.

    observation: (B, F, ...), see the network's image encoder; box: (B, F, 3) box condition;
    matrix: K (B, 3, 3), box_center: (B, F, 2) and box_side: (B, F), padding included, all in px of
    the full image, or on the normalised image plane with K the identity.
    keypoints: (B, F, K, 3) m camera frame, the true places of types.KEYPOINTS, or None.
    points_2d: (B, F, 17, 3) labelled points of Human3.6M's regressor: x and y in the box, whose
    corners are -1 and 1, and their confidence, or None.
    placed: (B,) bool, whether the true translation is known.
    """

    observation: Tensor
    box: Tensor
    matrix: Tensor
    box_center: Tensor
    box_side: Tensor
    placed: Tensor
    keypoints: Tensor | None = None
    points_2d: Tensor | None = None


@dataclass(frozen=True, slots=True)
class TrainingClips:
    """B clips of F frames: the truth, and a camera's observation, or None for motion alone.

    rotation: (B, F, 3, 3) global orientation and translation: (B, F, 3) m pelvis, in the camera
    frame, or in any frame at rest for motion alone; body_rotations: (B, F, 21, 3, 3) of joints 1 to
    21; betas: (B, 10); joints: (B, F, 22, 3) m, frame of the translation; contact: (B, F - 1, 4) 0
    or 1, left ankle, left toe, right ankle, right toe; mesh: (B, F, M, 3) m local mesh of the
    tokenizer's vertices, or None to pose the training's own body model; ids: (B, F, T) tokens of
    that mesh, or None to encode it; mesh_betas: (B, 10), of that mesh if its size differs from the
    body's, or None.
    """

    rotation: Tensor
    translation: Tensor
    body_rotations: Tensor
    betas: Tensor
    joints: Tensor
    contact: Tensor
    mesh: Tensor | None = None
    ids: Tensor | None = None
    view: View | None = None
    mesh_betas: Tensor | None = None

    def rows(self, chosen: Tensor) -> TrainingClips:
        """Return some of the clips, by their numbers."""
        found: TrainingClips = each_tensor(self, lambda value: value[chosen])
        return found

    @property
    def shape(self) -> tuple[int, int]:
        """Clips and frames, (B, F)."""
        return self.translation.shape[0], self.translation.shape[1]

    @property
    def device(self) -> torch.device:
        """The device of the tensors."""
        return self.translation.device


def moved(value: T, device: torch.device) -> T:
    """Return a dataclass of tensors, or of such dataclasses, on another device."""
    return each_tensor(value, lambda part: part.to(device, non_blocking=True))


def each_tensor(value: T, change: Callable[[Tensor], Tensor]) -> T:
    """Return a dataclass of tensors, or of such dataclasses, with every tensor changed."""
    if isinstance(value, Tensor):
        return change(value)  # type: ignore[return-value]
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    parts = {
        item.name: each_tensor(getattr(value, item.name), change)
        for item in dataclasses.fields(value)
    }
    return type(value)(**parts)


@dataclass(frozen=True, slots=True)
class Draw:
    """One pass: step and part (of the step's passes), seed of the stage, clips and their frames.

    All random numbers of a pass depend only on (seed of the stage, step, part), so a resumed run,
    and one with several processes, gives the same draws as an uninterrupted single one.
    """

    seed: int
    step: int
    part: int
    clips: int
    frames: int

    def rng(self, purpose: int) -> np.random.Generator:
        """Return the generator for one purpose, not shared with other passes or purposes."""
        return np.random.default_rng([self.seed, self.step, self.part, purpose])

    def torch_seed(self) -> int:
        """Return the seed of torch's own generators for this pass."""
        return int(self.rng(TORCH).integers(2**62))


DATA, MASKS, TORCH = range(3)
