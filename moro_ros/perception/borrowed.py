"""Borrowed keypoints: points of a covered person that lie on the person in front of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from moro_ros.perception.sighting import MIRRORED, VISIBLE, Sighting

# Distance of the same point of two people, in diameters of the covered person's body circle, below
# which it is one point: about half the thickness of an arm.
SAME_PLACE = 0.03


def without_borrowed(sightings: Sequence[Sighting]) -> list[Sighting]:
    """Return different people with lower visibility of points that belong to somebody else.

    If the same point of two people, or the mirrored one, lies at the same place, it is that of the
    person with the higher peak.
    """
    if len(sightings) < 2:
        return list(sightings)
    points = np.stack([one.points_px for one in sightings])  # (P, K, 2)
    seen = np.stack([one.visibility >= VISIBLE for one in sightings])
    peaks = np.stack([one.peaks for one in sightings])
    limit_px = SAME_PLACE * np.array([one.diameter_px for one in sightings])
    borrowed = np.zeros_like(seen)
    for order in (np.arange(len(MIRRORED)), MIRRORED):
        gap = points[:, None] - points[None, :, order]  # (P, P, K, 2): of whom, from whom
        near = np.hypot(gap[..., 0], gap[..., 1]) < limit_px[:, None, None]
        lower = peaks[:, None] < peaks[None, :, order]
        near[np.diag_indices(len(sightings))] = False  # own ankles may be side by side
        borrowed |= (near & lower & seen[None, :, order]).any(axis=1)
    return [one.doubting(doubted) for one, doubted in zip(sightings, borrowed, strict=True)]
