"""The distance of a person, estimated from several sources.

A larger body farther away looks the same to one camera. So the unknown is one number per person and
image: the true distance over the network's, which is also the true size of the body over the
network's. This module uses its logarithm, in which the errors of all sources are comparable: a clue
of 0.1 with a sigma of 0.03 means "10 % farther and larger, plus or minus 3 %".
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from moro_ros.body.topology import LEAST_STATURE_M, MOST_STATURE_M
from moro_ros.recover.one_floor import PRIOR_SIGMA
from moro_ros.recover.refinement import Seen
from moro_ros.recover.steady_pose import BodyPose
from moro_ros.types import DEPTH, FLOOR, PRIOR, STATURE, Place

# As PRIOR_SIGMA, for a network that is given the floor. Children are far outside of both, so other
# sources that contradict the network take precedence.
FLOOR_INPUT_SIGMA = 0.08
# Sigma of stature over distance in the image, because the posture is not known exactly; with hidden
# legs, as the network does not know whether they sit.
APPARENT_SIGMA, APPARENT_HIDDEN_SIGMA = 0.06, 0.08
# Statures are learned from clues that are not older than this [s].
FRESH_S = 0.3
# Images whose place is kept for a second description (refined output): 60 frames at 30 Hz from a
# camera of 500 Hz, or at 15 Hz from one of 250 Hz.
PLACES_KEPT = 1024
# Drift of the network's error per second, which reduces the weight of older clues.
DRIFT = 0.05
# Averaging time of clues [s], by source.
AVERAGING_S = {FLOOR: 0.7, DEPTH: 0.1}
# Error of the sources that averaging does not remove.
SYSTEMATIC = {FLOOR: 0.03, DEPTH: 0.005, STATURE: 0.0}
# The published value follows the sources with this time constant [s]; that of depth, which is
# precise, with a shorter one and with its rate of change. A change larger than JUMP is not motion
# and is published at once.
SMOOTHING_S, DEPTH_SMOOTHING_S, JUMP = 0.2, 0.12, 0.1
# Smaller corrections are ignored.
NEGLIGIBLE = 1e-3
# Statures are learned from one independent clue per this time [s]; minimum sigma LEAST.
INDEPENDENT_S, LEAST_STATURE_SIGMA = 1.0, 0.015
# Sigma of a stature given by a user: shoes, hair, posture.
GIVEN_STATURE_SIGMA = 0.01
# Sigma of the stature from one depth image, which replaces a user's that it contradicts.
MEASURED_STATURE_SIGMA = 0.05
# Sigma of the logarithm of a learned stature that no longer changes the size of a locked shape.
SETTLED_SIGMA = 0.03
# A clue this many sigma from a learned stature does not change it unless it persists [s].
OUTLYING, CONTRADICTED_S = 3.0, 3.0


@dataclass(frozen=True, slots=True)
class Unplaced:
    """One person in one image at the network's distance, camera optical frame.

    pose: (F = 1); joints: (22, 3) m; contact: (4,) probabilities of CONTACT_JOINTS; observed: (22,)
    bool; locked: whether the shape is locked; stamp_ns: of the image; seen: the keypoints that the
    pose was refined on, None: it was not, or its mesh is not skinned. Set by Placing: stature_m,
    and size: of the body over the template's.
    """

    pose: BodyPose
    joints: np.ndarray
    contact: np.ndarray
    observed: np.ndarray
    locked: bool
    stamp_ns: int
    seen: Seen | None = None
    stature_m: float = 0.0
    size: float = 1.0


@dataclass(frozen=True, slots=True)
class Placed:
    """A pose (F = 1) at the distance estimated from all sources, and these sources.

    jumped: the published place jumped without a motion of the person.
    """

    pose: BodyPose
    place: Place
    jumped: bool


Placer = Callable[[Unplaced], Placed | None]


@dataclass(frozen=True, slots=True)
class Clue:
    """A source's clue from one image: the logarithm of true over network's distance, and sigma."""

    log_scale: float
    sigma: float


class RunningClue:
    """The average of one source's recent clues; older ones have less weight."""

    def __init__(self, source: int) -> None:
        self._averaging_s = AVERAGING_S[source]
        self._systematic = SYSTEMATIC[source]
        self._log_scale = self._variance = 0.0
        self._stamp_ns: int | None = None
        self.teaches = True

    def add(self, clue: Clue, stamp_ns: int, teaches: bool = True) -> None:
        """Add a clue; stamp_ns: its time, not before the newest one.

        teaches: whether a stature may be learned from it; earlier clues that do not teach are then
        forgotten.
        """
        if teaches and not self.teaches:
            self.forget()
        self.teaches = teaches
        variance = clue.sigma**2
        if self._stamp_ns is None:
            self._log_scale, self._variance = clue.log_scale, variance
        else:
            seconds = (stamp_ns - self._stamp_ns) * 1e-9
            # Less certain clues have less weight; after a gap the new clue replaces the old one.
            if seconds > self._averaging_s:
                self._variance += DRIFT**2 * seconds
            share = min(1.0, self._variance / variance)
            gain = -math.expm1(-max(seconds, 0.0) * share / self._averaging_s)
            self._log_scale += gain * (clue.log_scale - self._log_scale)
            self._variance += gain * (variance - self._variance)
        self._stamp_ns = stamp_ns

    def at(self, stamp_ns: int) -> Clue | None:
        """Return the clue for another time; None before the first."""
        if self._stamp_ns is None:
            return None
        seconds = abs(stamp_ns - self._stamp_ns) * 1e-9
        variance = self._variance + self._systematic**2 + DRIFT**2 * seconds
        return Clue(self._log_scale, math.sqrt(variance))

    def fresh(self, stamp_ns: int) -> bool:
        """Return whether the newest clue is less than FRESH_S old."""
        return self._stamp_ns is not None and abs(stamp_ns - self._stamp_ns) < FRESH_S * 1e9

    def forget(self) -> None:
        """Forget the clues, for instance if their source is wrong."""
        self._stamp_ns = None


class Stature:
    """The known stature of one person: its logarithm, and sigma. A user's value is kept.

    measured_m: stature from depth if it contradicted the user's for CONTRADICTED_S [m], else None;
    from_floor: whether only a floor determines it; apparent_sigma: that of the last image.
    """

    def __init__(self) -> None:
        self.log_m: float | None = None
        self.variance = math.inf
        self.given = False
        self.from_floor = True
        self.apparent_sigma = APPARENT_SIGMA
        self.measured_m: float | None = None
        self._contradicted_s = 0.0

    @property
    def sigma(self) -> float:
        """Sigma of the logarithm."""
        return math.sqrt(self.variance)

    @property
    def body_m(self) -> float | None:
        """The stature of the body [m]: a measured one that contradicts the user's, or the known."""
        known_m = None if self.log_m is None else math.exp(self.log_m)
        return self.measured_m or known_m

    @property
    def settled(self) -> bool:
        """Whether it is known well enough for a locked shape."""
        return self.sigma < SETTLED_SIGMA

    def give(self, stature_m: float) -> None:
        """Set a user's value."""
        self.log_m, self.variance = math.log(stature_m), GIVEN_STATURE_SIGMA**2
        self.given, self.measured_m, self._contradicted_s = True, None, 0.0
        self.from_floor = False

    def compare(self, log_m: float, sigma: float, seconds: float) -> None:
        """Compare a user's value with an image's measurement, `seconds` after the one before."""
        assert self.log_m is not None
        allowed = OUTLYING * math.hypot(sigma, self.apparent_sigma, self.sigma)
        contradicts = abs(log_m - self.log_m) > allowed
        self._contradicted_s = self._contradicted_s + seconds if contradicts else 0.0
        lasts = self._contradicted_s > CONTRADICTED_S
        self.measured_m = math.exp(log_m) if lasts else None

    def learn(self, log_m: float, sigma: float, seconds: float, common: float = 0.0) -> bool:
        """Learn from an image, `seconds` after the one before.

        common: sigma of the error that all images share. Returns whether the value was taken.
        """
        if self.given or not LEAST_STATURE_M <= math.exp(log_m) <= MOST_STATURE_M:
            return False
        variance = sigma**2 + self.apparent_sigma**2
        least = max(LEAST_STATURE_SIGMA, common) ** 2
        if self.log_m is None:
            self.log_m, self.variance = log_m, variance
            return True
        step = log_m - self.log_m
        if abs(step) > OUTLYING * math.sqrt(variance + self.variance):
            self._contradicted_s += seconds
            if self._contradicted_s > CONTRADICTED_S:
                self.log_m, self.variance, self._contradicted_s = log_m, variance, 0.0
                return True
            return False
        self._contradicted_s = 0.0
        # Errors of successive images are correlated: together they are one clue.
        variance *= max(1.0, INDEPENDENT_S / max(seconds, 1e-3))
        gain = self.variance / (self.variance + variance)
        self.log_m += gain * step
        self.variance = max((1.0 - gain) * self.variance, least, sigma**2 / 4)
        return True

    def clue(self, log_network: float) -> Clue | None:
        """Return its clue of the distance; log_network: logarithm of the network's stature."""
        if self.body_m is None:
            return None
        sigma = MEASURED_STATURE_SIGMA if self.measured_m else self.sigma
        return Clue(math.log(self.body_m) - log_network, math.hypot(sigma, self.apparent_sigma))


@dataclass(frozen=True, slots=True)
class Fused:
    """The result of all sources: a clue, and the source with the largest weight."""

    clue: Clue
    source: int


def fuse(clues: Mapping[int, Clue], floor_input: bool = False, seat: bool = False) -> Fused:
    """Weight the sources by their sigma; sources that contradict the network take precedence.

    clues: by source (types.PLACE_SOURCES); floor_input: the network was given the floor; seat: the
    floor's clue is from a seat and contains the network's estimate (recover/seat.py), which then
    makes the result no surer.
    """
    prior = FLOOR_INPUT_SIGMA if floor_input else PRIOR_SIGMA
    own = FLOOR if floor_input else PRIOR
    total = sum(clue.sigma**-2 for clue in clues.values())
    log_scale = sum(c.log_scale * c.sigma**-2 for c in clues.values()) / max(total, 1e-12)
    # Like a distribution with heavy tails: children are rare, but far from adults.
    weight = 1.0 / (prior**2 + log_scale**2)
    precision = {source: clue.sigma**-2 for source, clue in clues.items()}
    precision[own] = precision.get(own, 0.0) + weight
    sure = total if seat else total + weight
    clue = Clue(log_scale * total / (total + weight), sure**-0.5)
    return Fused(clue, max(precision, key=lambda source: precision[source]))


class Follower:
    """A value that follows another one smoothly, from its first value on."""

    def __init__(self) -> None:
        self.value = self._rate = 0.0
        self._started = False

    def start(self) -> None:
        """Start at zero."""
        self.value, self._rate, self._started = 0.0, 0.0, True

    def follow(self, target: float, seconds: float, depth: bool) -> bool:
        """Move towards a target, `seconds` after the last one; returns whether it jumped there.

        depth: whether the target is from depth; then it is an alpha-beta filter with the gains of
        Benedict and Bordner (1962), which follows a constant rate without lag.
        """
        if not self._started:
            self.value, self._started = target, True
            return abs(target) > JUMP
        expected = self.value + self._rate * seconds
        step = target - expected
        if abs(target - self.value) > JUMP:
            self.value, self._rate = target, 0.0
            return True
        gain = -math.expm1(-max(seconds, 0.0) / (DEPTH_SMOOTHING_S if depth else SMOOTHING_S))
        self.value = expected + gain * step
        if not depth:
            self._rate = 0.0
        elif seconds > 0.0:
            self._rate += gain**2 / (2.0 - gain) * step / seconds
        return False


# See PersonPlace.update.
PlacedBy = tuple[float, Place, bool]


class PersonPlace:
    """The place of one person over time: running clues, stature, and the published result.

    floor_sigma: of the camera's height above the floor, relative; legs_hidden: whether neither hip
    nor leg is seen.
    """

    def __init__(self) -> None:
        self.floor_sigma = 0.0
        self.legs_hidden = False
        self.stature = Stature()
        self.running = {source: RunningClue(source) for source in AVERAGING_S}
        self._published = Follower()
        self._stamp_ns: int | None = None
        self._placed: OrderedDict[int, PlacedBy | None] = OrderedDict()

    def at(self, stamp_ns: int) -> PlacedBy | None:
        """Return the result of `update` for an earlier image; None if it is not known."""
        return self._placed.get(stamp_ns)

    def update(
        self, stamp_ns: int, log_network: float, floor_input: bool, learn: bool
    ) -> PlacedBy | None:
        """Return the logarithm of true over network's distance, its sources, and Placed.jumped.

        log_network: logarithm of the network's stature [m]; floor_input: see fuse; learn: whether
        the stature may follow the sources. None: there is no source but the network.
        """
        found = self._placed[stamp_ns] = self._update(stamp_ns, log_network, floor_input, learn)
        if len(self._placed) > PLACES_KEPT:
            self._placed.popitem(last=False)
        return found

    def _update(
        self, stamp_ns: int, log_network: float, floor_input: bool, learn: bool
    ) -> PlacedBy | None:
        self.stature.apparent_sigma = APPARENT_HIDDEN_SIGMA if self.legs_hidden else APPARENT_SIGMA
        clues = {
            source: clue
            for source, running in self.running.items()
            if (clue := running.at(stamp_ns)) is not None
        }
        seconds = 0.0 if self._stamp_ns is None else (stamp_ns - self._stamp_ns) * 1e-9
        fresh = {s: clue for s, clue in clues.items() if self.running[s].fresh(stamp_ns)}
        if self.stature.given and (clue := fresh.get(DEPTH)) is not None:
            self.stature.compare(log_network + clue.log_scale, clue.sigma, seconds)
        if learn and (taught := {s: c for s, c in fresh.items() if self.running[s].teaches}):
            measured = fuse(taught, floor_input).clue
            common = 0.0 if DEPTH in taught else self.floor_sigma
            log_m = log_network + measured.log_scale
            if self.stature.learn(log_m, measured.sigma, seconds, common):
                self.stature.from_floor &= DEPTH not in taught
        # A stature that was learned from a floor has its error, so only one of both is a source.
        again = self.stature.from_floor and FLOOR in fresh
        if (known := self.stature.clue(log_network)) is not None and not again:
            clues[STATURE] = known
            if self.stature.from_floor:
                clues.pop(FLOOR, None)
        self._stamp_ns = stamp_ns
        if not clues and not floor_input and abs(self._published.value) < NEGLIGIBLE:
            self._published.start()
            return None
        fused = fuse(clues, floor_input, FLOOR in clues and not self.running[FLOOR].teaches)
        jumped = self._published.follow(fused.clue.log_scale, seconds, fused.source == DEPTH)
        published = self._published.value
        # A learned stature may have been learned from the floor.
        sure = {DEPTH, STATURE} if self.stature.given else {DEPTH}
        free = fuse({s: c for s, c in clues.items() if s in sure}).clue
        # Until the published value has reached the sources', it is off by the difference.
        sigma = math.hypot(fused.clue.sigma, fused.clue.log_scale - published)
        place = Place(fused.source, sigma, math.exp(free.log_scale - published), free.sigma)
        return published, place, jumped
