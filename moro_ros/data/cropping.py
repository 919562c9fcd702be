"""Extreme crops: only a part of the body is in the image, as in the published training.

A crop mode keeps some points of the body; the box around them replaces the person's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PADDING = 1.2
SMALLEST_PX = 4.0  # minimum side of a useful box
JITTER = 0.1  # of the box's side, largest shift of its centre
SHORTEST_SHARE = 0.2  # of a clip's frames that are cropped, at least

FACE = ("nose", "left_eye", "right_eye", "left_ear", "right_ear", "head", "head_top", "jaw")
COLLARS = ("neck", "left_collar", "right_collar", "thorax")
SHOULDERS = ("left_shoulder", "right_shoulder")
SPINE = ("spine", "spine1", "spine2", "spine3")
HIPS = ("pelvis", "left_hip", "right_hip")


def side(name: str, *parts: str) -> tuple[str, ...]:
    """Return the names of parts of one side."""
    return tuple(f"{name}_{part}" for part in parts)


ARM = ("shoulder", "elbow", "wrist")
LEG = (
    "hip", "knee", "ankle", "heel", "foot", "foot_index", "big_toe", "small_toe",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CropMode:
    """A part of the body: the points kept, its share of draws, the growth of the box."""

    name: str
    keep: frozenset[str]
    share: float
    factor: float = 1.1


_UPPER = (*FACE, *COLLARS, *SHOULDERS)
_ARMS = (*side("left", *ARM), *side("right", *ARM))
_LEGS = ("pelvis", *side("left", *LEG), *side("right", *LEG))
MODES: tuple[CropMode, ...] = (
    CropMode("hips", frozenset((*_UPPER, *_ARMS, *SPINE, *HIPS)), 0.2),
    CropMode("shoulders", frozenset(_UPPER), 0.1, 1.2),
    CropMode("head", frozenset(_UPPER), 0.1, 1.3),
    CropMode("torso", frozenset((*COLLARS, *SHOULDERS, *SPINE, *HIPS)), 0.1),
    CropMode("right_arm", frozenset(side("right", *ARM)), 0.1),
    CropMode("left_arm", frozenset(side("left", *ARM)), 0.1),
    CropMode("legs", frozenset(_LEGS), 0.1),
    CropMode("right_leg", frozenset(side("right", *LEG)), 0.1),
    CropMode("left_leg", frozenset(side("left", *LEG)), 0.1),
)


def draw_mode(rng: np.random.Generator) -> CropMode:
    """Draw a crop mode by its share."""
    return MODES[int(rng.choice(len(MODES), p=[mode.share for mode in MODES]))]


def kept_points(names: Sequence[str], mode: CropMode) -> np.ndarray:
    """Return which of the named points (N,) a mode keeps, ignoring detectors' prefixes."""
    return np.array([name.removeprefix("openpose_") in mode.keep for name in names], bool)


def part_boxes(
    points: np.ndarray, names: Sequence[str], mode: CropMode
) -> tuple[np.ndarray, np.ndarray]:
    """Return the boxes (F, 3) around a part of the body, and whether there is one (F,).

    points: (F, N, 3) px with confidence. A box needs two points and a side of 4 px.
    """
    used = kept_points(names, mode) & (points[..., 2] > 0)
    low = np.where(used[..., None], points[..., :2], np.inf).min(1)
    high = np.where(used[..., None], points[..., :2], -np.inf).max(1)
    found = used.sum(1) >= 2
    low, high = (np.where(found[:, None], value, 0.0) for value in (low, high))
    length = (high - low).max(1)
    boxes = np.concatenate([(low + high) / 2, (PADDING * mode.factor * length)[:, None]], 1)
    return boxes.astype(np.float32), found & (length >= SMALLEST_PX)


def crop_boxes(
    boxes: np.ndarray,
    points: np.ndarray,
    names: Sequence[str],
    rng: np.random.Generator,
    probability: float = 0.2,
) -> np.ndarray:
    """Return a clip's boxes (F, 3), for a share of the clips those of a part of the body.

    boxes: (F, 3) centre and side, px; points: (F, N, 3) px with confidence. One mode per clip, in
    a random 20 to 100 % of its frames.
    """
    if rng.random() >= probability:
        return boxes
    partial, usable = part_boxes(points, names, draw_mode(rng))
    chosen = usable & (rng.random(len(boxes)) < rng.uniform(SHORTEST_SHARE, 1.0))
    return np.where(chosen[:, None], partial, boxes).astype(np.float32)


def jitter_boxes(
    boxes: np.ndarray, width: int, height: int, rng: np.random.Generator
) -> np.ndarray:
    """Shift the centres of boxes (F, 3) by up to a tenth of their side, within the image."""
    shift = np.clip(rng.normal(size=(len(boxes), 2)), -1, 1) * JITTER * boxes[:, 2:]
    center = np.clip(boxes[:, :2] + shift, 0, [width, height])
    return np.concatenate([center, boxes[:, 2:]], 1).astype(np.float32)
