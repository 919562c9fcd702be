"""Postures that nobody was recorded in: windows of motion bent, leant and put together anew.

An hour of motion capture knows few postures, and a network trained on it alone takes whoever leans
on one leg for somebody who walks. Everything added here is smooth in time, so that velocities and
accelerations stay a body's. Frames as in data/mocap.py: z up, metres.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from moro_ros.body.body_model import BodyModel
from moro_ros.body.topology import JOINT_NAMES, NUM_JOINTS
from moro_ros.data.mocap import MotionWindows
from moro_ros.data.poses import LIMB_GROUPS
from moro_ros.geometry.rotation import matrix_to_rotvec, rotvec_to_matrix

LIMB_SHARE = 0.15  # of the limbs of a varied window come from another window
BENT_SHARE = 0.5  # of the limbs of a varied window are bent
LEAN_SHARE = 0.6  # of the varied windows lean
LEAN = 0.5  # rad, standard deviation of the lean
MOST_LEAN = 1.3  # rad
CHUNK = 500  # windows worked on at once, for the sake of memory
SMOOTHING = 9  # frames over which the height above the ground is evened out

# Standard deviation in rad of what is added to a joint's rotation; the knee and the elbow are bent
# further instead, since they bend one way only.
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


def vary(
    windows: MotionWindows, chosen: Tensor, body: BodyModel, rng: np.random.Generator
) -> MotionWindows:
    """Return windows of which the chosen ones, (B,) bool, take postures of their own."""
    mixed = exchange_limbs(windows, chosen, rng)
    rows = chosen.nonzero()[:, 0]
    rotations, translation = mixed.rotations.clone(), mixed.translation.clone()
    for part in rows.split(CHUNK):
        before = rotvec_to_matrix(mixed.rotations[part])
        after = lean(bend(before, rng), rng)
        rotations[part] = matrix_to_rotvec(after)
        translation[part] = mixed.translation[part] + settle(before, after, body)
    return MotionWindows(rotations, translation)


def exchange_limbs(
    windows: MotionWindows, chosen: Tensor, rng: np.random.Generator
) -> MotionWindows:
    """Give some limbs of the chosen windows the motion that other windows' limbs make."""
    batch = len(chosen)
    rotations = windows.rotations.clone()
    for limb in LIMB_GROUPS:
        take = chosen & torch.from_numpy(rng.random(batch) < LIMB_SHARE)
        rows = take.nonzero()[:, 0]
        partner = torch.from_numpy(rng.integers(batch, size=len(rows)))
        for joint in limb:
            rotations[rows, :, joint] = windows.rotations[partner, :, joint]
    return MotionWindows(rotations, windows.translation)


def wave(batch: int, frames: int, channels: int, rng: np.random.Generator) -> Tensor:
    """Smooth random courses (B, F, C) of variance 1: mostly steady, with one slow swing each."""

    def draw() -> np.ndarray:
        return np.asarray(rng.random((batch, 1, channels)))

    time_s = np.arange(frames)[None, :, None] / 30.0
    turn = 2 * math.pi * ((0.05 + 0.35 * draw()) * time_s + draw())
    steady, swing = rng.normal(size=(2, batch, 1, channels))
    return torch.from_numpy(0.8 * steady + 0.6 * math.sqrt(2.0) * swing * np.cos(turn)).float()


def bend(rotations: Tensor, rng: np.random.Generator) -> Tensor:
    """Turn the joints of half of the limbs away from where they are, (B, F, 22, 3, 3)."""
    batch, frames = rotations.shape[:2]
    spread = torch.tensor([SPREAD[name.split("_")[-1]] for name in JOINT_NAMES])
    added = wave(batch, frames, NUM_JOINTS * 3, rng).unflatten(-1, (NUM_JOINTS, 3))
    added = added * spread[:, None]
    for name, axis in FLEXES.items():
        angle = FLEXION * wave(batch, frames, 1, rng)[:, :1].abs()
        added[:, :, JOINT_NAMES.index(name)] += angle * torch.tensor(axis)
    bent = torch.zeros(batch, NUM_JOINTS, dtype=torch.bool)
    for limb in LIMB_GROUPS:
        bent[:, list(limb)] = torch.from_numpy(rng.random((batch, 1)) < BENT_SHARE)
    return rotations @ rotvec_to_matrix(added * bent[:, None, :, None])


def lean(rotations: Tensor, rng: np.random.Generator) -> Tensor:
    """Lean some bodies to any side, (B, F, 22, 3, 3).

    Each leg follows the trunk or stays where it was, or anything between: a body leans like a
    post, bows over its legs, or swings a leg up as the trunk comes down.
    """
    batch, frames = rotations.shape[:2]
    azimuth = torch.from_numpy(rng.uniform(0, 2 * math.pi, batch)).float()
    axis = torch.stack([azimuth.cos(), azimuth.sin(), torch.zeros(batch)], -1)[:, None]
    angle = (LEAN * wave(batch, frames, 1, rng)).clamp(-MOST_LEAN, MOST_LEAN)
    angle = angle * torch.from_numpy(rng.random((batch, 1, 1)) < LEAN_SHARE)
    leant = rotations.clone()
    root = rotations[:, :, 0]
    leant[:, :, 0] = rotvec_to_matrix(axis * angle) @ root
    for hip in HIPS:
        stays = torch.from_numpy(rng.random((batch, 1, 1))).float()
        back = root.mT @ rotvec_to_matrix(-axis * angle * stays) @ root
        leant[:, :, hip] = back @ rotations[:, :, hip]
    return leant


def settle(before: Tensor, after: Tensor, body: BodyModel) -> Tensor:
    """Return how far the pelvis moves, (B, F, 3) m, so that the lowest joint keeps its height."""

    def lowest(rotations: Tensor) -> Tensor:
        rest = body.skeleton(torch.zeros(1, 10)).joints[:, None, :NUM_JOINTS]
        return body.forward_kinematics(rotations, rest)[1][..., 2].amin(-1)

    rise = (lowest(before) - lowest(after))[:, None]
    half = SMOOTHING // 2
    padded = torch.nn.functional.pad(rise, (half, half), mode="replicate")
    even = torch.nn.functional.avg_pool1d(padded, SMOOTHING, stride=1)[:, 0]
    return torch.stack([torch.zeros_like(even), torch.zeros_like(even), even], -1)
