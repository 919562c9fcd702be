"""The person's crop from the full image, as the published image encoder expects it.

The integer window is found by the very float32 steps of the reference: on an edge that falls on a
whole pixel, exact arithmetic would cut one pixel beside it.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from moro_ros.compat import BILINEAR

CROP_PX = 256
# The backbone sees a 256 x 192 image: these columns of the square crop.
COLUMNS = slice(32, 224)
# A window that exceeds the image this many times holds hardly any picture.
LARGEST_WINDOW = 3


def crop_person(image: np.ndarray, center_px: np.ndarray, scale: float) -> np.ndarray:
    """Cut a person's crop, columns included, from an image.

    image: (H, W, 3) uint8 RGB, undistorted. center_px: box centre, (2,), pixels. scale: side of
    the square box / 200 px, padding included. Returns (3, 256, 192) uint8 RGB.
    """
    square = crop_square(image, center_px, scale)
    return np.ascontiguousarray(square[:, COLUMNS].transpose(2, 0, 1))


def crop_square(image: np.ndarray, center_px: np.ndarray, scale: float) -> np.ndarray:
    """Cut the square window of a box and resize it to (256, 256, 3) uint8.

    image: (H, W, 3) uint8 RGB. center_px: (2,), pixels. scale: side of the box / 200 px.
    What lies outside the image is black; so is everything if the window misses the image or is
    more than three times as large, and the network then infers the person from the other frames.
    """
    height, width = image.shape[:2]
    (left, top), (right, bottom) = window(center_px, scale)
    black = np.zeros((CROP_PX, CROP_PX, 3), np.uint8)
    if left >= width or top >= height or right < 0 or bottom < 0:
        return black
    columns, rows = right - left, bottom - top
    if columns > LARGEST_WINDOW * width or rows > LARGEST_WINDOW * height:
        return black
    if columns < 1 or rows < 1:
        return black
    patch = np.zeros((rows, columns, 3), np.uint8)
    source = image[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    row, column = max(-top, 0), max(-left, 0)
    patch[row : row + source.shape[0], column : column + source.shape[1]] = source
    resized = Image.fromarray(patch).resize((CROP_PX, CROP_PX), BILINEAR)
    return np.asarray(resized)


def window(center_px: np.ndarray, scale: float) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the integer window (left, top), (right, bottom) of a box, right and bottom exclusive.

    center_px: (2,), pixels. scale: side of the box / 200 px. Rounded towards zero.
    """
    center = np.asarray(center_px, np.float32)
    side = np.float32(200) * np.float32(scale)
    crop_from_image = np.zeros((3, 3))
    crop_from_image[0, 0] = crop_from_image[1, 1] = np.float32(CROP_PX) / side
    for axis in range(2):
        crop_from_image[axis, 2] = np.float32(CROP_PX) * (-center[axis] / side + np.float32(0.5))
    crop_from_image[2, 2] = 1
    image_from_crop = np.linalg.inv(crop_from_image)
    low = image_from_crop @ np.array([0.0, 0.0, 1.0])
    high = image_from_crop @ np.array([CROP_PX, CROP_PX, 1.0])
    return (int(low[0]), int(low[1])), (int(high[0]), int(high[1]))
