"""A person's distance from a known floor, and whether the floor is valid for that person.

Feet that stand on a known floor are as far away as the floor in their direction. The floor is wrong
for a person standing on a step, and for all people if the camera was moved or the floor is another
camera's. The signs are a stature from the floor that is outside the human range or changes, people
who do not stand upright on it, and feet that would be above the camera.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from moro_ros.body.topology import CONTACT_JOINTS, JOINT_NAMES
from moro_ros.recover.ground import JOINT_HEIGHT_M, GroundPlane
from moro_ros.recover.place import Clue, Stature, Unplaced

FEET = list(CONTACT_JOINTS)
NECK = JOINT_NAMES.index("neck")
# Maximum measured speed of a standing foot, m/s.
STANDING_SPEED = 0.75
# Feet less than this below the camera are not used: the floor is seen edge-on [m].
LEAST_DROP_M = 0.1
# Minimum contact probability of a foot that is used.
LEAST_CONTACT = 0.65
# Sigma of the height of a sole with and without ground contact [m], and of its direction from the
# camera [rad].
SOLE_SIGMA_M, LIFTED_SIGMA_M, ANGLE_SIGMA = 0.025, 0.15, 0.012
# Minimum height of other joints above the floor, for people who kneel, crawl or lie [m].
CLEARANCE_M = 0.04
# Limits of human stature [m].
SHORTEST_M, TALLEST_M = 0.75, 2.25
# The network was trained on people of up to 2.1 m. Given a floor that is too low, it makes them
# hardly any taller than that, but far away.
TALLEST_INPUT_M = 2.15
# Maximum apparent change of a stature [share], and mean lean of a person's axis [rad].
CHANGE, LEAN = 0.08, math.radians(25.0)
# Maximum apparent elevation of standing feet above the camera [rad].
RISE = 2.5 * ANGLE_SIGMA
# The axis of a person is used if they stand at least this upright [share of the stature].
UPRIGHT = 0.75
# A person who stood upright on a floor for this long without a break and then leans, falls [s].
STOOD_S = 3.0
# A person who leans by an angle between these is lying on the floor, if it is valid [rad].
LYING = math.radians(65.0), math.radians(115.0)
# Averaging time of the signs, which must also persist for as long [s].
JUDGING_S, LASTING_S = 0.7, 1.0
# If the floor disagrees for this long, the learned stature is wrong and not the floor [s].
RELEARNING_S = 30.0
# A floor is used again if it disagrees by less than this share of the limit.
HYSTERESIS = 0.6


class Feet:
    """The clue from one person's standing feet; keeps the joints of the last image."""

    def __init__(self) -> None:
        self._before: tuple[np.ndarray, int] | None = None

    def clue(self, person: Unplaced, plane: GroundPlane, height_sigma: float) -> Clue | None:
        """Return the floor's clue of the distance; None if there is none.

        It is from standing feet. Without any, it only keeps the person above the floor.
        """
        before, self._before = self._before, (person.joints, person.stamp_ns)
        stands = (person.contact > LEAST_CONTACT) & person.observed[FEET]
        if before is not None and person.stamp_ns > before[1]:
            seconds = (person.stamp_ns - before[1]) * 1e-9
            way = np.linalg.norm(person.joints[FEET] - before[0][FEET], axis=-1)
            stands &= way < STANDING_SPEED * seconds
        if not stands.any():
            return below(person, plane, height_sigma)
        # The foot with the higher contact probability.
        stands &= person.contact > person.contact[stands].max() - 0.1
        lifted = LIFTED_SIGMA_M * (1.0 - float(person.contact[stands].mean()))
        feet = person.joints[FEET][stands]
        drops = JOINT_HEIGHT_M[stands] * person.size - feet @ plane.normal
        return clue_of(feet.mean(axis=0), float(drops.mean()), plane, lifted, height_sigma)


def below(person: Unplaced, plane: GroundPlane, height_sigma: float) -> Clue | None:
    """Return the clue for a person whose observed joints would be below the floor: nearer.

    None unless a joint is lower by more than its sigma. Unobserved joints are not used: they may be
    too low because of the posture.
    """
    clearance = np.full(len(JOINT_NAMES), CLEARANCE_M)
    clearance[FEET] = JOINT_HEIGHT_M
    drops = clearance * person.size - person.joints @ plane.normal
    lowest = int(np.where(person.observed, drops, -np.inf).argmax())
    if not person.observed[lowest]:
        return None
    clue = clue_of(person.joints[lowest], float(drops[lowest]), plane, 0.0, height_sigma)
    if clue is None or clue.log_scale + clue.sigma >= 0.0:
        return None
    return replace(clue, log_scale=clue.log_scale + clue.sigma)


def clue_of(
    place: np.ndarray, drop: float, plane: GroundPlane, lifted_m: float, height_sigma: float
) -> Clue | None:
    """Return the clue of a point (3,) on the floor, at the network's distance.

    drop: how far below the camera the floor would be there [m]; lifted_m: additional sigma of the
    point's height; height_sigma: as for Feet.clue. None if the floor is seen edge-on.
    """
    if drop < LEAST_DROP_M:
        return None
    away = float(np.linalg.norm(place))
    seen = math.hypot(SOLE_SIGMA_M + lifted_m, ANGLE_SIGMA * away) / drop
    return Clue(math.log(plane.offset / drop), math.hypot(seen, height_sigma))


def impossible(stature_m: float, limit: float = 1.0, tallest_m: float = TALLEST_M) -> str:
    """Return a text if nobody is that tall, else an empty one; limit: 1, or less to be stricter."""
    margin = 0.02 * (1.0 - limit)
    if SHORTEST_M * (1 + margin) < stature_m < tallest_m * (1 - margin):
        return ""
    return f"it would make them {stature_m:.2f} m tall"


class FloorJudge:
    """Decides whether the floor is valid for one person; reason: why not, empty if it is."""

    def __init__(self) -> None:
        self.reason = ""
        self._log_stature: float | None = None
        self._axis: np.ndarray | None = None
        self._upright_s = 0.0
        self._rise: float | None = None
        self._stamp_ns: int | None = None
        self._doubted_s = 0.0
        self._stood_s = 0.0

    def judge(
        self,
        person: Unplaced,
        clue: Clue | None,
        plane: GroundPlane,
        stature: Stature,
        floor_input: bool = False,
    ) -> None:
        """Update with one image and the floor's clue; stature: known from earlier images.

        clue: None if the floor gives no distance. The floor may be wrong anyway. floor_input: the
        network was given the floor for this image, so its size of the person follows from it.
        """
        seconds = 0.0
        if self._stamp_ns is not None:
            seconds = min(max((person.stamp_ns - self._stamp_ns) * 1e-9, 0.0), JUDGING_S)
        self._stamp_ns = person.stamp_ns
        gain = -math.expm1(-seconds / JUDGING_S)
        if lies(person, plane):
            clue = None  # the network's size and distance of a fallen person are unreliable
        else:
            self._follow_axis(person, plane, seconds, gain)
        self._follow_feet(person, plane, gain)
        limit = HYSTERESIS if self.reason else 1.0
        doubt = self._misplaced(plane, limit)
        if floor_input and not doubt:
            doubt = impossible(person.stature_m, limit, TALLEST_INPUT_M)
        if clue is not None:
            implied = math.log(person.stature_m) + clue.log_scale
            before = implied if self._log_stature is None else self._log_stature
            self._log_stature = before + gain * (implied - before)
            doubt = doubt or self._missized(self._log_stature, clue, stature, limit)
        elif not doubt:
            return  # without a clue there is no sign that the floor is valid
        # Disagreement must persist, and so must agreement.
        changed = bool(doubt) != bool(self.reason)
        self._doubted_s = self._doubted_s + seconds if changed else 0.0
        if self._doubted_s >= LASTING_S:
            self.reason, self._doubted_s, self._stood_s = doubt, 0.0, 0.0
        if self.reason and doubt:
            self.reason = doubt
            self._stood_s += seconds

    def refuse(self, reason: str) -> None:
        """Ignore a floor at once, because it is impossible."""
        self.reason = reason

    def implies(self, stature: Stature) -> bool:
        """Return whether a stature is the one that follows from the floor, and came from it."""
        if stature.log_m is None or self._log_stature is None:
            return False
        return abs(stature.log_m - self._log_stature) < CHANGE

    @property
    def suspicious(self) -> bool:
        """Whether the floor is in doubt, so that nothing is learned from it."""
        return bool(self.reason) or self._doubted_s > 0.0

    @property
    def outlasted(self) -> bool:
        """Whether the floor was ignored long enough that an earlier stature may be wrong."""
        return self._stood_s > RELEARNING_S

    def _follow_axis(
        self, person: Unplaced, plane: GroundPlane, seconds: float, gain: float
    ) -> None:
        axis = person.joints[NECK] - person.joints[FEET].mean(axis=0)
        length = float(np.linalg.norm(axis))
        if length < UPRIGHT * person.stature_m or not person.observed[NECK]:
            return
        axis = axis / length
        self._axis = axis if self._axis is None else self._axis + gain * (axis - self._axis)
        if self._upright_s < STOOD_S:
            upright = not self.reason and lean(self._axis, plane) < LEAN * HYSTERESIS
            self._upright_s = self._upright_s + seconds if upright else 0.0

    def _follow_feet(self, person: Unplaced, plane: GroundPlane, gain: float) -> None:
        """Track how far standing feet would be above the camera, relative to their distance."""
        stands = (person.contact > LEAST_CONTACT) & person.observed[FEET]
        if not stands.any():
            return
        feet = person.joints[FEET][stands]
        soles = feet @ plane.normal - JOINT_HEIGHT_M[stands] * person.size
        rise = float(soles.mean()) / max(float(np.linalg.norm(feet.mean(axis=0))), 1e-9)
        self._rise = rise if self._rise is None else self._rise + gain * (rise - self._rise)

    def _misplaced(self, plane: GroundPlane, limit: float) -> str:
        """A text of why the person cannot stand on the floor as seen; empty if they can."""
        # A person who stood upright on it and leans now is falling or lying.
        angle = 0.0 if self._axis is None else lean(self._axis, plane)
        if angle > LEAN * limit and self._upright_s < STOOD_S:
            return f"they would lean by {math.degrees(angle):.0f} degrees"
        if self._rise is not None and self._rise > RISE * limit:
            return f"their feet would be {math.degrees(self._rise):.0f} degrees above the camera"
        return ""

    def _missized(self, log_stature: float, clue: Clue, stature: Stature, limit: float) -> str:
        """A text of why the stature from the floor is wrong; empty if it is not."""
        implied_m = math.exp(log_stature)
        if words := impossible(implied_m, limit):
            return words
        # A stature that also contradicts depth is no reason to doubt the floor.
        known = stature.log_m is not None and stature.measured_m is None
        if stature.log_m is not None and known and (stature.given or not self.outlasted):
            allowed = max(CHANGE, 2.0 * math.hypot(stature.sigma, clue.sigma)) * limit
            if abs(log_stature - stature.log_m) > allowed:
                known_as = "given" if stature.given else "known"
                return (
                    f"it would make them {implied_m:.2f} m tall, {known_as} as "
                    f"{math.exp(stature.log_m):.2f} m"
                )
        return ""


def lean(axis: np.ndarray, plane: GroundPlane) -> float:
    """Return the angle between an axis (3,) and the normal of a floor, rad."""
    along = float(axis @ plane.normal) / max(float(np.linalg.norm(axis)), 1e-9)
    return math.acos(min(1.0, max(-1.0, along)))


def lies(person: Unplaced, plane: GroundPlane) -> bool:
    """Return whether a person's neck is about as high above the floor as their feet."""
    axis = person.joints[NECK] - person.joints[FEET].mean(axis=0)
    return bool(person.observed[NECK]) and LYING[0] < lean(axis, plane) < LYING[1]
