"""The colours of a person's clothes in an image, which tell people apart between cameras.

The colours of trunk and thighs are compared by hue and saturation more than by brightness, because
cameras differ in exposure, and light comes from one side.
"""

from __future__ import annotations

import numpy as np

from moro_ros.types import KEYPOINTS, Keypoints

_NAMES = tuple(KEYPOINTS)
_TRUNK = tuple(
    _NAMES.index(name) for name in ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
)
_THIGHS = tuple(
    tuple(_NAMES.index(f"{side}_{name}") for name in ("hip", "knee")) for side in ("left", "right")
)
VISIBLE = 0.5
# Sampled part of the trunk, from the shoulders towards the hips and from left to right, and of the
# thighs, from hip to knee: without collar, belt and outline.
DOWN, ACROSS, ALONG = (
    np.linspace(0.2, 0.7, 6),
    np.linspace(0.25, 0.75, 6),
    np.linspace(0.3, 0.8, 12),
)
GAMMA = 2.2
DARK = 0.01  # added to linear light, below which colours are noise
# Root mean square differences between two of four cameras (docs/cameras.md), natural logarithms:
# brightness, red and blue over green.
SPREAD = np.array([0.6, 0.15, 0.25])
UNKNOWN = np.full((2, 3), np.nan)
# Share of a new image in the running average.
GAIN = 0.1


def clothes_of(image: np.ndarray, keypoints: Keypoints) -> np.ndarray:
    """Return the colours of trunk and thighs, (2, 3) natural logarithms, NaN where not in view.

    image: (H, W, 3) uint8 RGB. Columns: brightness, red over green, blue over green.
    """
    points, seen = keypoints.points_px.astype(np.float64), keypoints.visibility > VISIBLE
    trunk: list[np.ndarray] = []
    if seen[list(_TRUNK)].all():
        left, right, left_hip, right_hip = points[list(_TRUNK)]
        down, across = DOWN[:, None, None], ACROSS[None, :, None]
        top, bottom = left + across * (right - left), left_hip + across * (right_hip - left_hip)
        trunk = list((top + down * (bottom - top)).reshape(-1, 2))
    thighs = [
        points[hip] + share * (points[knee] - points[hip])
        for hip, knee in _THIGHS
        if seen[hip] and seen[knee]
        for share in ALONG
    ]
    return np.stack([_colour(image, places) for places in (trunk, thighs)])


def _colour(image: np.ndarray, places: list[np.ndarray]) -> np.ndarray:
    """Return the median colour at places in pixels, of those inside the image."""
    height, width = image.shape[:2]
    pixels = np.asarray(places).reshape(-1, 2)
    pixels = pixels[np.isfinite(pixels).all(1)].round().astype(int)
    inside = ((pixels >= 0) & (pixels < (width, height))).all(1)
    if inside.sum() < len(ALONG) // 2:
        return UNKNOWN[0]
    column, row = pixels[inside].T
    light = DARK + (np.median(image[row, column], axis=0) / 255.0) ** GAMMA
    red, green, blue = np.log(light)
    return np.array([(red + green + blue) / 3.0, red - green, blue - green])


def blended(known: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return the running average (2, 3) of colours after a new image; NaN where none is known."""
    average = known + GAIN * (new - known)
    return np.where(np.isnan(known), new, np.where(np.isnan(new), known, average))


def difference(one: np.ndarray, two: np.ndarray) -> float | None:
    """Return the squared difference of two colours in SPREAD, about 1 for one person.

    None if they have no region in common.
    """
    squared = ((one - two) / SPREAD) ** 2
    common = np.isfinite(squared).all(1)
    return float(squared[common].mean()) if common.any() else None
