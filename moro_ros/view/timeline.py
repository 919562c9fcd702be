"""Timeline: the displayed moment, and its progress as time passes."""

from __future__ import annotations

import threading

SPEEDS = {"0.1x": 0.1, "0.25x": 0.25, "0.5x": 0.5, "1x": 1.0, "2x": 2.0, "4x": 4.0}


class Timeline:
    """A position between two stamps; thread-safe.

    follow: the position is the end, as it grows (live); seeking or pausing ends that.
    """

    def __init__(self, start_ns: int = 0, end_ns: int = 0, follow: bool = False) -> None:
        self._lock = threading.RLock()
        self.start_ns, self.end_ns = start_ns, end_ns
        self.position_ns = start_ns
        self.follow, self.playing, self.loop = follow, True, not follow
        self.speed = 1.0

    @property
    def time_s(self) -> float:
        """The position since the start [s]."""
        return (self.position_ns - self.start_ns) * 1e-9

    @property
    def length_s(self) -> float:
        """From start to end [s]."""
        return (self.end_ns - self.start_ns) * 1e-9

    def extend(self, start_ns: int, end_ns: int) -> None:
        """Set the ends when more is received; the position stays unless it is outside."""
        with self._lock:
            self.start_ns, self.end_ns = start_ns, end_ns
            inside_ns = min(max(self.position_ns, start_ns), end_ns)
            self.position_ns = end_ns if self.follow else inside_ns

    def advance(self, seconds: float) -> None:
        """Advance by the elapsed time, times the speed."""
        with self._lock:
            if self.follow or not self.playing:
                return
            self.position_ns += round(seconds * self.speed * 1e9)
            if self.position_ns <= self.end_ns:
                return
            if self.loop and self.end_ns > self.start_ns:
                self.position_ns = self.start_ns
            else:
                self.position_ns, self.playing = self.end_ns, False

    def play(self) -> None:
        """Continue to play; from the start if it is at the end."""
        with self._lock:
            if self.position_ns >= self.end_ns and not self.follow:
                self.position_ns = self.start_ns
            self.playing = True

    def pause(self) -> None:
        """Stay at this moment."""
        with self._lock:
            self.playing = self.follow = False

    def follow_end(self) -> None:
        """Show the newest moment from now on."""
        with self._lock:
            self.follow = self.playing = True
            self.position_ns = self.end_ns

    def seek(self, time_s: float) -> None:
        """Go to a time since the start [s]; playing continues from there."""
        with self._lock:
            self.follow = False
            position_ns = self.start_ns + round(time_s * 1e9)
            self.position_ns = min(max(position_ns, self.start_ns), self.end_ns)

    def step(self, stamps_ns: list[int], by: int) -> None:
        """Pause at the stamp a number of steps after the position's; stamps_ns increase."""
        with self._lock:
            self.pause()
            if not stamps_ns:
                return
            place = min(range(len(stamps_ns)), key=lambda k: abs(stamps_ns[k] - self.position_ns))
            self.position_ns = stamps_ns[min(max(place + by, 0), len(stamps_ns) - 1)]
