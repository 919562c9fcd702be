"""CameraGuard: detects that a camera that should be static was moved."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

# Width at which views are compared [px]: a shift of one percent is 3 px.
WIDTH = 320
# Period of the comparison [s]; a moved camera stays moved.
PERIOD_S = 0.2
# Number of consecutive comparisons that must agree.
CONFIRMATIONS = 3
FEATURES = 120
# Minimum number of background points for a decision.
LEAST_POINTS = 12
# If a smaller share of them is found again, the view has changed completely.
FOUND_AGAIN = 0.35
# Maximum mean grey level difference of a point that is found again.
SAME_LOOK = 20.0
# Boxes of people are widened by this share to include limbs and shadows.
MARGIN = 0.15


@dataclass(frozen=True, slots=True)
class ViewChange:
    """The camera moved.

    shift: of the background, relative to the image width; None: unknown, because too little of the
    earlier view is left.
    """

    shift: float | None


class CameraGuard:
    """Compares the background of the newest image with that of a reference image.

    Points of the background are tracked from the reference to the newest image (Lucas-Kanade). If
    half of them moved, the camera was moved, because moving objects cover less. A slow drift adds
    up, because the reference is kept. A shift caused by a changed focal length or principal point
    is ignored. shift: minimum shift of a moved camera, relative to the image width.
    """

    def __init__(self, shift: float = 0.01) -> None:
        self.shift = shift
        self.reset()

    def reset(self) -> None:
        """Use the image PERIOD_S after the next one as the reference.

        Until then the people in the view are unknown, and the first image is the slowest.
        """
        self._reference: np.ndarray | None = None
        self._points = np.zeros((0, 1, 2), np.float32)
        self._matrix: np.ndarray | None = None
        self._checked_ns: int | None = None
        self._suspicions = 0

    def look(
        self,
        image_rgb: np.ndarray,
        stamp_ns: int,
        boxes_xyxy: Iterable[np.ndarray],
        matrix: np.ndarray | None = None,
    ) -> ViewChange | None:
        """Check an image; returns the change of the view when it is certain, else None.

        image_rgb: (H, W, 3) uint8; boxes_xyxy: of the people in it, (4,) pixels each; matrix: K of
        the camera, (3, 3) pixels, None if it never changes.
        """
        before = self._checked_ns
        if before is not None and 0 <= stamp_ns - before < PERIOD_S * 1e9:
            return None
        self._checked_ns = stamp_ns
        if before is None:
            return None
        scale = min(1.0, WIDTH / image_rgb.shape[1])
        size = max(1, round(image_rgb.shape[1] * scale)), max(1, round(image_rgb.shape[0] * scale))
        small = cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA)
        # Equalised, so that switching on a lamp is not detected as motion.
        grey = cv2.equalizeHist(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))
        free = background(grey.shape, [np.asarray(box) * scale for box in boxes_xyxy])
        matrix = np.identity(3) if matrix is None else np.diag([scale, scale, 1.0]) @ matrix
        if self._reference is None or self._reference.shape != grey.shape:
            self._adopt(grey, free, matrix)
            return None
        change = self._compare(grey, free, matrix)
        if change is None:
            self._suspicions = 0
            if len(self._points) < LEAST_POINTS:
                self._adopt(grey, free, matrix)
            return None
        self._suspicions += 1
        if self._suspicions < CONFIRMATIONS:
            return None
        self._adopt(grey, free, matrix)
        return change

    def _adopt(self, grey: np.ndarray, free: np.ndarray, matrix: np.ndarray) -> None:
        found = cv2.goodFeaturesToTrack(grey, FEATURES, 0.02, 8.0, mask=free)
        self._reference, self._matrix = grey, matrix
        points = np.zeros((0, 1, 2)) if found is None else np.asarray(found)
        self._points = points.astype(np.float32).reshape(-1, 1, 2)
        self._suspicions = 0

    def _compare(self, grey: np.ndarray, free: np.ndarray, matrix: np.ndarray) -> ViewChange | None:
        if len(self._points) < LEAST_POINTS or self._reference is None or self._matrix is None:
            return None
        there, status, difference = cv2.calcOpticalFlowPyrLK(
            self._reference, grey, self._points, self._points.copy(), winSize=(15, 15), maxLevel=3
        )
        start, end = self._points[:, 0], there[:, 0]
        height, width = grey.shape
        # Background behind a person cannot be found.
        rows = np.clip(np.round(start[:, 1]), 0, height - 1).astype(int)
        columns = np.clip(np.round(start[:, 0]), 0, width - 1).astype(int)
        open_view = free[rows, columns] > 0
        if open_view.sum() < LEAST_POINTS:
            return None
        found = open_view & (status[:, 0] > 0) & (difference[:, 0] < SAME_LOOK)
        if found.sum() < FOUND_AGAIN * open_view.sum():
            return ViewChange(None)
        # The positions that the lens alone explains. An estimated K may change without the lens.
        lens = matrix @ np.linalg.inv(self._matrix)
        expected = start @ lens[:2, :2].T + lens[:2, 2]
        moved = min(
            float(np.median(np.linalg.norm(end[found] - place[found], axis=1))) / width
            for place in (start, expected)
        )
        return ViewChange(moved) if moved > self.shift else None


def background(shape: tuple[int, ...], boxes_xyxy: Iterable[np.ndarray]) -> np.ndarray:
    """Mask (H, W) uint8: 255 outside the widened boxes, 0 inside."""
    mask = np.full(shape, 255, np.uint8)
    for box in boxes_xyxy:
        x0, y0, x1, y1 = np.nan_to_num(box)
        margin = MARGIN * max(x1 - x0, y1 - y0)
        left, top = max(0, int(x0 - margin)), max(0, int(y0 - margin))
        right, bottom = max(0, int(x1 + margin) + 1), max(0, int(y1 + margin) + 1)
        mask[top:bottom, left:right] = 0
    return mask
