"""The 21 landmarks of hands, from MediaPipe's hand landmark network.

Zhang et al. 2020, "MediaPipe Hands: On-device Real-time Hand Tracking" (arXiv 2006.10214). The
model file is from the mediapipe wheel (assets.py).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from moro_ros.assets import fetch
from moro_ros.perception.blazepose import Region, crop_region
from moro_ros.types import DETAILS, KEYPOINTS, HandPoints, Keypoints

HAND_SIZE = 224
# The size of a hand in the image is the distance from the wrist to the knuckles, or this multiple
# of that between the knuckles of index and little finger if the hand points at the camera.
ACROSS = 1.3
# Side of the region of a hand, in that size. Its centre is the middle of the knuckles.
SIDE = 3.2
# Minimum size of hands [px]: of rendered hands of 18 px as many are detected as of large ones, of
# 12 px a fifth less, of 6 px less than half.
LEAST_PX = 15.0
LEAST_SCORE = 0.5
VISIBLE = 0.5


class HandReader:
    """Locates the hand landmarks of people whose keypoints are known; for one thread."""

    def __init__(self, model_path: Path | str) -> None:
        # Two pairs of its outputs have the same shapes and are distinguished by their order.
        self._interpreter = Interpreter(model_path=str(model_path), num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = [item["index"] for item in self._interpreter.get_output_details()]

    def read(
        self, image_rgb: np.ndarray, keypoints: Keypoints, details: Keypoints, side: str
    ) -> HandPoints | None:
        """Return the landmarks of one hand, None if it is not seen.

        image_rgb: (H, W, 3) uint8; keypoints, details: of the person in it, in the order of
        KEYPOINTS and DETAILS; side: left or right. A hand is not seen if its wrist or knuckles are
        hidden, if it is too small, or if the network does not detect a hand of that side.
        """
        region = hand_region(keypoints, details, side)
        if region is None:
            return None
        crop = crop_region(image_rgb, region, HAND_SIZE)
        pixels, score, right, metric = self._run(crop * np.float32(1 / 255))
        of_side = right if side == "right" else 1.0 - right
        if min(score, of_side) < LEAST_SCORE:
            return None
        matrix = region.image_from_crop(HAND_SIZE)
        points_px = pixels[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        return HandPoints(points_px, merged(points_px, metric), score)

    def _run(self, crop: np.ndarray) -> tuple[np.ndarray, float, float, np.ndarray]:
        """Points (21, 3) px of the crop, score, probability of a right hand, points (21, 3) m."""
        self._interpreter.set_tensor(self._input, crop[None])
        self._interpreter.invoke()
        pixels, score, right, metric = (self._interpreter.get_tensor(i) for i in self._outputs)
        return (
            pixels.reshape(21, 3).astype(np.float64),
            float(score.item()),
            float(right.item()),
            metric.reshape(21, 3).astype(np.float64),
        )


def merged(points_px: np.ndarray, metric: np.ndarray) -> np.ndarray:
    """Return points (21, 3) m about their mean, across the line of sight as in the image.

    points_px: (21, 2); metric: (21, 3) m, the network's other output. Its points often disagree
    with the image and then rotate the hand wrongly; only their depth and size are used.
    """
    about, across = metric - metric.mean(axis=0), points_px - points_px.mean(axis=0)
    scale = np.linalg.norm(about[:, :2]) / max(float(np.linalg.norm(across)), 1e-9)
    return np.concatenate([across * scale, about[:, 2:]], axis=1)


def hand_region(keypoints: Keypoints, details: Keypoints, side: str) -> Region | None:
    """Return the region of a hand, its fingers upwards; None if it cannot be used."""
    wrist = list(KEYPOINTS).index(f"{side}_wrist")
    index, pinky = (list(DETAILS).index(f"{side}_{name}") for name in ("index", "pinky"))
    if min(keypoints.visibility[wrist], *details.visibility[[index, pinky]]) < VISIBLE:
        return None
    start = keypoints.points_px[wrist].astype(np.float64)
    first, last = details.points_px[[index, pinky]].astype(np.float64)
    up = (2 * first + last) / 3 - start
    size = max(float(np.hypot(*up)), ACROSS * float(np.hypot(*(first - last))))
    if not size >= LEAST_PX:
        return None
    return Region(start + up, SIDE * size, float(np.arctan2(up[0], -up[1])))


def load_hand_reader() -> HandReader:
    """Load the hand landmark network. Raises: AssetError if it was not downloaded."""
    return HandReader(fetch("hand_landmark_full.tflite", download=False))
