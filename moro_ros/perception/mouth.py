"""The opening of mouths, from MediaPipe's face landmark network.

Kartynnik et al. 2019, "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs"
(arXiv 1907.06724). The model file is from the mediapipe wheel (assets.py).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from moro_ros.assets import fetch
from moro_ros.perception.blazepose import ImageNetwork, Region
from moro_ros.types import DETAILS, Keypoints

FACE_SIZE = 192
POINTS, FLAG = (1, 1, 1, 1404), (1, 1, 1, 1)
# Landmarks of the network: inner edges of the upper and the lower lip, inner corners of the mouth.
UPPER, LOWER, CORNERS = 13, 14, (78, 308)
# The region of a face: its centre from the eyes towards the mouth and its side, in distances from
# the eyes to the mouth.
CENTRE, SIDE = 0.35, 3.9
# Minimum size of faces [px from the eyes to the mouth]: a mouth with a ratio of 0.23 at 42 px is
# measured as 0.24 at 20 px, but as 0.16 at 10 px.
LEAST_PX = 15.0
LEAST_FLAG = 0.5
_ROWS = [
    list(DETAILS).index(f"{side}_{part}") for part in ("eye", "mouth") for side in ("left", "right")
]


class Mouth(NamedTuple):
    """A mouth: opening, the gap between the lips by its width; score, [0, 1]; both NaN: unknown.

    score: confidence of the network that it saw a face, not the accuracy of the opening.
    """

    opening: float
    score: float


UNREAD = Mouth(math.nan, math.nan)


class MouthReader:
    """Measures the opening of mouths in images; for one thread."""

    def __init__(self, model_path: Path | str) -> None:
        self._network = ImageNetwork(model_path, (POINTS, FLAG))

    def read(self, image_rgb: np.ndarray, details: Keypoints) -> Mouth:
        """Return the opening of the mouth of a face.

        image_rgb: (H, W, 3) uint8; details: landmarks of the face in it, in the order of DETAILS.
        It is unknown for small faces and if the network does not detect a frontal face.
        """
        left_eye, right_eye, left, right = details.points_px[_ROWS].astype(np.float64)
        eyes = (left_eye + right_eye) / 2
        down = (left + right) / 2 - eyes
        length = float(np.hypot(*down))
        if not length >= LEAST_PX:
            return UNREAD
        angle = float(np.arctan2(-down[0], down[1]))
        region = Region(eyes + CENTRE * down, SIDE * length, angle)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        matrix = region.image_from_crop(FACE_SIZE)
        crop = cv2.warpAffine(image_rgb, matrix, (FACE_SIZE, FACE_SIZE), flags=flags)
        outputs = self._network(crop * np.float32(1 / 255))
        score = 1.0 / (1.0 + math.exp(-outputs[FLAG].item()))
        if score < LEAST_FLAG:
            return UNREAD
        points = outputs[POINTS].reshape(-1, 3)
        gap = float(np.linalg.norm(points[UPPER] - points[LOWER]))
        width = float(np.linalg.norm(points[CORNERS[0]] - points[CORNERS[1]]))
        return Mouth(gap / width, score) if width > 0.0 else UNREAD


def load_mouth_reader() -> MouthReader:
    """Load the face landmark network. Raises: AssetError if it was not downloaded."""
    return MouthReader(fetch("face_landmark.tflite", download=False))
