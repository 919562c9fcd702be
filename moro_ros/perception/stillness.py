"""Whether somebody has ever moved: people sway and breathe, pictures and hung clothes do not."""

from __future__ import annotations

import numpy as np

from moro_ros.perception.plausibility import VISIBLE

# The keypoints are smoothed over this time, s, which takes the network's jitter out of them.
SMOOTHING_S = 0.5
# The smoothed keypoints settle for so long before they are watched, s.
SETTLING_S = 1.0
# Who never moved stays within this range (median over the keypoints), in diameters of the body
# circle. Measured over 5 s: 0.001 to 0.004 of pictures with a camera's noise, 0.007 and more in the
# stillest moments of a man who sits.
STILL = 0.005
# Keypoints seen in this part of the looks count, and so many there must be.
SEEN, LEAST_POINTS = 0.8, 4


class Stillness:
    """Watches one person from the first look on; moved: whether they ever did, which stays so."""

    def __init__(self) -> None:
        self.moved = False
        self._first_ns = self._last_ns = 0
        self._looks = 0
        self._seen: np.ndarray | None = None
        self._smooth = self._low = self._high = np.zeros((0, 2))

    @property
    def watched_s(self) -> float:
        """Time from the first look to the newest, s."""
        return (self._last_ns - self._first_ns) * 1e-9

    def look(
        self, points_px: np.ndarray, visibility: np.ndarray, diameter_px: float, now_ns: int
    ) -> None:
        """Take a look at the person: keypoints (K, 2) and their visibility (K,)."""
        if self.moved:
            return
        if self._seen is None:
            self._first_ns = self._last_ns = now_ns
            self._smooth = points_px.astype(np.float64)
            self._seen = np.zeros(len(points_px))
        elapsed_s = (now_ns - self._last_ns) * 1e-9
        self._last_ns, self._looks = now_ns, self._looks + 1
        self._seen += visibility >= VISIBLE
        # The first looks count alike: one wrong look must not lead for half a second.
        gain = max(-np.expm1(-elapsed_s / SMOOTHING_S), 1.0 / self._looks)
        self._smooth = self._smooth + gain * (points_px - self._smooth)
        if self.watched_s < SETTLING_S:
            self._low = self._high = self._smooth
            return
        self._low = np.minimum(self._low, self._smooth)
        self._high = np.maximum(self._high, self._smooth)
        known = self._seen > SEEN * self._looks
        if known.sum() >= LEAST_POINTS:
            ranges = np.hypot(*(self._high - self._low)[known].T)
            self.moved = bool(np.median(ranges) > STILL * diameter_px)
        else:
            self.moved = True  # too little is known to say that they never did
