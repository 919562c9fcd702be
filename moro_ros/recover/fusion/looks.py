"""Observations of each person by each camera at any time, with independent times and rates."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from moro_ros.recover.fusion.clothes import UNKNOWN, blended
from moro_ros.types import BodyMotion

# Maximum time between looks for interpolation, and after the last one for extrapolation, s.
LONGEST_GAP_S, LONGEST_CARRY_S = 0.25, 0.15
# Keypoints extrapolated for this long have half the weight.
HALF_WORTH_S = 0.05
KEPT = 16

# A camera's name and an id of that camera.
Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Look:
    """One person in one image of one camera, or between two of its images.

    points: (K, 2) on the normalised image plane; weight: (K,) visibility, 0 for unseen; box_size:
    side of the box around the seen points there; motion: the network's estimate of the person
    (F = 1), in the camera's frame; clothes: (2, 3), see clothes_of, averaged over earlier looks.
    """

    stamp_ns: int
    points: np.ndarray
    weight: np.ndarray
    box_size: float
    motion: BodyMotion
    clothes: np.ndarray = field(default_factory=UNKNOWN.copy)


@dataclass(frozen=True, slots=True)
class FusedPerson:
    """One person (F = 1) in the world frame.

    looks: the observations of them, by camera; tracks: the cameras and their ids; residual: for
    each camera, if there are several, the median distance between its keypoints and the body,
    relative to the person box.
    """

    motion: BodyMotion
    looks: Mapping[str, Look]
    tracks: tuple[Key, ...]
    residual: Mapping[str, float]


class Looks:
    """The recent looks of one camera at one person."""

    def __init__(self) -> None:
        self._looks: deque[Look] = deque(maxlen=KEPT)

    def add(self, look: Look) -> None:
        """Add a look; one that is not newer than the last is ignored."""
        if not self._looks:
            self._looks.append(look)
        elif look.stamp_ns > self._looks[-1].stamp_ns:
            clothes = blended(self._looks[-1].clothes, look.clothes)
            self._looks.append(replace(look, clothes=clothes))

    def at(self, stamp_ns: int) -> Look | None:
        """Return the look at a time, inter- or extrapolated; None if none is near enough."""
        later = next((n for n, look in enumerate(self._looks) if look.stamp_ns >= stamp_ns), None)
        if later is not None and self._looks[later].stamp_ns == stamp_ns:
            return self._looks[later]
        if later == 0 or not self._looks:
            return None
        if later is not None:
            before, after = self._looks[later - 1], self._looks[later]
            near = after.stamp_ns - before.stamp_ns <= LONGEST_GAP_S * 1e9
            return between(before, after, stamp_ns) if near else None
        if len(self._looks) < 2:
            return None
        before, after = self._looks[-2], self._looks[-1]
        carried = stamp_ns - after.stamp_ns <= LONGEST_CARRY_S * 1e9
        near = after.stamp_ns - before.stamp_ns <= LONGEST_GAP_S * 1e9
        return between(before, after, stamp_ns) if carried and near else None


def between(before: Look, after: Look, stamp_ns: int) -> Look:
    """Return the look at a time between two, or after both.

    The network's estimate is the nearest one's; solver.py allows for the motion since.
    """
    share = (stamp_ns - before.stamp_ns) / (after.stamp_ns - before.stamp_ns)
    nearest = after if share > 0.5 else before
    away_s = min(abs(stamp_ns - look.stamp_ns) for look in (before, after)) * 1e-9
    seen = np.minimum(before.weight, after.weight)
    # The error between two looks is that of linear interpolation, after them of extrapolation.
    worth = 0.5 ** (away_s / HALF_WORTH_S) if share > 1.0 else 1.0
    return Look(
        stamp_ns,
        before.points + share * (after.points - before.points),
        seen * worth,
        before.box_size + min(share, 1.0) * (after.box_size - before.box_size),
        nearest.motion,
        nearest.clothes,
    )
