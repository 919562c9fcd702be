"""What somebody wears: the colours of the torso, a cue of who he is when motion says too little."""

from __future__ import annotations

import numpy as np

from moro_ros.types import KEYPOINTS, Keypoints

_CORNERS = [
    list(KEYPOINTS).index(name)
    for name in ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
]
# Samples along each side of the torso, and levels of each colour channel.
SAMPLES, LEVELS = 12, 4
# The rim of the torso shows the background on one side and the arms on the other.
MARGIN = 0.15
_STEPS = np.linspace(MARGIN, 1.0 - MARGIN, SAMPLES)


def torso_colours(image_rgb: np.ndarray, keypoints: Keypoints) -> np.ndarray | None:
    """Histogram of the colours between shoulders and hips, (LEVELS ** 3,) float32, sum 1.

    image_rgb: (H, W, 3) uint8, the full image. None if the torso is not in the image.
    """
    left, right, left_hip, right_hip = keypoints.points_px[_CORNERS].astype(np.float64)
    across, down = _STEPS[None, :, None], _STEPS[:, None, None]
    top, bottom = left + across * (right - left), left_hip + across * (right_hip - left_hip)
    places = np.rint(top + down * (bottom - top)).astype(np.int64).reshape(-1, 2)
    height, width = image_rgb.shape[:2]
    places = places[np.all((places >= 0) & (places < (width, height)), axis=1)]
    if len(places) < SAMPLES:
        return None
    # Linear shares of the two nearest levels: a little more light moves no whole pixels.
    colours = image_rgb[places[:, 1], places[:, 0]].astype(np.float32) * ((LEVELS - 1) / 255.0)
    low = np.minimum(colours.astype(np.int64), LEVELS - 2)
    share = colours - low
    histogram = np.zeros(LEVELS**3, np.float32)
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, share, 1.0 - share), axis=1)
        index = (low + corner) @ (LEVELS**2, LEVELS, 1)
        histogram += np.bincount(index, weight, LEVELS**3).astype(np.float32)
    return histogram / histogram.sum()


def likeness(a: np.ndarray | None, b: np.ndarray | None) -> float:
    """Bhattacharyya coefficient of two histograms, 1: the same colours; 0.5 if one is missing."""
    return 0.5 if a is None or b is None else float(np.sqrt(a * b).sum())
