"""Sighting: one person seen in one image, with its plausibility, and the comparison of two."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from moro_ros.perception.blazepose import REGION_SCALE, Landmarks, Region
from moro_ros.types import DETAILS, KEYPOINTS, NUM_KEYPOINTS, Keypoints

# Plausibility of the landmark network's output, which always has all landmarks. Its visibility
# score is wrong in three ways: hips are "seen" behind tables and below the image's border, points
# of a covered limb are placed on the person who covers it, and without a person a body is fitted to
# a curtain. Its heatmaps do not have these errors: a visible point has a high, narrow peak, an
# inferred point a low, broad one. The rules here only lower the visibility, of points that cannot
# be known. The numbers were measured on the videos of docs/accuracy.md ("Plausibility of
# keypoints"). borrowed.py compares people.

# Visibility from which a keypoint counts as seen.
VISIBLE = 0.5
# Maximum visibility of implausible points: the network's own visibility of unseen points.
DISBELIEVED = 0.3
# Minimum peak of a visible point. Below it 40 % of the "visible" points of people who cover each
# other are off by more than a twentieth of the body; above 0.7 it is 4 %.
SHARP = 0.5
# Minimum peak of hips without a visible leg. Hips above the edge of a table have 0.7, hips inferred
# behind it 0.2 to 0.5.
SHARP_HIPS = 0.6
# Such hips must also be inside the image by this share of the torso's length.
HIPS_MARGIN = 0.15
# Maximum length of a torso relative to the width of the shoulders and their distance from the nose,
# whichever is longer (the 99th percentile of people in full view is at most 3.1).
LONGEST_TORSO = 3.2
# An enlarged crop is blurred, and its peaks are lower by this factor.
CROP_PX, BLURRED = 256.0, 0.7
# Number of the highest peaks whose mean is the fit of the network's body.
FITTING = 6
# Minimum fit of a new person (people: 0.65 and more when they are inside the image; bodies fitted
# to curtains, shirts and table tops: 0.4 to 0.6), and of a tracked person.
SURE_FIT, LEAST_FIT = 0.6, 0.45
# A new person upside down is more often half of an upright person, fitted upside down, than a
# gymnast: such a body must fit better. The angle is from upright in the image, rad.
INVERTED, SURE_FIT_INVERTED = 1.8, 0.75

_NAMES = list(KEYPOINTS)


def _rows(*names: str) -> list[int]:
    return [_NAMES.index(name) for name in names]


_NOSE = _NAMES.index("nose")
_SHOULDERS = _rows("left_shoulder", "right_shoulder")
_HIPS = _rows("left_hip", "right_hip")
_LEGS = _rows("left_knee", "right_knee", "left_ankle", "right_ankle")
# A point of a leg and its neighbours on it.
_LEG_CHAIN = {
    _NAMES.index(f"{side}_{name}"): _rows(*(f"{side}_{other}" for other in others))
    for side in ("left", "right")
    for name, others in {
        "knee": ("hip", "ankle"),
        "ankle": ("knee", "heel", "foot_index"),
    }.items()
}


def believed(
    points_px: np.ndarray,
    visibility: np.ndarray,
    peaks: np.ndarray,
    side_px: float,
    image_size: tuple[int, int],
) -> np.ndarray:
    """Return the visibility (K,) float32 of keypoints, lowered where they cannot be known.

    points_px: (K, 2), visibility: (K,), peaks: (K,) heights of the heatmaps' peaks in [0, 1], in
    the order of KEYPOINTS; side_px: of the network's region; image_size: (width,
    height), pixels.

    Implausible are: points outside of the image; points with a low peak; knees and ankles without
    a visible neighbour on their leg, which are found on anything that looks like a knee; hips
    without a visible leg, if their peak is low or they are at the image's border; hips of a torso
    that is too long for its shoulders and head.
    """
    doubted = _doubted(points_px, peaks, side_px, image_size)
    seen = (visibility >= VISIBLE) & ~doubted
    alone = [point for point, others in _LEG_CHAIN.items() if not seen[others].any()]
    doubted[alone] = True
    seen[alone] = False
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
    return _lowered(visibility, doubted)


def believed_details(
    landmarks: Landmarks, side_px: float, image_size: tuple[int, int]
) -> Keypoints:
    """Return the landmarks of face and hands, less visible outside the image or with low peaks.

    side_px, image_size: as in `believed`.
    """
    found = landmarks.details
    doubted = _doubted(found.points_px, landmarks.detail_peaks, side_px, image_size)
    return replace(found, visibility=_lowered(found.visibility, doubted))


def _doubted(
    points_px: np.ndarray, peaks: np.ndarray, side_px: float, image_size: tuple[int, int]
) -> np.ndarray:
    """Which points (N, 2) are outside of the image or have a low peak, (N,) bool."""
    outside = np.any((points_px < 0) | (points_px >= image_size), axis=1)
    dull: np.ndarray = peaks < SHARP * _blur(side_px)
    return outside | dull


def _lowered(visibility: np.ndarray, doubted: np.ndarray) -> np.ndarray:
    return np.where(doubted, np.minimum(visibility, DISBELIEVED), visibility).astype(np.float32)


def fit(peaks: np.ndarray, side_px: float) -> float:
    """The fit of a body to a region, 0 to 1, from the peaks of its keypoints (K,).

    It is raised for small regions to be comparable with SURE_FIT and LEAST_FIT.
    """
    return float(np.sort(peaks)[-FITTING:].mean() / _blur(side_px))


def sure_of_newcomer(fit_of_body: float, angle: float) -> bool:
    """Whether a body fits well enough to be a new person; angle: Region.angle of the body, rad."""
    turn = abs((angle + np.pi) % (2 * np.pi) - np.pi)
    return fit_of_body >= (SURE_FIT_INVERTED if turn > INVERTED else SURE_FIT)


def _blur(side_px: float) -> float:
    """The factor of lower peaks for the size of a region."""
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
MIRRORED_DETAILS = _mirrored_order(list(DETAILS))
# The keypoint that each landmark of face and hands moves with.
_CARRIERS = np.array(
    _rows(
        *(
            "nose" if name.endswith(("_eye", "_mouth")) else f"{name.split('_')[0]}_wrist"
            for name in DETAILS
        )
    )
)
SIDED = np.flatnonzero(np.arange(len(MIRRORED)) != MIRRORED)


@dataclass(frozen=True, slots=True)
class Sighting:
    """One person seen in the current image, not yet identified.

    points_px: (K, 2) keypoints; visibility (of plausible points),
    presence: (K,); all in the order of KEYPOINTS.
    region: the body circle's region; score: probability that it is a person; fit: of the body to
    the image (fit()).
    searched: True if the search of the whole image found it, so it may be a new person.
    colours: of the torso (tracker.torso_colours), None if it is not in the image.
    carried: True if it is extrapolated from the sightings before (Track.carried).
    details: landmarks of face and hands in the order of DETAILS; None if they are unknown.
    peaks: (K,) heights of the heatmaps' peaks, in [0, 1].
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
    details: Keypoints | None = None
    peaks: np.ndarray = field(default_factory=lambda: np.ones(NUM_KEYPOINTS, np.float32))

    @staticmethod
    def of(landmarks: Landmarks, side_px: float, image_size: tuple[int, int]) -> Sighting:
        """The sighting of a landmark network's output.

        side_px: of the network's region; image_size: (width, height), pixels.
        """
        keypoints, peaks = landmarks.keypoints, landmarks.keypoint_peaks
        return Sighting(
            keypoints.points_px,
            believed(keypoints.points_px, keypoints.visibility, peaks, side_px, image_size),
            keypoints.presence,
            landmarks.region,
            landmarks.flag,
            fit(peaks, side_px),
            details=believed_details(landmarks, side_px, image_size),
            peaks=peaks,
        )

    def doubting(self, doubted: np.ndarray) -> Sighting:
        """The sighting with lower visibility of implausible keypoints (K,) bool.

        The hand of such a wrist and the face of such a nose are doubted as well.
        """
        if not doubted.any():
            return self
        found = self.details
        return replace(
            self,
            visibility=_lowered(self.visibility, doubted),
            details=found
            and replace(found, visibility=_lowered(found.visibility, doubted[_CARRIERS])),
        )

    def details_at(self, points_px: np.ndarray) -> Keypoints | None:
        """The landmarks of face and hands, moved with the nose and the wrists.

        points_px: (K, 2), the new keypoints.
        """
        if self.details is None:
            return None
        shift = (points_px - self.points_px)[_CARRIERS]
        moved_px = (self.details.points_px + shift).astype(np.float32)
        return replace(self.details, points_px=moved_px)

    @property
    def mirrored(self) -> Sighting:
        """The same with left and right swapped."""
        details = self.details
        return replace(
            self,
            points_px=self.points_px[MIRRORED],
            visibility=self.visibility[MIRRORED],
            presence=self.presence[MIRRORED],
            peaks=self.peaks[MIRRORED],
            details=details
            and Keypoints(
                details.points_px[MIRRORED_DETAILS],
                details.visibility[MIRRORED_DETAILS],
                details.presence[MIRRORED_DETAILS],
            ),
        )

    @property
    def diameter_px(self) -> float:
        """Diameter of the body circle, which is the size of a person in the image."""
        return self.region.side_px / REGION_SCALE

    @property
    def shown_px(self) -> np.ndarray:
        """(N, 2) visible keypoints, or all if hardly any are visible."""
        seen = self.visibility >= VISIBLE
        return self.points_px[seen] if seen.sum() >= 4 else self.points_px

    @property
    def box_xyxy(self) -> np.ndarray:
        """(4,) float32 box around the visible keypoints, or all if hardly any are visible."""
        points = self.shown_px
        return np.concatenate([points.min(axis=0), points.max(axis=0)]).astype(np.float32)


def pose_distance(a: Sighting, b: Sighting) -> float:
    """Mean distance of the keypoints of two sightings in units of the larger body circle.

    Keypoints seen in both have the largest weight. Left and right may be swapped: that is the
    network's most frequent error and says nothing about identity.
    """
    weights = np.maximum(np.minimum(a.visibility, b.visibility), 0.05)
    direct = np.average(np.linalg.norm(a.points_px - b.points_px, axis=1), weights=weights)
    swapped = np.average(
        np.linalg.norm(a.points_px - b.points_px[MIRRORED], axis=1),
        weights=np.maximum(np.minimum(a.visibility, b.visibility[MIRRORED]), 0.05),
    )
    return float(min(direct, swapped)) / max(a.diameter_px, b.diameter_px)


def moved(sighting: Sighting, shift_px: np.ndarray, scale: float, about: np.ndarray) -> Sighting:
    """The sighting scaled about a point of the image and then shifted; without its details."""
    region = sighting.region
    centre = (region.centre_px - about) * scale + about + shift_px
    points = (sighting.points_px - about) * scale + about + shift_px
    return replace(
        sighting,
        points_px=points.astype(np.float32),
        region=Region(centre, region.side_px * scale, region.angle),
        details=None,
    )


def posture(sighting: Sighting) -> np.ndarray:
    """Keypoints from mid-hip in units of the body circle's diameter, (K, 2)."""
    return (sighting.points_px - sighting.region.centre_px) / sighting.diameter_px


def mean_distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b, axis=1).mean())
