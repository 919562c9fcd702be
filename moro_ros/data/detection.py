"""Simulated errors of a keypoint detector and occluders, on tensors, for training.

Real detectors have errors that the benchmark's noise (occlusion.py) does not have: they infer hips
behind a table and report them as seen, they jump to another person for a while, and they misplace
whole limbs. Lengths are fractions of the side of the person's box.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from moro_ros.data.dice import Dice
from moro_ros.data.occlusion import LIMBS, MIRRORED_KEYPOINTS, NAMES, ObservationNoise
from moro_ros.network.inputs import PersonBoxes

HIPS = tuple(NAMES.index(f"{side}_hip") for side in ("left", "right"))
SHOULDERS = tuple(NAMES.index(f"{side}_shoulder") for side in ("left", "right"))
LEGS = tuple(i for i, n in enumerate(NAMES) if n.endswith(("knee", "ankle", "heel", "foot_index")))
FEET = tuple(i for i, n in enumerate(NAMES) if n.endswith(("ankle", "heel", "foot_index")))
HEAD = LIMBS[4]
# Pairs of keypoints and the radius of the body between them; the trunk is wide.
BODY_PARTS = tuple(
    (NAMES.index(f"{side}_{first}"), NAMES.index(f"{other}_{second}"), radius)
    for first, second, radius in (
        ("shoulder", "elbow", 0.04), ("elbow", "wrist", 0.035), ("shoulder", "hip", 0.08),
        ("hip", "knee", 0.05), ("knee", "ankle", 0.04), ("ear", "ear", 0.08),
    )
    for side, other in (("left", "left"), ("right", "right"))
)  # fmt: skip
KNEES = tuple(NAMES.index(f"{side}_knee") for side in ("left", "right"))
# Share of clips with hidden hips that are reported as seen, and their error; share of these clips
# whose hidden knees are, too.
GUESS_SHARE, GUESS_SIZE, GUESS_DRIFT = 0.5, 0.05, 0.015
KNEE_SHARE = 0.25
# Share of clips with bursts of a misplaced limb, and its error; share of the bursts in which it is
# on another person.
JUMP_SHARE, JUMP_SIZE, JUMP_FRAMES = 0.1, 0.3, 12
JUMP_TO_OTHER = 0.5
SWAP_FRAMES = 8
# Share of tables that also hide arms below their edge.
ARMS_HIDDEN = 0.5
NOBODY_SHARE = 0.8
# A single frame stands for any frame of a clip: bursts are as rare as in time.
BURST_IN_TIME = 0.1


@dataclass(frozen=True, slots=True)
class Detections:
    """Points (B, F, K, 2), seen (B, F, K) bool, visibility and presence (B, F, K) in [0, 1]."""

    points: Tensor
    seen: Tensor
    visibility: Tensor
    presence: Tensor


@dataclass(frozen=True, slots=True)
class Detector:
    """Reports keypoints with the errors of `noise` and those of this module."""

    noise: ObservationNoise

    def detect(
        self,
        points: Tensor,
        in_front: Tensor,
        box: PersonBoxes,
        half_image: Tensor,
        dice: Dice,
        at_table: Tensor | None = None,
    ) -> Detections:
        """Return the report for true points (B, F, K, 2).

        in_front: (B, F, K) bool; box: (B, F), of all points; half_image: (B, 2); at_table: (B,)
        bool, clips in which everything below the chest is also hidden.
        """
        noise, shape = self.noise, tuple(in_front.shape)
        batch, frames, count = shape
        size = box.size[..., None, None]
        hidden = occluded(points, box, noise.occlusion, dice)
        if at_table is not None:
            hidden |= below_the_chest(points, box, dice) & at_table[:, None, None]
        noisy = points + self.errors(batch, frames, count, dice) * size
        noisy, jumped = self.jumps(noisy, box, dice)
        noisy = self.swapped(noisy, dice)
        inside = (noisy.abs() < half_image[:, None, None]).all(-1) & in_front
        visible = inside & ~hidden
        lost = dice.chance(*shape, share=noise.dropouts)
        ghost = dice.chance(batch, 1, count, share=noise.ghosts) & ~visible & inside
        off = dice.normal(batch, 1, count, 2) * noise.ghost_size
        guessed = self.guessed(visible, in_front, dice)
        drift = dice.knots(batch, frames, 2 * count).unflatten(-1, (count, 2))
        guess = dice.normal(batch, 1, count, 2) * GUESS_SIZE + drift * GUESS_DRIFT
        noisy = torch.where(guessed[..., None], noisy + guess * size, noisy)
        noisy = torch.where((ghost & ~guessed)[..., None], noisy + off * size, noisy)
        seen = (visible & ~lost) | ghost | guessed
        # If a whole person is hidden, detectors usually report no person.
        seen &= ~(hidden.all(-1, keepdim=True) & dice.chance(batch, 1, 1, share=NOBODY_SHARE))
        unsure = ghost | guessed | (jumped & dice.chance(*shape, share=0.5))
        draw = dice.uniform(*shape)
        sure = torch.where(unsure, 0.5 + 0.45 * draw, 1.0 - 0.4 * draw.pow(4))
        visibility = torch.where(seen, sure, 0.45 * dice.uniform(*shape))
        draw = dice.uniform(*shape)
        presence = torch.where(inside, 0.8 + 0.2 * draw, 0.4 * draw)
        return Detections(noisy, seen, visibility, presence)

    def errors(self, batch: int, frames: int, count: int, dice: Dice) -> Tensor:
        """Return white, drifting and gross errors, (B, F, K, 2)."""
        noise = self.noise
        spread = dice.uniform(batch, 1, count, 1, low=noise.fast_min, high=noise.fast_max)
        tail = dice.chance(batch, frames, count, 1, share=noise.heavy)
        fast = dice.normal(batch, frames, count, 2) * spread * (1.0 + 2.0 * tail)
        slow = dice.knots(batch, frames, 2 * count).unflatten(-1, (count, 2)) * noise.slow
        gross = dice.chance(batch, frames, count, 1, share=noise.outliers)
        return fast + slow + gross * dice.normal(batch, frames, count, 2) * noise.outlier_size

    def jumps(self, points: Tensor, box: PersonBoxes, dice: Dice) -> tuple[Tensor, Tensor]:
        """Displace one limb of some clips for a while; returns the points and which."""
        batch, frames, count = points.shape[:3]
        share = JUMP_SHARE if frames > 1 else JUMP_SHARE * BURST_IN_TIME
        limbs = torch.zeros(len(LIMBS), count, dtype=torch.bool, device=points.device)
        for number, members in enumerate(LIMBS):
            limbs[number, list(members)] = True
        limb = limbs[dice.integers(batch, below=len(LIMBS))]
        run = dice.runs(batch, frames, 1, JUMP_FRAMES) & dice.chance(batch, 1, share=share)
        jumped = run[..., None] & limb[:, None]
        astray = points + dice.normal(batch, 1, 1, 2) * JUMP_SIZE * box.size[..., None, None]
        to_other = dice.chance(batch, 1, 1, 1, share=JUMP_TO_OTHER)
        astray = torch.where(to_other, next_person(points, box, dice), astray)
        return torch.where(jumped[..., None], astray, points), jumped

    def swapped(self, points: Tensor, dice: Dice) -> Tensor:
        """Swap left and right of some clips for a while."""
        batch, frames = points.shape[:2]
        share = self.noise.swaps if frames > 1 else self.noise.swaps * BURST_IN_TIME
        run = dice.runs(batch, frames, 1, SWAP_FRAMES) & dice.chance(batch, 1, share=share)
        other = points.index_select(2, torch.tensor(MIRRORED_KEYPOINTS, device=points.device))
        return torch.where(run[..., None, None], other, points)

    def guessed(self, visible: Tensor, in_front: Tensor, dice: Dice) -> Tensor:
        """Return which hidden hips and knees are reported at inferred positions, (B, F, K)."""
        batch = len(visible)
        hips = ~visible[..., list(HIPS)]
        knees = hips.all(-1, keepdim=True) & dice.chance(batch, 1, 1, share=KNEE_SHARE)
        guessed = torch.zeros_like(visible)
        guessed[..., list(HIPS)] = hips
        guessed[..., list(KNEES)] = knees & ~visible[..., list(KNEES)]
        shoulders = visible[..., list(SHOULDERS)].all(-1, keepdim=True)
        return guessed & in_front & shoulders & dice.chance(batch, 1, 1, share=GUESS_SHARE)


def occluded(points: Tensor, box: PersonBoxes, share: float, dice: Dice) -> Tensor:
    """Return which keypoints (B, F, K) are occluded, in a share of the clips.

    A second occluder is half as frequent.
    """
    batch, frames, count = points.shape[:3]
    hidden = torch.zeros(batch, frames, count, dtype=torch.bool, device=points.device)
    for part in (share, share * 0.3):
        chosen = dice.chance(batch, share=part)
        kind = dice.choices(batch, OCCLUDER_SHARE)
        for number, occluder in enumerate(OCCLUDERS):
            rows = (chosen & (kind == number)).nonzero()[:, 0]
            if len(rows):
                some = PersonBoxes(box.center[rows], box.size[rows])
                hidden[rows] |= occluder(points[rows], some, dice)
    return hidden


def for_a_while(points: Tensor, shortest: int, dice: Dice, always: float = 0.0) -> Tensor:
    """Return (B, F, 1) bool, True over a run of frames, or over all in a share `always`."""
    batch, frames = points.shape[:2]
    run = dice.runs(batch, frames, shortest, frames)
    return (run | dice.chance(batch, 1, share=always))[..., None]


def passing_box(points: Tensor, box: PersonBoxes, dice: Dice) -> Tensor:
    """A rectangle in front of one keypoint, static or moving through."""
    batch, frames, count = points.shape[:3]
    middle = frames // 2
    scale = box.size[:, middle, None]
    rows = torch.arange(batch, device=points.device)
    center = points[rows, middle, dice.integers(batch, below=count)]
    center = center + 0.1 * dice.normal(batch, 2) * scale
    half = dice.uniform(batch, 2, low=0.12, high=0.55) * scale
    drift = 0.03 * dice.normal(batch, 2) * scale * dice.chance(batch, 1, share=0.5)
    time = torch.arange(frames, device=points.device) - middle
    path = center[:, None] + drift[:, None] * time[:, None]  # (B, F, 2)
    within = ((points - path[:, :, None]).abs() < half[:, None, None]).all(-1)
    return within & for_a_while(points, 8, dice)


def furniture(points: Tensor, box: PersonBoxes, dice: Dice) -> Tensor:
    """Everything below an edge: a table, a counter, a bed, a wheelchair's tray."""
    batch = len(points)
    edge = (box.center[..., 1] + dice.uniform(batch, 1, low=-0.2, high=0.35) * box.size).mean(1)
    slope = 0.15 * dice.normal(batch, 1, 1)
    height = points[..., 1] - slope * (points[..., 0] - box.center[..., None, 0])
    return (height > edge[:, None, None]) & for_a_while(points, 12, dice, always=0.6)


def below_the_chest(points: Tensor, box: PersonBoxes, dice: Dice) -> Tensor:
    """Legs and hips are behind a table for the whole clip; half of the tables also hide arms.

    At the other half, hands lie on the table or are raised, in front of its edge.
    """
    batch = len(points)
    shoulder = points[:, :, list(SHOULDERS), 1].mean(2).mean(1)
    hip = points[:, :, list(HIPS), 1].mean(2).mean(1)
    edge = shoulder + dice.uniform(batch, low=0.3, high=1.1) * (hip - shoulder)
    hidden = points[..., 1] > edge[:, None, None]
    hidden &= dice.chance(batch, 1, 1, share=ARMS_HIDDEN)
    hidden[..., list(LEGS + HIPS)] = True
    return hidden


def legs_hidden(points: Tensor, box: PersonBoxes, dice: Dice) -> Tensor:
    """Only feet, or whole legs, are not seen for a while."""
    hidden = torch.zeros(points.shape[:3], dtype=torch.bool, device=points.device)
    hidden[..., list(FEET)] = True
    whole = torch.zeros_like(hidden)
    whole[..., list(LEGS)] = True
    all_of_it = dice.chance(len(points), 1, 1, share=0.5)
    return torch.where(all_of_it, whole, hidden) & for_a_while(points, 12, dice, always=0.6)


def lost_person(points: Tensor, box: PersonBoxes, dice: Dice) -> Tensor:
    """Nothing of the person is seen for 0.1 to 1.5 s; single frames are unchanged."""
    batch, frames = points.shape[:2]
    run = dice.runs(batch, frames, 3, min(45, frames - 4)) if frames > 7 else None
    if run is None:
        return torch.zeros(points.shape[:3], dtype=torch.bool, device=points.device)
    return run[..., None].expand(points.shape[:3])


def unseen_end(points: Tensor, box: PersonBoxes, dice: Dice) -> Tensor:
    """Nothing of the person is seen in the last 0.1 to 1.2 s: they left, or for prediction."""
    batch, frames = points.shape[:2]
    if frames <= 7:
        return torch.zeros(points.shape[:3], dtype=torch.bool, device=points.device)
    length = 3 + dice.integers(batch, 1, 1, below=min(36, frames - 7))
    time = torch.arange(frames, device=points.device)[:, None]
    return (time >= frames - length).expand(points.shape[:3])


def person_in_front(points: Tensor, box: PersonBoxes, dice: Dice) -> Tensor:
    """The body of another person, who stays or moves by."""
    other = next_person(points, box, dice)
    hidden = torch.zeros(points.shape[:3], dtype=torch.bool, device=points.device)
    for first, second, radius in BODY_PARTS:
        start = other[:, :, None, first]
        along = other[:, :, None, second] - start
        gap = points - start
        share = (gap * along).sum(-1) / along.square().sum(-1).clamp_min(1e-9)
        away = (gap - share.clamp(0.0, 1.0)[..., None] * along).norm(dim=-1)
        hidden |= away < radius * box.size[..., None]
    return hidden & for_a_while(points, 12, dice, always=0.5)


def next_person(points: Tensor, box: PersonBoxes, dice: Dice) -> Tensor:
    """Return the points (B, F, K, 2) of each next clip's person, beside or over this clip's."""
    batch, frames = points.shape[:2]
    center, size = box.center[:, None, None, frames // 2], box.size[:, None, None, frames // 2]
    local = (points - center) / size[..., None]
    wide = torch.tensor([0.35, 0.1], device=points.device)
    shift = wide * dice.normal(batch, 1, 1, 2)
    scale = dice.uniform(batch, 1, 1, 1, low=0.8, high=1.4)
    return center + (scale * local.roll(1, 0) + shift) * size[..., None]


def lost_limbs(points: Tensor, box: PersonBoxes, dice: Dice) -> Tensor:
    """Whole limbs are not seen for a while."""
    hidden = torch.zeros(points.shape[:3], dtype=torch.bool, device=points.device)
    for limb in LIMBS:
        lost = for_a_while(points, 5, dice) & dice.chance(len(points), 1, 1, share=0.4)
        hidden[..., list(limb)] |= lost
    return hidden


def one_side(points: Tensor, box: PersonBoxes, dice: Dice) -> Tensor:
    """The image's edge or a door frame cuts the person vertically."""
    batch = len(points)
    aside = dice.uniform(batch, 1, 1, low=-0.15, high=0.15) * box.size[..., None]
    edge = box.center[..., None, 0] + aside
    left = dice.chance(batch, 1, 1, share=0.5)
    beyond = torch.where(left, points[..., 0] < edge, points[..., 0] > edge)
    return beyond & for_a_while(points, 12, dice)


def head_and_one_arm(points: Tensor, box: PersonBoxes, dice: Dice) -> Tensor:
    """Everything except the head and one arm is hidden."""
    hidden = torch.ones(2, points.shape[2], dtype=torch.bool, device=points.device)
    for side in range(2):
        hidden[side, [*HEAD, SHOULDERS[side], *LIMBS[side]]] = False
    chosen = hidden[dice.integers(len(points), below=2)]
    return chosen[:, None] & for_a_while(points, 12, dice, always=0.5)


OCCLUDERS: tuple[Callable[[Tensor, PersonBoxes, Dice], Tensor], ...] = (
    passing_box, furniture, below_the_chest, legs_hidden, lost_person, unseen_end, lost_limbs,
    one_side, head_and_one_arm, person_in_front,
)  # fmt: skip
OCCLUDER_SHARE = (0.16, 0.15, 0.15, 0.08, 0.1, 0.09, 0.12, 0.05, 0.03, 0.07)
