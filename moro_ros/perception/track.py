"""Track: one person tracked over images: position, and whether they move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from moro_ros.perception.blazepose import WIDER, Region
from moro_ros.perception.sighting import (
    MIRRORED,
    SIDED,
    VISIBLE,
    Sighting,
    mean_distance,
    moved,
    posture,
)

# Smoothing time of the keypoints, s, which removes the network's jitter.
SMOOTHING_S = 0.5
# Settling time of the smoothed keypoints before they are used, s.
SETTLING_S = 1.0
# Range of a person who never moved (median over the keypoints), in diameters of the body circle.
# Measured over 5 s: 0.001 to 0.004 for pictures with a camera's noise, 0.007 and more in the
# stillest moments of a sitting man.
STILL = 0.005
# Minimum share of looks in which a keypoint is visible, and minimum number of such keypoints.
SEEN, LEAST_POINTS = 0.8, 4


class Stillness:
    """Observes one person from the first look on; moved: whether they ever moved.

    People sway and breathe; pictures and hung clothes do not.
    """

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
        """Add a look at the person: keypoints (K, 2) and their visibility (K,)."""
        if self.moved:
            return
        if self._seen is None:
            self._first_ns = self._last_ns = now_ns
            self._smooth = points_px.astype(np.float64)
            self._seen = np.zeros(len(points_px))
        elapsed_s = (now_ns - self._last_ns) * 1e-9
        self._last_ns, self._looks = now_ns, self._looks + 1
        self._seen += visibility >= VISIBLE
        # The first looks have equal weight: one wrong look must not dominate for half a second.
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
            self.moved = True  # too little is known for a decision


SIZE_RATIO_LIMIT = 1.7
COLOUR_SMOOTHING_S = 0.5
SIZE_SMOOTHING_S = 0.5
# Half-life of a person's last known velocity.
VELOCITY_DECAY_S = 0.4
VELOCITY_SMOOTHING_S = 0.1
MIRROR_MIN_DISTANCE = 0.08
MIRROR_RATIO = 0.7
MIRROR_PATIENCE_S = 0.5
MIRROR_MEMORY_S = 0.3
POSTURE_SMOOTHING_S = 0.1
# Maximum extrapolation of keypoints after the last look, and time between the last two looks.
CARRIED_S = 0.11


def carried_points(looks: Sequence[tuple[int, np.ndarray]], now_ns: int) -> np.ndarray | None:
    """Return keypoints (K, 2) px extrapolated from two looks, (time, keypoints) each.

    None if the looks are too long ago or too far apart.
    """
    (first_ns, first), (last_ns, last) = looks
    if (now_ns - last_ns) * 1e-9 > CARRIED_S or (last_ns - first_ns) * 1e-9 > CARRIED_S:
        return None
    step = (last - first) * ((now_ns - last_ns) / (last_ns - first_ns))
    carried: np.ndarray = (last + step).astype(np.float32)
    return carried


@dataclass(slots=True, eq=False)  # tracks are compared by identity, because arrays do not compare
class Track:
    """One tracked person: the last sighting, moved to position_ns by correct() if it was called.

    misses: images since the person was seen. corrected: whether position and velocity are from
    correct(). usual_px: the body circle's diameter in the last half second. looks: times and
    keypoints (K, 2) of the last two sightings that were not extrapolated. picture: whether the
    person was found to have never moved; dropped: whether they are not published for this reason.
    """

    sighting: Sighting
    seen_ns: int
    position_ns: int
    velocity_px_s: np.ndarray = field(default_factory=lambda: np.zeros(2))
    hits: int = 1
    credit_s: float = 0.0
    track_id: int = 0
    corrected: bool = False
    mirrored_since_ns: int | None = None
    misses: int = 0
    stillness: Stillness = field(default_factory=Stillness)
    picture: bool = False
    dropped: bool = False
    first_ns: int = field(init=False)
    posture: np.ndarray = field(init=False)
    colours: np.ndarray | None = field(init=False)
    usual_px: float = field(init=False)
    looks: tuple[tuple[int, np.ndarray], ...] = field(init=False)

    def __post_init__(self) -> None:
        self.first_ns = self.seen_ns
        self.colours = self.sighting.colours
        self.usual_px = self.sighting.diameter_px
        self.posture = posture(self.sighting)
        self.looks = ((self.seen_ns, self.sighting.points_px),)
        self._watch()

    def _watch(self) -> None:
        now = self.sighting
        self.stillness.look(now.points_px, now.visibility, now.diameter_px, self.seen_ns)

    def predicted(self, now_ns: int) -> Sighting:
        """The last sighting moved with a decaying velocity."""
        elapsed = max(0.0, (now_ns - self.position_ns) * 1e-9)
        shift = self.velocity_px_s * VELOCITY_DECAY_S * -np.expm1(-elapsed / VELOCITY_DECAY_S)
        return moved(self.sighting, shift, 1.0, self.sighting.region.centre_px)

    def region(self, now_ns: int) -> Region:
        """The region to look for the person at a time.

        Half of a person behind furniture is seen best in a larger region than a whole body: after
        two failed looks the next two are wider, in turns.
        """
        expected = self.predicted(now_ns).region
        return expected.widened(WIDER) if self.misses // 2 % 2 else expected

    def take(self, sighting: Sighting, now_ns: int, interval_s: float, hold_time_s: float) -> None:
        """Update the track with a matched sighting.

        interval_s: time since the last image, whether the person was seen in it or not.
        """
        elapsed = (now_ns - self.seen_ns) * 1e-9
        unseen_s = max(0.0, elapsed - interval_s)
        earned_s = 0.0 if sighting.carried else interval_s * sighting.score**2
        self.credit_s = min(self.credit_s - unseen_s + earned_s, hold_time_s)
        sighting = self._facing_as_before(sighting, now_ns)
        self._turn_to(sighting.region.centre_px, now_ns, corrected=False)
        self._wear(sighting.colours, interval_s)
        self._grow(sighting.diameter_px, interval_s)
        self.sighting, self.seen_ns, self.position_ns = sighting, now_ns, now_ns
        self.misses = 0
        if not sighting.carried:
            self._watch()
            self.looks = (*self.looks[-1:], (now_ns, sighting.points_px))
            self.hits += 1

    def carried(self, now_ns: int) -> Sighting | None:
        """The newest sighting with keypoints extrapolated from the last two looks.

        None if those are too long ago or too far apart.
        """
        points = carried_points(self.looks, now_ns) if len(self.looks) > 1 else None
        if points is None:
            return None
        shift = (points - self.sighting.points_px).mean(axis=0).astype(float)
        there = moved(self.sighting, shift, 1.0, self.sighting.region.centre_px)
        return replace(
            there,
            points_px=points,
            carried=True,
            searched=False,
            colours=None,
            details=self.sighting.details_at(points),
        )

    def _wear(self, colours: np.ndarray | None, interval_s: float) -> None:
        """Update the stored colours slowly: others may stand in front."""
        if colours is None:
            return
        gain = 1.0 if self.colours is None else -np.expm1(-interval_s / COLOUR_SMOOTHING_S)
        before = colours if self.colours is None else self.colours
        self.colours = before + np.float32(gain) * (colours - before)

    def _grow(self, diameter_px: float, interval_s: float) -> None:
        """Update the usual size with a new one, proportionally."""
        gain = -np.expm1(-interval_s / SIZE_SMOOTHING_S)
        self.usual_px *= float(diameter_px / self.usual_px) ** gain

    def correct(self, points_px: np.ndarray, known: np.ndarray, stamp_ns: int) -> None:
        """Move an unseen person so that their known keypoints (K, 2) are at the given places."""
        now = self.predicted(stamp_ns)
        old, new = now.points_px[known], points_px[known]
        size = np.linalg.norm(new - new.mean(axis=0)) / np.linalg.norm(old - old.mean(axis=0))
        scale = float(np.clip(size, 1 / SIZE_RATIO_LIMIT, SIZE_RATIO_LIMIT))
        middle = old.mean(axis=0).astype(float)
        there = moved(now, new.mean(axis=0) - middle, scale, middle)
        self._grow(there.diameter_px, (stamp_ns - self.position_ns) * 1e-9)
        self._turn_to(there.region.centre_px, stamp_ns, corrected=True)
        points = there.points_px.copy()
        points[known] = new
        self.sighting, self.position_ns = replace(there, points_px=points), stamp_ns

    def _turn_to(self, centre_px: np.ndarray, stamp_ns: int, corrected: bool) -> None:
        """Update the velocity with a step to a new centre.

        Seen and recovered positions differ slightly, which is not a motion.
        """
        elapsed_s, like = (stamp_ns - self.position_ns) * 1e-9, self.corrected == corrected
        self.corrected = corrected
        if elapsed_s <= 0.0 or not like:
            return
        gain = -np.expm1(-elapsed_s / VELOCITY_SMOOTHING_S)
        step = (centre_px - self.sighting.region.centre_px) / elapsed_s
        self.velocity_px_s = self.velocity_px_s + gain * (step - self.velocity_px_s)

    def _facing_as_before(self, sighting: Sighting, now_ns: int) -> Sighting:
        """Undo the landmark network's sudden swap of left and right.

        For people seen from behind it flickers between the two for up to 0.5 s, with high
        confidence. The comparison is with the posture of the last 0.1 s, because half-swapped
        images occur in between. A swap that lasts longer than MIRROR_PATIENCE_S is accepted.
        """
        elapsed_s = (now_ns - self.seen_ns) * 1e-9
        straight = posture(sighting)
        direct = mean_distance(self.posture[SIDED], straight[SIDED])
        swapped = mean_distance(self.posture[SIDED], straight[MIRRORED][SIDED])
        since = self.mirrored_since_ns
        sudden = direct > MIRROR_MIN_DISTANCE and swapped < MIRROR_RATIO * direct
        lasting = since is not None and (now_ns - since) * 1e-9 > MIRROR_PATIENCE_S
        if not sudden or lasting or elapsed_s > MIRROR_MEMORY_S:
            self.mirrored_since_ns = None
            gain = 1.0 if lasting else -np.expm1(-elapsed_s / POSTURE_SMOOTHING_S)
            self.posture = self.posture + gain * (straight - self.posture)
            return sighting
        self.mirrored_since_ns = now_ns if since is None else since
        gain = -np.expm1(-elapsed_s / POSTURE_SMOOTHING_S)
        self.posture = self.posture + gain * (straight[MIRRORED] - self.posture)
        return sighting.mirrored
