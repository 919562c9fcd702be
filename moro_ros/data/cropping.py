"""Extreme crops: only a part of the body is in the image, as in the published training.

A crop mode keeps some points of the body; the box around them replaces the person's. For networks
that use pixels the box is the crop; for those that use keypoints, points outside of it are unseen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from moro_ros.network.inputs import PersonBoxes
from moro_ros.types import KEYPOINTS, Camera

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


def seen_in(boxes: np.ndarray, points_px: np.ndarray) -> np.ndarray:
    """Return which points (F, N, 2 or 3) are in their frame's box (F, 3), (F, N) bool."""
    offset = np.abs(points_px[..., :2] - boxes[:, None, :2])
    return np.asarray((offset <= boxes[:, None, 2:] / 2).all(-1))


def crop_image(image: np.ndarray, box: np.ndarray, camera: Camera) -> tuple[np.ndarray, Camera]:
    """Crop an image and its camera to a box, and return both.

    image: (H, W, 3) uint8; box: (3,) centre and side, px, clipped to the image. The principal point
    is moved too, so that rays do not change.
    """
    half = float(box[2]) / 2
    left, top = (int(np.clip(np.floor(c - half), 0, n - 1)) for c, n in _axes(box, camera))
    right, bottom = (int(np.clip(np.ceil(c + half), 1, n)) for c, n in _axes(box, camera))
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    matrix = np.array(camera.matrix, np.float64)
    matrix[:2, 2] -= (left, top)
    cropped = replace(camera, matrix=matrix, width=right - left, height=bottom - top)
    return np.ascontiguousarray(image[top:bottom, left:right]), cropped


def _axes(box: np.ndarray, camera: Camera) -> tuple[tuple[float, int], tuple[float, int]]:
    """Return the box's centre and the image's size along x and y."""
    return (float(box[0]), camera.width), (float(box[1]), camera.height)


def tight_crop(points: Tensor, box: PersonBoxes, rng: np.random.Generator) -> Tensor:
    """Hide points outside of a part of the body for a while, (F, K) bool.

    An occluder of keypoints as in data/occlusion.py. points: (F, K, 2) of types.KEYPOINTS on any
    plane; box: of the person, (F,); the box around the part is static, like an image's edge.
    """
    frames = points.shape[0]
    mode = draw_mode(rng)
    kept = torch.from_numpy(kept_points(tuple(KEYPOINTS), mode))
    length = max(1, round(float(rng.uniform(SHORTEST_SHARE, 1.0)) * frames))
    start = int(rng.integers(frames - length + 1))
    part = points[start : start + length, kept]
    middle = part[length // 2]
    low, high = middle.amin(0), middle.amax(0)
    half = 0.5 * PADDING * mode.factor * (high - low).max().clamp_min(0.05 * float(box.size.mean()))
    outside = ((points - (low + high) / 2).abs() > half).any(-1)
    time = torch.arange(frames)
    return outside & ((time >= start) & (time < start + length))[:, None]
