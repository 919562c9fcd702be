"""Unrecorded postures: bodies bent, leaning, seated, lying and recombined.

An hour of motion capture has few postures, and a network trained only on it mistakes a person
leaning on one leg for a walking one. All changes are smooth in time, so that velocities and
accelerations stay plausible. Frames as in data/mocap.py: z up, metres. Rotations are (B, F, 22,
3, 3): local ones, the first of them global.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from moro_ros.body.body_model import BodyModel
from moro_ros.body.topology import JOINT_NAMES, NUM_JOINTS
from moro_ros.data.dice import Dice
from moro_ros.data.mocap import MotionWindows
from moro_ros.data.poses import LIMB_GROUPS
from moro_ros.geometry.rotation import matrix_to_rotvec, rotvec_to_matrix

LIMB_SHARE = 0.15  # of the limbs of a varied window come from another window
BENT_SHARE = 0.5  # of the limbs of a varied window are bent
LEAN_SHARE = 0.6  # of the varied windows lean
LEAN = 0.5  # rad, standard deviation of the lean
MOST_LEAN = 1.3  # rad
CARRYING = 0.7  # minimum share of a lean that the carrying leg does not follow
CHUNK = 500  # windows processed at once, to limit memory
SMOOTHING = 9  # frames over which the height above the ground is smoothed

# Standard deviation in rad of the rotation added to a joint; the knee and the elbow are bent
# further instead, because they only bend one way.
SPREAD = {
    "hip": 0.35, "knee": 0.1, "ankle": 0.2, "foot": 0.1, "spine1": 0.12, "spine2": 0.12,
    "spine3": 0.12, "neck": 0.2, "head": 0.2, "collar": 0.12, "shoulder": 0.45, "elbow": 0.15,
    "wrist": 0.25, "pelvis": 0.0,
}  # fmt: skip
FLEXION = 0.4  # rad, standard deviation before its sign is dropped
FLEXES = {
    "left_knee": (1.0, 0.0, 0.0), "right_knee": (1.0, 0.0, 0.0),
    "left_elbow": (0.0, -1.0, 0.0), "right_elbow": (0.0, 1.0, 0.0),
}  # fmt: skip
HIPS = tuple(JOINT_NAMES.index(name) for name in ("left_hip", "right_hip"))
KNEES = tuple(JOINT_NAMES.index(name) for name in ("left_knee", "right_knee"))
# A seated body: mean and standard deviation in rad of the flexion of hips and knees, of the thighs'
# outward rotation, and of the pelvis's tilt (negative: backwards).
SEATED_HIP, SEATED_KNEE = (1.4, 0.25), (1.4, 0.35)
SEATED_SPREAD, SEATED_TILT = (0.12, 0.15), (-0.1, 0.2)
# Share of the resting bodies that lie, and maximum height of the surface they lie on [m].
LYING_SHARE, LYING_HEIGHT_M = 0.2, 0.8
STRETCHED_SHARE = 0.6  # of the lying bodies


def vary(
    windows: MotionWindows, chosen: Tensor, body: BodyModel, rng: np.random.Generator
) -> MotionWindows:
    """Return windows of which the chosen ones, (B,) bool, get random postures."""
    dice = Dice(int(rng.integers(2**62)))
    rows = chosen.nonzero()[:, 0]
    rotations, translation = windows.rotations.clone(), windows.translation.clone()
    for part in rows.split(CHUNK):
        partners = windows.rotations[dice.integers(len(part), len(LIMB_GROUPS), below=len(chosen))]
        mixed = exchange_limbs(windows.rotations[part], partners, dice)
        before = rotvec_to_matrix(mixed)
        after = lean(bend(before, dice), dice)
        rotations[part] = matrix_to_rotvec(after)
        translation[part] = windows.translation[part] + settle(before, after, body)
    return MotionWindows(rotations, translation)


def seat(
    windows: MotionWindows, chosen: Tensor, body: BodyModel, rng: np.random.Generator
) -> MotionWindows:
    """Return windows of which the chosen ones, (B,) bool, sit or lie; arms and head still move."""
    dice = Dice(int(rng.integers(2**62)))
    rotations, translation = windows.rotations.clone(), windows.translation.clone()
    for part in chosen.nonzero()[:, 0].split(CHUNK):
        before = rotvec_to_matrix(windows.rotations[part])
        after, raised = rest(before, dice)
        rotations[part] = matrix_to_rotvec(after)
        translation[part] = windows.translation[part] + settle(before, after, body) + raised
    return MotionWindows(rotations, translation)


def exchange_limbs(rotations: Tensor, partners: Tensor, dice: Dice) -> Tensor:
    """Give some limbs the motion of other bodies' limbs.

    rotations: (B, F, 22, ...); partners: (B, L, F, 22, ...), a body for each of LIMB_GROUPS.
    """
    mixed = rotations.clone()
    for number, limb in enumerate(LIMB_GROUPS):
        taken = dice.chance(len(rotations), share=LIMB_SHARE).nonzero()
        joints = torch.tensor(limb, device=rotations.device)
        mixed[taken, :, joints] = partners[taken, number, :, joints]
    return mixed


def wave(batch: int, frames: int, channels: int, dice: Dice) -> Tensor:
    """Smooth random courses (B, F, C) of variance 1: mostly steady, with one slow swing each."""
    time_s = torch.arange(frames, device=dice.device)[None, :, None] / 30.0
    rate, phase = dice.uniform(batch, 1, channels), dice.uniform(batch, 1, channels)
    turn = 2 * math.pi * ((0.05 + 0.35 * rate) * time_s + phase)
    steady, swing = dice.normal(batch, 1, channels), dice.normal(batch, 1, channels)
    return 0.8 * steady + 0.6 * math.sqrt(2.0) * swing * turn.cos()


def turned(axis: tuple[float, float, float], angle: Tensor) -> Tensor:
    """Return rotations (..., 3, 3) by angles (..., 1) about an axis."""
    return rotvec_to_matrix(angle * torch.tensor(axis, device=angle.device))


def bend(rotations: Tensor, dice: Dice) -> Tensor:
    """Rotate the joints of half of the limbs."""
    batch, frames = rotations.shape[:2]
    spread = [SPREAD[name.split("_")[-1]] for name in JOINT_NAMES]
    added = wave(batch, frames, NUM_JOINTS * 3, dice).unflatten(-1, (NUM_JOINTS, 3))
    added = added * torch.tensor(spread, device=dice.device)[:, None]
    for name, axis in FLEXES.items():
        angle = FLEXION * wave(batch, frames, 1, dice)[:, :1].abs()
        added[:, :, JOINT_NAMES.index(name)] += angle * torch.tensor(axis, device=dice.device)
    bent = torch.zeros(batch, NUM_JOINTS, dtype=torch.bool, device=dice.device)
    for limb in LIMB_GROUPS:
        bent[:, list(limb)] = dice.chance(batch, 1, share=BENT_SHARE)
    return rotations @ rotvec_to_matrix(added * bent[:, None, :, None])


def lean(rotations: Tensor, dice: Dice) -> Tensor:
    """Lean some bodies in any direction.

    One leg, which carries the body, stays nearly in place; the other one follows the trunk, stays,
    or anything between: a body bends over its legs, or raises a leg as the trunk moves down.
    """
    batch, frames = rotations.shape[:2]
    axis = horizontal(batch, dice)
    angle = (LEAN * wave(batch, frames, 1, dice)).clamp(-MOST_LEAN, MOST_LEAN)
    angle = angle * dice.chance(batch, 1, 1, share=LEAN_SHARE)
    leant = rotations.clone()
    root = rotations[:, :, 0]
    leant[:, :, 0] = rotvec_to_matrix(axis * angle) @ root
    carrying = dice.integers(batch, 1, 1, below=len(HIPS))
    for number, hip in enumerate(HIPS):
        stays = dice.uniform(batch, 1, 1)
        stays = torch.where(carrying == number, 1.0 - (1.0 - CARRYING) * stays, stays)
        back = root.mT @ rotvec_to_matrix(-axis * angle * stays) @ root
        leant[:, :, hip] = back @ rotations[:, :, hip]
    return leant


def horizontal(batch: int, dice: Dice) -> Tensor:
    """Return random horizontal unit vectors, (B, 1, 3)."""
    azimuth = dice.uniform(batch, high=2 * math.pi)
    return torch.stack([azimuth.cos(), azimuth.sin(), torch.zeros_like(azimuth)], -1)[:, None]


def rest(rotations: Tensor, dice: Dice) -> tuple[Tensor, Tensor]:
    """Seat bodies and lay some of them down.

    Returns the rotations and (B, 1, 3) m, how far the bodies are raised by the surface they lie on.
    A seated body has its feet on the floor.
    """
    batch, frames = rotations.shape[:2]

    def course(numbers: tuple[float, float]) -> Tensor:
        return numbers[0] + numbers[1] * wave(batch, frames, 1, dice)

    seated = rotations.clone()
    for side, sign in ((0, 1.0), (1, -1.0)):
        outwards = turned((0.0, sign, 0.0), course(SEATED_SPREAD))
        seated[:, :, HIPS[side]] = outwards @ turned((-1.0, 0.0, 0.0), course(SEATED_HIP))
        seated[:, :, KNEES[side]] = turned((1.0, 0.0, 0.0), course(SEATED_KNEE).clamp_min(0.1))
    seated[:, :, 0] = rotations[:, :, 0] @ turned((1.0, 0.0, 0.0), course(SEATED_TILT))
    stretched = dice.chance(batch, 1, 1, 1, 1, share=STRETCHED_SHARE)
    lying = torch.where(stretched, rotations, seated)
    down = rotvec_to_matrix(horizontal(batch, dice) * course((math.pi / 2, 0.15)))
    lying[:, :, 0] = down @ rotations[:, :, 0]
    lies = dice.chance(batch, 1, 1, share=LYING_SHARE)
    raised = torch.zeros(batch, 1, 3, device=dice.device)
    raised[:, :, 2:] = dice.uniform(batch, 1, 1, high=LYING_HEIGHT_M) * lies
    return torch.where(lies[..., None, None], lying, seated), raised


def settle(before: Tensor, after: Tensor, body: BodyModel) -> Tensor:
    """Return the displacement of the pelvis, (B, F, 3) m, that keeps the lowest joint's height."""
    shape = torch.zeros(1, 10, device=before.device)
    joints = body.skeleton(shape).joints[:, None, :NUM_JOINTS]

    def lowest(rotations: Tensor) -> Tensor:
        return body.forward_kinematics(rotations, joints)[1][..., 2].amin(-1)

    rise = (lowest(before) - lowest(after))[:, None]
    half = SMOOTHING // 2
    padded = torch.nn.functional.pad(rise, (half, half), mode="replicate")
    even = torch.nn.functional.avg_pool1d(padded, SMOOTHING, stride=1)[:, 0]
    return torch.stack([torch.zeros_like(even), torch.zeros_like(even), even], -1)
