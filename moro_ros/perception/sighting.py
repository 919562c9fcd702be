"""Sighting: one person seen in one image, how much of it is believed, and how two compare."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from moro_ros.perception.blazepose import REGION_SCALE, Landmarks, Region
from moro_ros.types import KEYPOINTS

# What of an answer of the landmark network may be believed. It always gives all landmarks. Its
# visibility score is wrong in three ways: hips are "seen" behind tables and below the image's
# border, points of a covered limb lie on whoever covers it, and where there is no person at all one
# is fitted to a curtain. Its heatmaps are not wrong in this way: a point that it sees has a high,
# narrow peak, a point that it infers a low, broad one. The rules here lower the visibility of what
# cannot be known; they never raise one. The numbers were measured on the videos of docs/accuracy.md
# ("What the front-end believes").

# Visibility from which a keypoint counts as seen.
VISIBLE = 0.5
# Visibility of what is not believed, at most: what the network itself says of unseen points.
DISBELIEVED = 0.3
# Least peak of a point that is seen. Below it 40 % of the "visible" points of people who cover one
# another are off by more than a twentieth of the body; above 0.7 it is 4 %.
SHARP = 0.5
# Least peak of hips below which no leg is seen. Hips above the edge of a table have 0.7, hips that
# are guessed behind it 0.2 to 0.5.
SHARP_HIPS = 0.6
# Such hips must also be inside the image by this part of the torso's length.
HIPS_MARGIN = 0.15
# No torso is longer than so many times the shoulders' width and the way from them to the nose,
# whichever is longer (the 99th percentile of people in full view is 3.1 at most).
LONGEST_TORSO = 3.2
# A crop that had to be enlarged is blurred, and its peaks are lower by this factor.
CROP_PX, BLURRED = 256.0, 0.7
# The mean of the so many highest peaks tells how well the network's body fits what it sees.
FITTING = 6
# Least fit of somebody new (people: 0.65 and more, once they are inside the image; bodies fitted to
# curtains, shirts and table tops: 0.4 to 0.6), and of somebody followed.
SURE_FIT, LEAST_FIT = 0.6, 0.45
# Somebody new who stands on their head is more often half of an upright person, fitted upside down,
# than a gymnast: such a body must fit better. The angle is from upright in the image, rad.
INVERTED, SURE_FIT_INVERTED = 1.8, 0.75

_NAMES = list(KEYPOINTS)


def _rows(*names: str) -> list[int]:
    return [_NAMES.index(name) for name in names]


_NOSE = _NAMES.index("nose")
_SHOULDERS = _rows("left_shoulder", "right_shoulder")
_HIPS = _rows("left_hip", "right_hip")
_LEGS = _rows("left_knee", "right_knee", "left_ankle", "right_ankle")


def believed(
    points_px: np.ndarray,
    visibility: np.ndarray,
    peaks: np.ndarray,
    side_px: float,
    image_size: tuple[int, int],
) -> np.ndarray:
    """Return the visibility (K,) float32 of keypoints, lowered where they cannot be known.

    points_px: (K, 2), visibility: (K,), peaks: (K,) heights of the heatmaps' peaks in [0, 1], in
    the order of KEYPOINTS; side_px: of the region that the network saw; image_size: (width,
    height), pixels.

    Not believed are: points outside of the image; points with a dull peak; hips below which no leg
    is seen, if they are dull or at the image's border; hips of a torso that is too long for its
    shoulders and head.
    """
    outside = np.any((points_px < 0) | (points_px >= image_size), axis=1)
    doubted = outside | (peaks < SHARP * _blur(side_px))
    seen = (visibility >= VISIBLE) & ~doubted
    shoulders, hips = points_px[_SHOULDERS], points_px[_HIPS]
    middle = shoulders.mean(axis=0)
    torso = _length(hips.mean(axis=0) - middle)
    if not seen[_LEGS].any():
        margin = HIPS_MARGIN * torso
        low, high = hips.min(axis=0), hips.max(axis=0)
        at_border = bool(np.any(low < margin) or np.any(high >= np.subtract(image_size, margin)))
        if at_border or peaks[_HIPS].mean() < SHARP_HIPS * _blur(side_px):
            doubted[_HIPS] = True
    breadth = max(_length(shoulders[0] - shoulders[1]), _length(points_px[_NOSE] - middle))
    if torso > LONGEST_TORSO * breadth:
        doubted[_HIPS] = True
    return np.where(doubted, np.minimum(visibility, DISBELIEVED), visibility).astype(np.float32)


def fit(peaks: np.ndarray, side_px: float) -> float:
    """How well a body fits what is seen in a region, 0 to 1, by the peaks of its keypoints (K,).

    Raised for small regions, so that it compares with SURE_FIT and LEAST_FIT.
    """
    return float(np.sort(peaks)[-FITTING:].mean() / _blur(side_px))


def sure_of_newcomer(fit_of_body: float, angle: float) -> bool:
    """Whether a body fits well enough to be somebody new; angle: Region.angle of the body, rad."""
    turn = abs((angle + np.pi) % (2 * np.pi) - np.pi)
    return fit_of_body >= (SURE_FIT_INVERTED if turn > INVERTED else SURE_FIT)


def _blur(side_px: float) -> float:
    """How much lower peaks are for the size of a region."""
    return 1.0 if side_px >= CROP_PX else BLURRED


def _length(vector: np.ndarray) -> float:
    return float(np.hypot(*vector))


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

    points_px: (K, 2) keypoints; visibility (as far as it is believed),
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
