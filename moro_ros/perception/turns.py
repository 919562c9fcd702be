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

    def looks(self, people: int) -> int:
        """Return how many of some people are to be looked at."""
        if self.share == 0.0 or self._look_s is None or not self.period_s:
            return people
        time_s = self.share * self.threads * self.period_s
        least = math.ceil(people / (1 + MOST_CARRIED))
        return min(people, max(least, int(time_s / max(self._look_s, 1e-6))))

    def spared(self, looked_ns: Sequence[int], late_ns: int | None = None) -> list[int]:
        """Return who need not be looked at: those who were last.

        looked_ns: when everybody was looked at; late_ns: the time of an image that is late, in
        which only those are looked at who may not be carried any longer.
        """
        order = sorted(range(len(looked_ns)), key=lambda i: looked_ns[i])
        if late_ns is None or self.share == 0.0:
            return order[self.looks(len(looked_ns)) :]
        longest_ns = (MOST_CARRIED + 0.5) * self.period_s * 1e9
        return [i for i in order if late_ns - looked_ns[i] < longest_ns]

    def restart(self) -> None:
        """Forget the camera's rate, as after a jump in time."""
        self._intervals_s.clear()
