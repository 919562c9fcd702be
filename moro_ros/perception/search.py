"""Selects the tiles to search and the people to look at in the next image; collects notices.

The detector's input is 224 pixels wide. A person must fill a large part of it, so the image is cut
into overlapping squares of several sizes, and the sweep over them is spread over several images to
keep the time per image even.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Minimum height of a person relative to the square for reliable detection (people of 350 px:
# detected in 1 of 15 images in a square of 1768 px, in all of them in one of 994 px).
FILLED = 0.32
OVERLAP = 0.33
LEVEL_RATIO = 0.62
# A slow machine must not become slower by making up for more and more images.
MISSING_LIMIT = 4.0
# Tiles per image of the first sweep if there is no time for all.
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
    """The tiles of one sweep over an image: the whole, then squares down to the required size.

    smallest_person: height of the smallest person to detect over the shorter image side.
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
    """The square tile around a point, clipped to the image; None if nothing is left."""
    low = np.maximum(np.floor(np.asarray(centre_px) - side_px / 2), 0).astype(int)
    high = np.minimum(np.ceil(np.asarray(centre_px) + side_px / 2), (width, height)).astype(int)
    if np.any(high - low < 8):
        return None
    return Tile(int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1]))


class Sweep:
    """Returns the tiles of the image in turn, so that each tile is searched once in `every` images.

    If images are missing, the next ones make up for them, at most MISSING_LIMIT. live: the camera
    does not wait, so the first sweep is also spread over several images.
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
        """Search the next image completely."""
        self._tiles = []

    def next_tiles(self, width: int, height: int, images: float = 1.0) -> list[Tile]:
        """The tiles to search in the next image; all of them in the first one if not live.

        images: number since the last one, including missing ones.
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
    """The starts of squares along a length, so that neighbours overlap enough."""
    if length <= side:
        return [0]
    count = int(np.ceil((length - side) / (side * (1 - OVERLAP)))) + 1
    return [round(x) for x in np.linspace(0, length - side, count)]


# Each person is looked at in at least one of this many images.
MOST_CARRIED = 2
# The camera's period is the minimum interval in this many images, because some may be dropped.
REMEMBERED = 30
SMOOTHING = 0.1


class Turns:
    """Distributes the available time among visible people.

    share: of the time of `threads` threads between two images of the camera.
    """

    def __init__(self, share: float, threads: int) -> None:
        self.share, self.threads = share, threads
        self._intervals_s: deque[float] = deque(maxlen=REMEMBERED)
        self._look_s: float | None = None

    @property
    def period_s(self) -> float:
        """Time between two images of the camera; 0 before the second one."""
        return min(self._intervals_s, default=0.0)

    def image(self, interval_s: float) -> None:
        """Record the time since the previous image."""
        if interval_s > 0.0:
            self._intervals_s.append(interval_s)

    def took(self, look_s: float) -> None:
        """Record the duration of a look."""
        before = look_s if self._look_s is None else self._look_s
        self._look_s = before + SMOOTHING * (look_s - before)

    def looks(self, people: int) -> int:
        """Return the number of people to look at."""
        if self._look_s is None or not self.period_s:
            return people
        time_s = self.share * self.threads * self.period_s
        least = math.ceil(people / (1 + MOST_CARRIED))
        return min(people, max(least, int(time_s / max(self._look_s, 1e-6))))

    def spared(self, looked_ns: Sequence[int], late_ns: int | None = None) -> list[int]:
        """Return the people to skip: those looked at most recently.

        looked_ns: when each person was last looked at; late_ns: the time of a late image, in which
        only people who cannot be extrapolated any longer are looked at.
        """
        order = sorted(range(len(looked_ns)), key=lambda i: looked_ns[i])
        if late_ns is None:
            return order[self.looks(len(looked_ns)) :]
        longest_ns = (MOST_CARRIED + 0.5) * self.period_s * 1e9
        return [i for i in order if late_ns - looked_ns[i] < longest_ns]

    def restart(self) -> None:
        """Forget the camera's rate, for instance after a jump in time."""
        self._intervals_s.clear()


LOGGER = logging.getLogger(__name__)
# Minimum time between two hints of a kind.
PERIOD_NS = 10_000_000_000
# Time after the first too small person in which others may be detected.
SMALL_NS = 1_000_000_000


class Notices:
    """Counts since the start, by their names in the diagnostics.

    small_people: number of images with a person smaller than detector.smallest_person while no
    person was tracked for SMALL_NS; pictures: people who have not moved since they were first seen
    (tracker.picture_s).
    """

    def __init__(self) -> None:
        self.counts = {"small_people": 0, "pictures": 0}
        self._said_ns: int | None = None
        # In the current image, the height of a too small person over its shorter side.
        self.small: float | None = None
        self._small_since_ns: int | None = None

    def judge_small(self, least: float, now_ns: int, nobody: bool) -> None:
        """Record whether only too small people are in view, once per image.

        least: detector.smallest_person; nobody: whether no person is tracked after this image.
        """
        share, self.small = self.small, None
        if not nobody:
            self._small_since_ns = None
        if share is None or not nobody:
            return
        if self._small_since_ns is None or now_ns < self._small_since_ns:
            self._small_since_ns = now_ns
        if now_ns - self._small_since_ns < SMALL_NS:
            return
        self.counts["small_people"] += 1
        if self._said_ns is not None and 0 <= now_ns - self._said_ns < PERIOD_NS:
            return
        self._said_ns = now_ns
        LOGGER.warning(
            "People are in view, but all are smaller than detector.smallest_person (%g of the "
            "shorter image side): one has %.2f. Lower it to track them, at the cost of more "
            "time per image.",
            least,
            share,
        )

    def pictures(self, ids: Sequence[int], seconds: float, dropped: bool) -> None:
        """Record a person who has never moved so far."""
        for track_id in ids:
            self.counts["pictures"] += 1
            LOGGER.warning(
                "Person %d has not moved since they were first seen %g s ago and may be a "
                "picture or clothes. They are %s (tracker.drop_pictures).",
                track_id,
                seconds,
                "not published until they move" if dropped else "still reported",
            )
