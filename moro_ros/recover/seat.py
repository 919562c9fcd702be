"""A person's distance from a known floor if neither hips nor legs are seen: they sit, or stand.

With hidden legs, a trunk low above the floor is that of a seated adult or of a standing child, and
the network, given the floor, decides for one of them. Here both are kept: the clue is the mean and
the standard deviation over all sizes of the person, so its sigma is large where both fit.
"""

from __future__ import annotations

import math

import numpy as np

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.recover.children import CHILDREN, child_density
from moro_ros.recover.ground import GroundPlane
from moro_ros.recover.place import Clue, Unplaced

# With a seen hip, a table is unlikely.
LEGS = [i for i, name in enumerate(JOINT_NAMES) if name.endswith(("hip", "knee", "ankle", "foot"))]
SHOULDERS = [JOINT_NAMES.index(f"{side}_shoulder") for side in ("left", "right")]
# Hips and legs that were seen are hidden if none is seen for this long [s]; a longer gap between
# two images counts as this long.
HIDDEN_S = 0.5
# Logarithms of the person's size over the network's.
SCALES = np.linspace(-0.8, 0.8, 161)
# Smallest drop of the pelvis below the camera for the floor's error [m].
LEAST_DROP_M = 0.1
# The network's size without knowing whether they sit.
NETWORK_SIGMA = 0.25
# Adults: their mean stature, and sigma of its logarithm.
ADULT_M, ADULT_SIGMA = 1.7, 0.07
# Seated: height of the pelvis above the floor, that of the seat and a share of the stature [m].
SEATED, SEAT_M, SEAT_SHARE, SEAT_SIGMA_M = 0.7, 0.45, 0.053, 0.08
# Standing: height of the pelvis over the stature.
STANDING, STANDING_SIGMA = 0.53, 0.03
# Share of other postures, such as lying or kneeling, with the pelvis at any height up to this share
# of the stature.
OTHERWISE, HIGHEST = 0.1, 0.6


class Seat:
    """The clue from the height of one person's trunk; keeps how long the legs have been hidden."""

    def __init__(self) -> None:
        self._hidden_s = HIDDEN_S
        self._stamp_ns: int | None = None

    @property
    def legs_hidden(self) -> bool:
        """Whether neither hip nor leg has been seen for a while, or ever."""
        return self._hidden_s >= HIDDEN_S

    def look(self, person: Unplaced) -> None:
        """Update with an image."""
        seconds = 0.0
        if self._stamp_ns is not None:
            seconds = min(max((person.stamp_ns - self._stamp_ns) * 1e-9, 0.0), HIDDEN_S)
        self._stamp_ns = person.stamp_ns
        hidden = not person.observed[LEGS].any()
        self._hidden_s = self._hidden_s + seconds if hidden else 0.0

    def clue(self, person: Unplaced, plane: GroundPlane, height_sigma: float) -> Clue | None:
        """Return the floor's clue of the distance; None if a hip or leg is seen, or no shoulder.

        person: of the image of the last look; height_sigma: of the camera's height above the floor,
        relative.
        """
        if not self.legs_hidden or not person.observed[SHOULDERS].any():
            return None
        drop = -float(person.joints[0] @ plane.normal)
        clue = scale_clue(person.stature_m, drop, plane.offset)
        # An error of the floor's height moves the pelvis, so it counts more the smaller its drop.
        moved = min(height_sigma * plane.offset / max(drop, LEAST_DROP_M), NETWORK_SIGMA)
        return Clue(clue.log_scale, math.hypot(clue.sigma, moved))


def scale_clue(stature_m: float, drop_m: float, camera_m: float) -> Clue:
    """Return mean and sigma of the logarithm of true over network's size.

    stature_m: the network's; drop_m: how far its pelvis is below the camera; camera_m: height of
    the camera above the floor.
    """
    scale = np.exp(SCALES)
    statures, pelvis = stature_m * scale, camera_m - drop_m * scale
    log_m = np.log(statures / ADULT_M)
    people = (1 - CHILDREN) * normal(log_m, ADULT_SIGMA) + CHILDREN * child_density(log_m)
    sits = normal(pelvis - SEAT_M - SEAT_SHARE * statures, SEAT_SIGMA_M)
    stands = normal(pelvis - STANDING * statures, STANDING_SIGMA * statures)
    highest_m = HIGHEST * statures
    other = ((pelvis > 0.0) & (pelvis < highest_m)) / highest_m
    posture = (1 - OTHERWISE) * (SEATED * sits + (1 - SEATED) * stands) + OTHERWISE * other
    share = people * posture * normal(SCALES, NETWORK_SIGMA) + 1e-12
    share /= share.sum()
    mean = float(share @ SCALES)
    return Clue(mean, math.sqrt(float(share @ np.square(SCALES - mean))))


def normal(offset: np.ndarray, sigma: float | np.ndarray) -> np.ndarray:
    """Return the density of a normal distribution at an offset from its mean."""
    return np.asarray(np.exp(-0.5 * np.square(offset / sigma)) / (sigma * math.sqrt(2 * math.pi)))
