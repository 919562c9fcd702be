"""Differences of Ubuntu 22.04's OpenCV 4.5.4 and Pillow 9.0 from newer versions."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

# An enumeration since Pillow 9.1.
BILINEAR = getattr(Image, "Resampling", Image).BILINEAR
# The iteration that inverts a distortion; this brings a 120 degree lens below 1e-3 px.
UNDISTORTION = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 50, 1e-8)


def undistort_image_points(
    points_px: np.ndarray, matrix: np.ndarray, distortion: np.ndarray
) -> np.ndarray:
    """Undistort points (N, 1, 2) px, float64, of a plumb_bob or rational lens; K is kept."""
    if hasattr(cv2, "undistortImagePoints"):
        return cv2.undistortImagePoints(points_px, matrix, distortion, None, UNDISTORTION)
    old = cv2.undistortPointsIter  # type: ignore[attr-defined]  # removed in OpenCV 5
    return old(points_px, matrix, distortion, None, matrix, UNDISTORTION)


def undistort_fisheye_points(
    points_px: np.ndarray, matrix: np.ndarray, distortion: np.ndarray
) -> np.ndarray:
    """Undistort points (N, 1, 2) px, float64, of an equidistant lens; K is kept.

    OpenCV before 4.6 does not accept a criterion; it stops after 10 steps of Newton's method, which
    is sufficient.
    """
    arguments = (points_px, matrix, distortion, None, None, matrix)
    if hasattr(cv2, "undistortImagePoints"):
        return cv2.fisheye.undistortPoints(*arguments, UNDISTORTION)
    return cv2.fisheye.undistortPoints(*arguments)
