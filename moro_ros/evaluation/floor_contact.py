"""Contact of recovered bodies with the floor: soles above or below it, and parts below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from moro_ros.body.topology import CONTACT_JOINTS
from moro_ros.recover.ground import STANDING_SPEED, GroundPlane

# A foot stands if its true sole is this near to the ground [m], and its joints hardly move.
STANDING_M = 0.03
# A body with a point lower than this below the ground is through the floor [m].
THROUGH_M = 0.03
# The joints of each foot: ankle and ball.
FEET = (CONTACT_JOINTS[:2], CONTACT_JOINTS[2:])


@dataclass(frozen=True, slots=True)
class Contact:
    """Contact of a recovered body in one image.

    soles_m: how far the lowest points of the feet that truly stand are above the true ones, m;
    through_m: how far the body is below the ground, m, as far as the true one is not.
    """

    soles_m: tuple[float, ...]
    through_m: float


def soles(heights: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Return the height of the lowest point of each foot, (2,) m.

    heights: (V,) m, of the vertices; parts: (V,), the joint that moves each vertex most.
    """
    return np.array([heights[np.isin(parts, foot)].min() for foot in FEET])


def contact_of(
    found: np.ndarray, true: np.ndarray, parts: np.ndarray, ground: GroundPlane, slow: np.ndarray
) -> Contact:
    """Return the contact of a recovered body.

    found, true: vertices (V, 3) m, of the recovered and the true body; parts: see soles; ground:
    under the bare feet; slow: (2,) bool, see slow_feet.
    """
    heights, true_heights = (ground.heights(v.astype(np.float64)) for v in (found, true))
    true_soles = soles(true_heights, parts)
    stands = slow & (np.abs(true_soles) < STANDING_M)
    off = (soles(heights, parts) - true_soles)[stands]
    through_m = min(0.0, float(true_heights.min())) - float(heights.min())
    return Contact(tuple(off.tolist()), max(0.0, through_m))


def slow_feet(joints: np.ndarray, before: np.ndarray, seconds: float) -> np.ndarray:
    """Return which feet hardly move, (2,) bool; joints, before: (22, 3) m, `seconds` apart."""
    way_m = np.linalg.norm(joints - before, axis=-1)
    return np.array([(way_m[list(foot)] < STANDING_SPEED * seconds).all() for foot in FEET])


def contact_metrics(contacts: Sequence[Contact]) -> dict[str, float]:
    """Return sole_m, the mean distance of standing soles from the floor, NaN if none stands.

    And through, the share of the images in which the body is more than THROUGH_M below the floor.
    """
    off = np.array([off for contact in contacts for off in contact.soles_m])
    return {
        "sole_m": float(np.abs(off).mean()) if off.size else float("nan"),
        "through": float(np.mean([contact.through_m > THROUGH_M for contact in contacts])),
    }
