"""Random numbers on a device from one seed, and random body shapes."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Dice:
    """Draws tensors on a device; the result depends on the seed and the kind of device."""

    def __init__(self, seed: int, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.generator = torch.Generator(self.device).manual_seed(seed)

    def normal(self, *shape: int) -> Tensor:
        """Return standard normal numbers."""
        return torch.randn(shape, generator=self.generator, device=self.device)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Return uniform numbers from low to high."""
        draw = torch.rand(shape, generator=self.generator, device=self.device)
        return low + (high - low) * draw

    def chance(self, *shape: int, share: float) -> Tensor:
        """Return booleans of which a share is True."""
        return torch.rand(shape, generator=self.generator, device=self.device) < share

    def integers(self, *shape: int, below: int) -> Tensor:
        """Return int64 from 0 to below - 1."""
        return torch.randint(below, shape, generator=self.generator, device=self.device)

    def choices(self, count: int, shares: tuple[float, ...]) -> Tensor:
        """Return `count` numbers of the given shares, int64."""
        weights = torch.tensor(shares, device=self.device)
        return torch.multinomial(weights, count, replacement=True, generator=self.generator)

    def knots(self, batch: int, frames: int, channels: int, every: int = 4) -> Tensor:
        """Return courses (B, F, C) of variance about 1 that change within `every` frames."""
        knots = self.normal(batch, channels, frames // every + 2)
        course = torch.nn.functional.interpolate(
            knots, size=frames, mode="linear", align_corners=True
        )
        return course.transpose(1, 2)

    def runs(self, batch: int, frames: int, shortest: int, longest: int) -> Tensor:
        """Return one random run of frames for each clip, (B, F) bool, True over it."""
        longest = max(1, min(longest, frames))
        shortest = min(shortest, longest)
        length = shortest + (self.uniform(batch) * (longest - shortest + 1)).long()
        start = (self.uniform(batch) * frames).long() - length // 2
        time = torch.arange(frames, device=self.device)
        return (time >= start[:, None]) & (time < (start + length)[:, None])


NUM_BETAS = 10
# Size relative to the body model's: children from 0.9 m on, and short and tall adults.
SMALLEST, LARGEST = 0.53, 1.15
CHILDREN = 0.7  # share of people with another size
# Some are far from the mean.
WIDE_SHARE, WIDE = 0.15, 1.7


def draw_shapes(count: int, sized: float | Tensor, dice: Dice) -> tuple[Tensor, Tensor]:
    """Return betas (count, 10) of a body without size and the logarithm of a scale (count, 1).

    sized: probability that a person's scale is not 1, one for all or (count, 1).
    """
    wide = dice.chance(count, 1, share=WIDE_SHARE)
    betas = dice.normal(count, NUM_BETAS) * torch.where(wide, WIDE, 1.0)
    child = dice.uniform(count, 1, low=math.log(SMALLEST), high=0.0)
    adult = dice.uniform(count, 1, low=-math.log(LARGEST), high=math.log(LARGEST))
    scale = torch.where(dice.chance(count, 1, share=CHILDREN), child, adult)
    return betas, scale * (dice.uniform(count, 1) < sized)
