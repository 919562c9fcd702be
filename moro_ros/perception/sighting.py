"""Sighting: one person seen in one image, and how two of them compare."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from moro_ros.perception.blazepose import REGION_SCALE, Landmarks, Region
from moro_ros.perception.plausibility import VISIBLE, believed, fit
from moro_ros.types import KEYPOINTS


def _mirrored_order(names: list[str]) -> np.ndarray:
    """Index of the keypoint of the other body side for each keypoint."""
    swap = {"left": "right", "right": "left"}
    other = [
        "_".join([swap[name.split("_")[0]], *name.split("_")[1:]])
        if name.split("_")[0] in swap
        else name
        for name in names
    ]
    return np.array([names.index(name) for name in other])


MIRRORED = _mirrored_order(list(KEYPOINTS))
SIDED = np.flatnonzero(np.arange(len(MIRRORED)) != MIRRORED)


@dataclass(frozen=True, slots=True)
class Sighting:
    """One person seen in the current image, not yet known to be anybody.

    points_px: (K, 2) keypoints; visibility (as far as it is believed, see plausibility.py),
    presence: (K,); all in the order of KEYPOINTS.
    region: the body circle's region; score: probability that it is a person; fit: how well a body
    fits what is seen (plausibility.fit).
    searched: True if the search of the whole image led to it, so that it may be somebody new.
    colours: of the torso (appearance.torso_colours), None where it is not in the image.
    carried: True if nobody looked: it follows from the sightings before (Track.carried).
    """

    points_px: np.ndarray
    visibility: np.ndarray
    presence: np.ndarray
    region: Region
    score: float
    fit: float = 1.0
    searched: bool = False
    colours: np.ndarray | None = None
    carried: bool = False

    @staticmethod
    def of(landmarks: Landmarks, side_px: float, image_size: tuple[int, int]) -> Sighting:
        """The sighting that an answer of the landmark network stands for.

        side_px: of the region that the network saw; image_size: (width, height), pixels.
        """
        keypoints, peaks = landmarks.keypoints, landmarks.keypoint_peaks
        return Sighting(
            keypoints.points_px,
            believed(keypoints.points_px, keypoints.visibility, peaks, side_px, image_size),
            keypoints.presence,
            landmarks.region,
            landmarks.flag,
            fit(peaks, side_px),
        )

    @property
    def diameter_px(self) -> float:
        """Diameter of the body circle, the measure of a person's size in the image."""
        return self.region.side_px / REGION_SCALE

    @property
    def shown_px(self) -> np.ndarray:
        """(N, 2) visible keypoints, or all if hardly any is visible."""
        seen = self.visibility >= VISIBLE
        return self.points_px[seen] if seen.sum() >= 4 else self.points_px

    @property
    def box_xyxy(self) -> np.ndarray:
        """(4,) float32 box round the visible keypoints, or round all if hardly any is visible."""
        points = self.shown_px
        return np.concatenate([points.min(axis=0), points.max(axis=0)]).astype(np.float32)


def pose_distance(a: Sighting, b: Sighting) -> float:
    """Mean distance of the keypoints of two sightings in units of the larger body circle.

    Keypoints seen in both weigh most. Left and right may be exchanged: that is the network's most
    frequent mistake and says nothing of who it is.
    """
    weights = np.maximum(np.minimum(a.visibility, b.visibility), 0.05)
    direct = np.average(np.linalg.norm(a.points_px - b.points_px, axis=1), weights=weights)
    swapped = np.average(
        np.linalg.norm(a.points_px - b.points_px[MIRRORED], axis=1),
        weights=np.maximum(np.minimum(a.visibility, b.visibility[MIRRORED]), 0.05),
    )
    return float(min(direct, swapped)) / max(a.diameter_px, b.diameter_px)


def moved(sighting: Sighting, shift_px: np.ndarray, scale: float, about: np.ndarray) -> Sighting:
    """The sighting scaled about a point of the image and then shifted."""
    region = sighting.region
    centre = (region.centre_px - about) * scale + about + shift_px
    points = (sighting.points_px - about) * scale + about + shift_px
    return replace(
        sighting,
        points_px=points.astype(np.float32),
        region=Region(centre, region.side_px * scale, region.angle),
    )


def posture(sighting: Sighting) -> np.ndarray:
    """Keypoints from mid-hip in units of the body circle's diameter, (K, 2)."""
    return (sighting.points_px - sighting.region.centre_px) / sighting.diameter_px


def mean_distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b, axis=1).mean())
