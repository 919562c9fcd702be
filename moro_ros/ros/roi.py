"""Roi: the region of the images to which ~/set_roi restricts the search for people."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, slots=True)
class Roi:
    """The part of the images in which people are detected, pixels.

    image_size: width and height of these images; None before the first.
    """

    left: int
    top: int
    width: int
    height: int
    image_size: tuple[int, int] | None = None

    def shown(self, pixels: np.ndarray) -> np.ndarray:
        """An image (H, W, 3) with black pixels outside."""
        black = np.zeros_like(pixels)
        part = np.s_[self.top : self.top + self.height, self.left : self.left + self.width]
        black[part] = pixels[part]
        return black
