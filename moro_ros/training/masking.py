"""Masks of tokens and noise on true trajectories in training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# Progress from which on, deviation of the position [m] and of each Euler angle [deg].
NoiseSchedule = tuple[tuple[float, float, float], ...]


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
    """Add independent noise to every frame's pose, for stages that only use motion.

    rotation: (..., 3, 3), its intrinsic ZXY Euler angles get normal noise; translation: (..., 3) m.
    generator: on the CPU, so that every device has the same noise.
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


RANDOM_ID_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class MaskedTokens:
    """Tokens of B clips with holes.

    ids: (B, F, T) int64 with the mask id, or a random one, where masked; masked: (B, F, T) bool,
    where the loss is computed.
    """

    ids: torch.Tensor
    masked: torch.Tensor


Shape = tuple[int, int, int]


def random_mask(shape: Shape, generator: torch.Generator) -> torch.Tensor:
    """Any tokens of the clip: (B, F, T) bool."""
    batch, frames, tokens = shape
    size = frames * tokens
    return _lowest(torch.rand(batch, size, generator=generator), generator).view(shape)


def joint_mask(shape: Shape, generator: torch.Generator) -> torch.Tensor:
    """The same tokens in all frames: (B, F, T) bool."""
    batch, _, tokens = shape
    chosen = _lowest(torch.rand(batch, tokens, generator=generator), generator)
    return chosen[:, None, :].expand(shape)


def frame_mask(shape: Shape, generator: torch.Generator) -> torch.Tensor:
    """All tokens of a run of frames: (B, F, T) bool."""
    batch, frames, _ = shape
    count = mask_count(batch, frames, generator)
    start = (torch.rand(batch, 1, generator=generator) * (frames - count + 1)).floor()
    frame = torch.arange(frames)
    return ((frame >= start) & (frame < start + count))[:, :, None].expand(shape)


def full_mask(shape: Shape, generator: torch.Generator) -> torch.Tensor:
    """Every token: (B, F, T) bool."""
    return torch.ones(shape, dtype=torch.bool)


MASKS: dict[str, Callable[[Shape, torch.Generator], torch.Tensor]] = {
    "random": random_mask,
    "joint": joint_mask,
    "frame": frame_mask,
    "full": full_mask,
}


def mask_tokens(
    ids: torch.Tensor,
    scheme: str,
    *,
    num_codes: int,
    generator: torch.Generator,
    random_id_share: float = RANDOM_ID_SHARE,
) -> MaskedTokens:
    """Hide tokens ids (B, F, T) by one of MASKS; the mask id is num_codes.

    Except with "full", the given share of the hidden tokens shows a random id instead of the mask,
    so that the network learns to correct its input. generator: on the CPU.
    """
    batch, frames, tokens = ids.shape
    masked = MASKS[scheme]((batch, frames, tokens), generator)
    shown = torch.full(ids.shape, num_codes)
    if scheme != "full":
        noise = torch.randint(num_codes, ids.shape, generator=generator)
        wrong = torch.rand(ids.shape, generator=generator) < random_id_share
        shown = torch.where(wrong, noise, shown)
    masked, shown = masked.to(ids.device), shown.to(ids.device)
    return MaskedTokens(torch.where(masked, shown, ids), masked)


def least_confident_mask(confidence: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The tokens that masked decoding would mask again: (B, F, T) bool.

    confidence: (B, F, T) probabilities of a first pass. The share is drawn as for the other masks.
    """
    return _lowest(confidence.detach().flatten(1), generator).view_as(confidence)


def mask_count(batch: int, size: int, generator: torch.Generator) -> torch.Tensor:
    """Number of hidden elements of `size` per sample: (B, 1), at least 1, cosine distributed."""
    share = torch.cos(math.pi / 2 * torch.rand(batch, 1, generator=generator))
    return (share * size).round().clamp_min(1)


def _lowest(scores: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """True at a random number of the lowest scores (B, N) of each sample."""
    batch, size = scores.shape
    count = mask_count(batch, size, generator).to(scores.device)
    rank = scores.argsort(dim=1, stable=True).argsort(dim=1, stable=True)
    return rank < count
