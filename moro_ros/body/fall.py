"""FallDetector: whether a person has just fallen, from the pelvis' height and the posture."""

from __future__ import annotations

from collections import deque

from moro_ros.body.posture import Posture

# The trunk of somebody who falls comes down at 1.3 m/s and more (Bourke et al. 2008, vertical
# velocity profiles), which sitting or lying down on purpose does not; here averaged over SPAN_NS.
FALL_SPEED_MPS, SPAN_NS = 1.2, 200_000_000
# No pelvis falls faster from a stand: it is another person's, or a wrong one.
FASTEST_MPS = 6.0
# Lying on the ground, not on a bed: the pelvis is no higher, m.
LYING_HEIGHT_M = 0.45
# The posture is that of lying so long after the fall at the latest.
SETTLE_NS = 1_500_000_000
# How long a fall is told while the person lies.
TOLD_NS = 3_000_000_000
# Two measurements farther apart say nothing about the speed between them.
GAP_NS = 500_000_000


class FallDetector:
    """Follows one person, image by image; fallen: whether there has just been a fall."""

    def __init__(self) -> None:
        self.fallen = False
        self._heights: deque[tuple[int, float]] = deque()  # stamp and height over SPAN_NS
        self._dropped_ns: int | None = None
        self._fell_ns = 0

    def update(self, height_m: float, posture: Posture, stamp_ns: int) -> bool:
        """Take up what was measured in one image; returns fallen.

        height_m: of the pelvis above the ground; stamp_ns: one before the last begins anew.
        """
        if self._heights and self._broken(height_m, stamp_ns):
            self._heights.clear()
            self._dropped_ns = None
        self._heights.append((stamp_ns, height_m))
        while len(self._heights) > 2 and stamp_ns - self._heights[1][0] >= SPAN_NS:
            self._heights.popleft()
        elapsed_ns = stamp_ns - self._heights[0][0]
        drop_m = self._heights[0][1] - height_m
        if elapsed_ns >= SPAN_NS and drop_m > FALL_SPEED_MPS * elapsed_ns * 1e-9:
            self._dropped_ns = stamp_ns
        lies = posture == Posture.LAYING and height_m < LYING_HEIGHT_M
        if self.fallen:
            self.fallen = lies and 0 <= stamp_ns - self._fell_ns < TOLD_NS
        elif lies and self._dropped_ns is not None:
            self.fallen = stamp_ns - self._dropped_ns < SETTLE_NS
            self._fell_ns, self._dropped_ns = stamp_ns, None
        return self.fallen

    def _broken(self, height_m: float, stamp_ns: int) -> bool:
        """Whether the newest image does not continue those before."""
        before_ns, before_m = self._heights[-1]
        elapsed_ns = stamp_ns - before_ns
        leap = abs(height_m - before_m) > FASTEST_MPS * max(elapsed_ns, 0) * 1e-9 + 0.05
        return elapsed_ns <= 0 or elapsed_ns > GAP_NS or leap
