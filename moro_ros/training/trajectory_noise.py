"""Noise on true trajectories, for the stages that see only motion."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Progress from which on, deviation of the position [m] and of each Euler angle [deg].
NoiseSchedule = tuple[tuple[float, float, float], ...]
PAPER_SCHEDULE: NoiseSchedule = ((0.0, 0.0, 0.0), (0.3, 0.01, 1.0), (0.6, 0.03, 2.0))


def noise_at(schedule: NoiseSchedule, progress: float) -> tuple[float, float]:
    """Return the deviations (m, deg) at a progress in [0, 1]; the schedule is in rising order."""
    position = angle = 0.0
    for start, metres, degrees in schedule:
        if progress >= start:
            position, angle = metres, degrees
    return position, angle


def shaken(
    rotation: Tensor,
    translation: Tensor,
    position_m: float,
    angle_deg: float,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Add independent noise to every frame's pose.

    rotation: (..., 3, 3), its intrinsic ZXY Euler angles get normal noise; translation: (..., 3) m.
    generator: on the CPU, so that every device sees the same noise.
    """
    if position_m == 0.0 and angle_deg == 0.0:
        return rotation, translation

    def normal() -> Tensor:
        drawn = torch.randn(translation.shape, generator=generator)
        return drawn.to(translation.device, translation.dtype)

    angles = euler_zxy(rotation) + math.radians(angle_deg) * normal()
    return matrix_zxy(angles), translation + position_m * normal()


def euler_zxy(matrix: Tensor) -> Tensor:
    """Intrinsic Euler angles (..., 3) rad about z, x, y of rotations (..., 3, 3)."""
    matrix = matrix.clamp(-1, 1)
    z = torch.atan2(-matrix[..., 0, 1], matrix[..., 1, 1])
    y = torch.atan2(-matrix[..., 2, 0], matrix[..., 2, 2])
    return torch.stack((z, matrix[..., 2, 1].asin(), y), dim=-1)


def matrix_zxy(angles: Tensor) -> Tensor:
    """Rotations (..., 3, 3) = Rz Rx Ry of angles (..., 3) rad about z, x, y."""
    (sz, sx, sy), (cz, cx, cy) = angles.sin().unbind(-1), angles.cos().unbind(-1)
    rows = (
        cz * cy - sz * sx * sy, -sz * cx, cz * sy + sz * sx * cy,
        sz * cy + cz * sx * sy, cz * cx, sz * sy - cz * sx * cy,
        -cx * sy, sx, cx * cy,
    )  # fmt: skip
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))
