"""The frame-to-frame ("canonical") form of a trajectory and its inverse.

A trajectory is the rotation (B, F, 3, 3) and the pelvis position (B, F, 3), metres, of a body in
any fixed frame. Its canonical form (B, F, 9) is free of that frame: the 6-D rotation of
R_tᵀ R_{t+1} and the displacement R_tᵀ (t_{t+1} - t_t), normalised per channel.
"""

from __future__ import annotations

import torch

from moro_ros.geometry.precision import full_precision
from moro_ros.geometry.rotation import matrix_to_rotation_6d, rotation_6d_to_matrix


@full_precision
def canonical_trajectory(
    rotation: torch.Tensor,
    translation: torch.Tensor,
    mean: torch.Tensor,
    std: torch.Tensor,
    *,
    causal: bool = False,
) -> torch.Tensor:
    """Normalised canonical form (B, F, 9) of a trajectory; the last frame repeats the one before.

    rotation: (B, F, 3, 3); translation: (B, F, 3) m; mean, std: (9,) of the unnormalised form.
    A single frame has no motion: its form is all zeros after the normalisation. causal: each frame
    gets the step that led to it instead of the next one, and the first frame has no motion.
    """
    if rotation.shape[1] == 1:
        return translation.new_zeros(*translation.shape[:2], 9)
    inverse = rotation[:, :-1].mT
    turn = matrix_to_rotation_6d(inverse @ rotation[:, 1:])
    step = (inverse @ (translation[:, 1:] - translation[:, :-1])[..., None]).squeeze(-1)
    motion = torch.cat((turn, step), dim=-1)
    motion = (motion - mean) / std
    if causal:
        return torch.cat((torch.zeros_like(motion[:, :1]), motion), dim=1)
    return torch.cat((motion, motion[:, -1:]), dim=1)


@full_precision
def integrate_trajectory(
    canonical: torch.Tensor,
    mean: torch.Tensor,
    std: torch.Tensor,
    rotation0: torch.Tensor,
    translation0: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Trajectory (B, F, 3, 3), (B, F, 3) m that starts at a given pose and moves as given.

    canonical: (B, F, 9) normalised, its last frame is not used; rotation0: (B, 3, 3);
    translation0: (B, 3) m.
    """
    motion = canonical * std + mean
    turns, steps = rotation_6d_to_matrix(motion[..., :6]), motion[..., 6:]
    rotations, translations = [rotation0], [translation0]
    for turn, step in zip(turns.unbind(1)[:-1], steps.unbind(1)[:-1], strict=True):
        rotation = rotations[-1]
        translations.append(translations[-1] + (rotation @ step[..., None]).squeeze(-1))
        rotations.append(rotation @ turn)
    return torch.stack(rotations, dim=1), torch.stack(translations, dim=1)


def trajectory_statistics(
    rotation: torch.Tensor, translation: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation (9,) of the unnormalised canonical form over all clips.

    rotation: (B, F, 3, 3); translation: (B, F, 3) m; F >= 2.
    """
    zero = translation.new_zeros(9)
    motion = canonical_trajectory(rotation, translation, zero, zero + 1).flatten(0, 1)
    return motion.mean(0), motion.std(0, correction=0)


@full_precision
def smooth_over_time(values: torch.Tensor, spread: float, ahead: int | None = None) -> torch.Tensor:
    """Local linear regression over the frames of a clip: (B, F, C) -> the same.

    Each frame gets the value at its own time of the straight line fitted to its neighbours, which
    count by a Gaussian of `spread` frames; at the clip's ends the neighbours of one side serve, so
    that a steady motion passes unchanged everywhere. ahead: neighbours of the future that count,
    None for all.
    """
    time = torch.arange(values.shape[1], dtype=values.dtype, device=values.device)
    offset = time[None, :] - time[:, None]  # (F, F), of neighbour j from frame i
    weight = torch.exp(-0.5 * (offset / spread) ** 2)
    if ahead is not None:
        weight = torch.where(offset <= ahead, weight, torch.zeros_like(weight))
    mass, first = weight.sum(1), (weight * offset).sum(1)
    second = (weight * offset**2).sum(1)
    spread_out = mass * second - first**2
    line = weight * (second[:, None] - first[:, None] * offset) / spread_out[:, None]
    # A frame without neighbours has no line through it and keeps its value.
    alone = spread_out < 1e-6
    kernel = torch.where(alone[:, None], weight, line)
    return kernel @ values
