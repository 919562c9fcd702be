"""Where to look for people nobody follows yet: the whole image, a few squares of it at a time.

The detector sees 224 pixels. A person must fill a good part of what it is shown, so the image is
cut into overlapping squares of several sizes, and the sweep over them is spread over several
images to keep the time per image even.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Least height of a person as a fraction of the square in which the detector finds him reliably
# (people of 350 px: found in 1 of 15 images in a square of 1768 px, in all in one of 994).
FILLED = 0.32
OVERLAP = 0.33
LEVEL_RATIO = 0.62
# A slow machine must not get slower still by making up for ever more images.
MISSING_LIMIT = 4.0
# Tiles of one image of the first sweep, where there is no time for all.
FIRST_TILES = 1


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of the image: left and top corner and size, pixels."""

    left: int
    top: int
    width: int
    height: int

    def crop(self, image: np.ndarray) -> np.ndarray:
        """View of this part of an image."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]


def sweep_tiles(width: int, height: int, smallest_person: float) -> list[Tile]:
    """The tiles of one sweep over an image: the whole, then squares down to the size needed.

    smallest_person: height of the smallest person to be found over the shorter image side.
    """
    short = min(width, height)
    tiles = [Tile(0, 0, width, height)]
    side = float(short)
    while True:
        level = round(side)
        tiles += [
            Tile(left, top, level, level)
            for top in _starts(height, level)
            for left in _starts(width, level)
            if (level, level) != (width, height)
        ]
        if side <= smallest_person / FILLED * short:
            return tiles
        side *= LEVEL_RATIO


def tile_round(centre_px: np.ndarray, side_px: float, width: int, height: int) -> Tile | None:
    """The square tile about a place in the image, cut at the border; None where nothing is left."""
    low = np.maximum(np.floor(np.asarray(centre_px) - side_px / 2), 0).astype(int)
    high = np.minimum(np.ceil(np.asarray(centre_px) + side_px / 2), (width, height)).astype(int)
    if np.any(high - low < 8):
        return None
    return Tile(int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1]))


class Sweep:
    """Hands out the tiles of the image in turn, so that `every` images see each tile once.

    Where images are missing, those that come make up for them, MISSING_LIMIT at most.
    live: the next image does not wait, so the first sweep is spread over several too.
    """

    def __init__(self, every: int, smallest_person: float, live: bool = False) -> None:
        self._every = every
        self._live = live
        self._first = 0
        self._smallest_person = smallest_person
        self._size = (0, 0)
        self._tiles: list[Tile] = []
        self._next = 0
        self._owed = 0.0

    def restart(self) -> None:
        """Let the next image be searched completely."""
        self._tiles = []

    def next_tiles(self, width: int, height: int, images: float = 1.0) -> list[Tile]:
        """The tiles to search in the next image; all of them in the first, if it is not live.

        images: how many have passed since the last one, with those that are missing.
        """
        if not self._tiles or self._size != (width, height):
            self._size, self._next, self._owed = (width, height), 0, 0.0
            self._tiles = sweep_tiles(width, height, self._smallest_person)
            self._first = len(self._tiles)
        if self._first:
            count = min(self._first, FIRST_TILES) if self._live else self._first
            self._first -= count
        else:
            passed = min(max(images, 1.0), MISSING_LIMIT)
            self._owed += passed * len(self._tiles) / self._every
            count = int(self._owed + 1e-9)
            self._owed -= count
        turn = [self._tiles[(self._next + i) % len(self._tiles)] for i in range(count)]
        self._next = (self._next + count) % len(self._tiles)
        return turn


def _starts(length: int, side: int) -> list[int]:
    """Where squares of a side start along a length so that neighbours overlap enough."""
    if length <= side:
        return [0]
    count = int(np.ceil((length - side) / (side * (1 - OVERLAP)))) + 1
    return [round(x) for x in np.linspace(0, length - side, count)]
