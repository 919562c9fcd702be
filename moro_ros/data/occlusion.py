"""Simulated noise of the keypoint detector and occluders, for training and benchmark."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from moro_ros.network.inputs import PersonBoxes
from moro_ros.types import KEYPOINTS

NAMES = tuple(KEYPOINTS)
MIRRORED_KEYPOINTS = tuple(
    NAMES.index(name.replace("left", "right") if "left" in name else name.replace("right", "left"))
    for name in NAMES
)
HIPS = (NAMES.index("left_hip"), NAMES.index("right_hip"))
LIMBS: tuple[tuple[int, ...], ...] = (
    tuple(NAMES.index(n) for n in ("left_elbow", "left_wrist")),
    tuple(NAMES.index(n) for n in ("right_elbow", "right_wrist")),
    tuple(NAMES.index(n) for n in ("left_knee", "left_ankle", "left_heel", "left_foot_index")),
    tuple(NAMES.index(n) for n in ("right_knee", "right_ankle", "right_heel", "right_foot_index")),
    tuple(NAMES.index(n) for n in ("nose", "left_ear", "right_ear")),
)


@dataclass(frozen=True, slots=True)
class ObservationNoise:
    """Errors of a keypoint detector; lengths are fractions of the person's padded box side.

    The defaults follow BlazePose as measured against a four-view triangulation (docs/training.md).

    definition_m: constant offset per window between the detector's idea of a point and ours [m].
    fast_min, fast_max: white noise from frame to frame, its size drawn per keypoint and window.
    heavy: share of points whose white noise is three times as large. slow: noise that drifts over
    about 4 frames. outliers, outlier_size: share and size of gross errors. swaps: share of
    windows with a burst of 1 to 8 frames in which left and right are swapped. dropouts: share
    of seen points reported unseen. ghosts: share of hidden points reported seen, with an offset
    of ghost_size. occlusion: share of windows with an occluder. guesses: share of windows in which
    unseen hips, behind a table or below the image, are reported as seen; guess_size: their offset.
    """

    definition_m: float = 0.022
    fast_min: float = 0.002
    fast_max: float = 0.007
    heavy: float = 0.05
    slow: float = 0.013
    outliers: float = 0.004
    outlier_size: float = 0.1
    swaps: float = 0.12
    dropouts: float = 0.03
    ghosts: float = 0.1
    ghost_size: float = 0.045
    occlusion: float = 0.75
    guesses: float = 0.0
    guess_size: float = 0.06

    def scores(
        self,
        points: Tensor,
        size: Tensor,
        visible: Tensor,
        inside: Tensor,
        rng: np.random.Generator,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return points, seen, visibility and presence in a simulated report of the detector.

        points: (B, F, K, 2); size: (B, F); visible, inside: (B, F, K) bool.
        """
        shape = tuple(visible.shape)
        draw = torch.from_numpy(rng.random((4, *shape))).float()
        lost = draw[0] < self.dropouts
        # A ghost persists for the whole window of one keypoint, because such errors are persistent.
        ghost = torch.from_numpy(rng.random((shape[0], 1, shape[2]))) < self.ghosts
        ghost = ghost & ~visible & inside
        if self.guesses:
            guessing = torch.from_numpy(rng.random((shape[0], 1, 1)) < self.guesses)
            hips = torch.zeros(shape[2], dtype=torch.bool)
            hips[list(HIPS)] = True
            guessed = guessing & hips & ~visible
            shift = torch.from_numpy(rng.normal(size=(shape[0], 1, shape[2], 2))).float()
            shift = shift * self.guess_size * size[..., None, None]
            points = torch.where(guessed[..., None], points + shift, points)
            ghost = ghost & ~guessed
            visible, lost = visible | guessed, lost & ~guessed
        offset = torch.from_numpy(rng.normal(size=(shape[0], 1, shape[2], 2))).float()
        offset = offset * self.ghost_size
        points = torch.where(ghost[..., None], points + offset * size[..., None, None], points)
        seen = (visible & ~lost) | ghost
        sure = torch.where(ghost, 0.5 + 0.35 * draw[1], 1.0 - 0.4 * draw[1].pow(4))
        visibility = torch.where(seen, sure, 0.45 * draw[2])
        presence = torch.where(inside, 0.8 + 0.2 * draw[3], 0.4 * draw[3])
        return points, seen, visibility, presence


CLEAN = ObservationNoise(
    definition_m=0.0,
    fast_min=0.0,
    fast_max=0.0,
    heavy=0.0,
    slow=0.0,
    outliers=0.0,
    swaps=0.0,
    dropouts=0.0,
    ghosts=0.0,
    occlusion=0.0,
)


def add_noise(
    points: Tensor, size: Tensor, noise: ObservationNoise, rng: np.random.Generator
) -> Tensor:
    """Return (B, F, K, 2) points with white and drifting noise, outliers and left-right swaps."""
    batch, frames, count, _ = points.shape

    def normal(*shape: int) -> Tensor:
        return torch.from_numpy(rng.normal(size=shape)).float()

    spread = noise.fast_min + (noise.fast_max - noise.fast_min) * torch.from_numpy(
        rng.random((batch, 1, count, 1))
    )
    tail = torch.from_numpy(rng.random((batch, frames, count, 1)) < noise.heavy)
    fast = normal(batch, frames, count, 2) * spread.float() * torch.where(tail, 3.0, 1.0)
    knots = normal(batch, count * 2, frames // 4 + 2)
    slow = interpolate(knots, size=frames, mode="linear", align_corners=True)
    slow = slow.unflatten(1, (count, 2)).permute(0, 3, 1, 2) * noise.slow
    gross = torch.from_numpy(rng.random((batch, frames, count, 1)) < noise.outliers)
    wrong = normal(batch, frames, count, 2) * noise.outlier_size
    total = fast + slow + torch.where(gross, wrong, torch.zeros(()))
    noisy = points + total * size[..., None, None]
    first = rng.integers(frames, size=(batch, 1))
    length = rng.integers(1, 9, size=(batch, 1)) * (rng.random((batch, 1)) < noise.swaps)
    time = np.arange(frames)[None]
    swap = torch.from_numpy((time >= first) & (time < first + length))[..., None, None]
    return torch.where(swap, noisy.index_select(2, torch.tensor(MIRRORED_KEYPOINTS)), noisy)


def hide_keypoints(
    points: Tensor, extent: PersonBoxes, noise: ObservationNoise, rng: np.random.Generator
) -> Tensor:
    """Return which keypoints (B, F, K) an occluder hides.

    Per window with probability `occlusion` one of: a box standing or moving through the image,
    furniture in front of the lower body, the whole person lost for up to 1.5 s, whole limbs lost
    for a while; a second occluder follows half as often.
    """
    batch, frames, count, _ = points.shape
    hidden = torch.zeros(batch, frames, count, dtype=torch.bool)
    for index in range(batch):
        if rng.random() >= noise.occlusion:
            continue
        for _ in range(2 if rng.random() < 0.33 else 1):
            kind = rng.choice(len(OCCLUDERS), p=OCCLUDER_SHARE)
            box = PersonBoxes(extent.center[index], extent.size[index])
            hidden[index] |= OCCLUDERS[kind](points[index], box, rng)
    return hidden


def interval(frames: int, shortest: int, rng: np.random.Generator) -> Tensor:
    """Return (F, 1) bool, True over a random run of frames."""
    length = int(rng.integers(min(shortest, frames), frames + 1))
    start = int(rng.integers(-length // 2, max(1, frames - length // 2)))
    time = torch.arange(frames)
    return ((time >= start) & (time < start + length))[:, None]


def passing_box(points: Tensor, box: PersonBoxes, rng: np.random.Generator) -> Tensor:
    """A rectangle, static in front of one keypoint or moving through, (F, K) bool."""
    frames, count, _ = points.shape
    middle, scale = frames // 2, float(box.size[frames // 2])
    center = points[middle, int(rng.integers(count))]
    center = center + torch.from_numpy(rng.normal(0, 0.1, 2)).float() * scale
    half = torch.from_numpy(rng.uniform(0.12, 0.55, 2)).float() * scale
    drift = torch.zeros(2)
    if rng.random() < 0.5:
        drift = torch.from_numpy(rng.normal(0, 0.03, 2)).float() * scale
    path = center + drift * (torch.arange(frames) - middle)[:, None]
    return ((points - path[:, None]).abs() < half).all(-1) & interval(frames, 8, rng)


def furniture(points: Tensor, box: PersonBoxes, rng: np.random.Generator) -> Tensor:
    """Everything below an edge is hidden (a table, a bed, a wheelchair's tray), (F, K) bool."""
    edge = (box.center[:, 1] + float(rng.uniform(-0.15, 0.35)) * box.size).median()
    slope = float(rng.normal(0, 0.15))
    height = points[..., 1] - slope * (points[..., 0] - box.center[:, None, 0])
    hidden = height > edge
    return hidden if rng.random() < 0.6 else hidden & interval(points.shape[0], 12, rng)


def lost_person(points: Tensor, box: PersonBoxes, rng: np.random.Generator) -> Tensor:
    """Nothing of the person is seen for 0.1 to 1.5 s, (F, K) bool."""
    frames = points.shape[0]
    length = int(rng.integers(3, 46))
    start = int(rng.integers(max(1, frames - min(length, frames - 4))))
    time = torch.arange(frames)[:, None]
    return ((time >= start) & (time < start + length)).expand(-1, points.shape[1])


def lost_limbs(points: Tensor, box: PersonBoxes, rng: np.random.Generator) -> Tensor:
    """Whole limbs are not seen for a while, (F, K) bool."""
    hidden = torch.zeros(points.shape[:2], dtype=torch.bool)
    for limb in LIMBS:
        if rng.random() < 0.4:
            hidden[:, list(limb)] |= interval(points.shape[0], 5, rng)
    return hidden


def one_side(points: Tensor, box: PersonBoxes, rng: np.random.Generator) -> Tensor:
    """The image's edge or a door frame cuts the person vertically, (F, K) bool."""
    edge = box.center[:, None, 0] + float(rng.uniform(-0.15, 0.15)) * box.size[:, None]
    hidden = points[..., 0] > edge if rng.random() < 0.5 else points[..., 0] < edge
    return hidden & interval(points.shape[0], 12, rng)


OCCLUDERS = (passing_box, furniture, lost_person, lost_limbs, one_side)
OCCLUDER_SHARE = (0.34, 0.22, 0.14, 0.22, 0.08)
