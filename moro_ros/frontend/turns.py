"""Turns: who is looked at in an image when there is no time for everybody."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

# Everybody is looked at in one of so many images at least.
MOST_CARRIED = 2
# The camera's period is the least time between two of so many images: some may be dropped.
REMEMBERED = 30
SMOOTHING = 0.1


class Turns:
    """Shares out the time there is for looking at people who are in sight.

    share: of the time of `threads` threads from one image of the camera to the next; 0: as long as
    it takes.
    """

    def __init__(self, share: float, threads: int) -> None:
        self.share, self.threads = share, threads
        self._intervals_s: deque[float] = deque(maxlen=REMEMBERED)
        self._look_s: float | None = None

    @property
    def period_s(self) -> float:
        """Time from one image of the camera to the next; 0 before two of them."""
        return min(self._intervals_s, default=0.0)

    def image(self, interval_s: float) -> None:
        """Note the time since the image before."""
        if interval_s > 0.0:
            self._intervals_s.append(interval_s)

    def took(self, look_s: float) -> None:
        """Note how long a look took."""
        before = look_s if self._look_s is None else self._look_s
        self._look_s = before + SMOOTHING * (look_s - before)

    def looks(self, people: int, late: bool = False) -> int:
        """Return how many of some people are to be looked at; late: as few as may be."""
        if self.share == 0.0 or self._look_s is None or not self.period_s:
            return people
        least = math.ceil(people / (1 + MOST_CARRIED))
        if late:
            return least
        time_s = self.share * self.threads * self.period_s
        return min(people, max(least, int(time_s / max(self._look_s, 1e-6))))

    def spared(self, looked_ns: Sequence[int], late: bool = False) -> list[int]:
        """Return who need not be looked at: those who were last; looked_ns: when, of everybody."""
        order = sorted(range(len(looked_ns)), key=lambda i: looked_ns[i])
        return order[self.looks(len(looked_ns), late) :]

    def restart(self) -> None:
        """Forget the camera's rate, as after a jump in time."""
        self._intervals_s.clear()
