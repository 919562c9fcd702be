"""Random numbers on a device, all of one seed."""

from __future__ import annotations

import torch
from torch import Tensor


class Dice:
    """Draws tensors on a device; what it draws follows from the seed and the device's kind."""

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
