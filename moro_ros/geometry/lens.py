"""What a lens does to points and images, without torch: undistortion and its inverse.

Lenses are OpenCV's: "plumb_bob" is the polynomial, rational, thin-prism and tilted model of
calib3d, by its number of coefficients; "equidistant" is that of cv2.fisheye (Kannala and Brandt).
"""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np

from moro_ros.compat import undistort_fisheye_points, undistort_image_points
from moro_ros.errors import CalibrationError
from moro_ros.types import Camera

# Beyond this angle from the optical axis a point counts as unseen: the normalised plane ends at 90
# degrees, and near its end a pixel of noise moves a point by more than a person's height.
MAX_ANGLE_DEG = 80.0
# Distorted again, an undistorted point lies where it was, or the lens model does not hold there.
TOLERANCE_PX = 1.0
# Points nearer to the lens are not on the image, m.
NEAREST_M = 0.1


def undistort_points(points_px: np.ndarray, camera: Camera) -> np.ndarray:
    """Where the points of a distorted image lie in the rectified image of the same K: (N, 2) px.

    points_px: (N, 2). Points may lie outside the image. The dtype is kept. Where the lens model has
    no inverse the result means nothing; normalised_points says where.

    Raises: CalibrationError for a distortion model other than plumb_bob and equidistant.
    """
    if not camera.distorted or len(points_px) == 0:
        return points_px
    source = np.asarray(points_px, dtype=np.float64).reshape(-1, 1, 2)
    matrix = np.asarray(camera.matrix, dtype=np.float64)
    if camera.distortion_model == "plumb_bob":
        ideal = undistort_image_points(source, matrix, _coefficients(camera))
    elif camera.distortion_model == "equidistant":
        ideal = undistort_fisheye_points(source, matrix, _coefficients(camera))
    else:
        raise CalibrationError(
            f"Unknown distortion model '{camera.distortion_model}'; expected plumb_bob (also "
            "for rational_polynomial) or equidistant. Publish rectified images instead."
        )
    return ideal.reshape(-1, 2).astype(points_px.dtype)


def normalised_points(points_px: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Points of an image on the normalised plane, (p - c) / f without distortion, (N, 2) float64.

    points_px: (N, 2). Also returns which of them are sound, (N,) bool: not those beyond
    MAX_ANGLE_DEG, which are drawn in to that angle, nor those that the lens model cannot undistort.
    """
    pixels = np.asarray(points_px, dtype=np.float64)
    focal, center = camera.matrix[[0, 1], [0, 1]], camera.matrix[:2, 2]
    plane = (undistort_points(pixels, camera) - center) / focal
    limit = math.tan(math.radians(MAX_ANGLE_DEG))
    within = np.linalg.norm(plane, axis=-1) < limit
    sound = within.copy()
    if camera.distorted and within.any():
        rays = np.column_stack([plane[within], np.ones(within.sum())])
        away = np.linalg.norm(image_points(rays, camera) - pixels[within], axis=-1)
        sound[within] = away < TOLERANCE_PX
    outward = (pixels[~within] - center) / focal
    plane[~within] = limit * outward / np.linalg.norm(outward, axis=-1, keepdims=True)
    return plane, sound


def undistort_image(image: np.ndarray, camera: Camera) -> np.ndarray:
    """The rectified image of the same K and size, (H, W, C) -> the same; see undistort_points."""
    if not camera.distorted:
        return image
    matrix = np.asarray(camera.matrix, dtype=np.float64)
    if camera.distortion_model == "equidistant":
        return cv2.fisheye.undistortImage(image, matrix, _coefficients(camera), Knew=matrix)
    return cv2.undistort(image, matrix, _coefficients(camera))


def rectified_camera(camera: Camera) -> Camera:
    """The camera of undistort_image's pictures."""
    return dataclasses.replace(camera, distortion=(), distortion_model="plumb_bob")


def image_points(points: np.ndarray, camera: Camera) -> np.ndarray:
    """Pixels (N, 2) of the image, distorted like it, of points (N, 3) m in front of the camera."""
    source = np.asarray(points, dtype=np.float64).reshape(-1, 1, 3)
    matrix = np.asarray(camera.matrix, dtype=np.float64)
    none = np.zeros(3)
    fisheye = camera.distortion_model == "equidistant"
    function = cv2.fisheye.projectPoints if fisheye else cv2.projectPoints
    found, _ = function(source, none, none, matrix, _coefficients(camera))
    return np.asarray(found).reshape(-1, 2)


def project_points(points: np.ndarray, camera: Camera) -> np.ndarray:
    """Like image_points for any points (N, 3) m; those nearer than NEAREST_M or behind are NaN."""
    ahead = points[:, 2] > NEAREST_M
    pixels = np.full((len(points), 2), np.nan)
    if ahead.any():
        pixels[ahead] = image_points(points[ahead], camera)
    return pixels


def part_of_camera(
    camera: Camera, region: tuple[int, int, int, int], binning: tuple[int, int]
) -> Camera:
    """The camera of images that a driver cuts out of the full one and then bins.

    region: left, top, width, height in pixels of the full image; without width or height all of it.
    binning: pixels joined in x and y; 0 is 1. Source: image_geometry, sensor_msgs/CameraInfo.
    """
    left, top, width, height = region
    bins = max(1, binning[0]), max(1, binning[1])
    matrix = camera.matrix.copy()
    if width and height:
        matrix[:2, 2] -= left, top
    else:
        width, height = camera.width, camera.height
    matrix[:2] /= np.array(bins, dtype=np.float64)[:, None]
    return dataclasses.replace(
        camera, matrix=matrix, width=width // bins[0], height=height // bins[1]
    )


def _coefficients(camera: Camera) -> np.ndarray:
    coefficients = np.asarray(camera.distortion, dtype=np.float64)
    if camera.distortion_model == "equidistant" and not coefficients.size:
        return np.zeros(4)
    return coefficients
