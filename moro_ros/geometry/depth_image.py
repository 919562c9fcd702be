"""Registered depth images: distances in metres, and checks of their units and size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moro_ros.errors import DepthError
from moro_ros.geometry.lens import image_points
from moro_ros.types import Camera

# A depth image belongs to the image whose stamp is nearest, if that is within MATCH_S.
MATCH_S = 0.05
# Encodings of sensor_msgs, and metres per unit: RealSense and Azure Kinect send 16UC1, ZED and the
# rectifying nodes of image_pipeline 32FC1 (REP-118).
UNITS_M = {"16UC1": 1e-3, "mono16": 1e-3, "32FC1": 1.0}
# Limits of the median of a depth image with people [m].
NEAREST_M, FARTHEST_M = 0.1, 40.0
# A pixel whose neighbours differ by more than this plus this share of the distance is an edge.
EDGE_M, EDGE_SHARE = 0.08, 0.02
# Minimum number of the 3 x 3 pixels around one that must have a distance.
LEAST_NEIGHBOURS = 5
AROUND = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), -1).reshape(-1, 2)
# Points nearer to the depth camera than this are not seen [m].
BEFORE_CAMERA_M = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class DepthImage:
    """A depth image and the camera that took it.

    metres: (H, W) float32, distance along the optical axis, NaN for holes; camera: of the depth
    image; stamp_ns: acquisition time; rotation: (3, 3) and translation: (3,) m, from the colour
    camera's frame into the depth camera's, None if both are the same (aligned depth).
    """

    metres: np.ndarray
    camera: Camera
    stamp_ns: int
    rotation: np.ndarray | None = None
    translation: np.ndarray | None = None

    def beside(self, point: np.ndarray) -> float:
        """Return the angle between the sights of a point (3,) m by both cameras, rad.

        point: in the colour camera's frame.
        """
        if self.rotation is None or self.translation is None:
            return 0.0
        own = self.rotation.T @ self.in_depth_frame(point)
        cosine = own @ point / max(float(np.linalg.norm(own) * np.linalg.norm(point)), 1e-9)
        return float(np.arccos(np.clip(cosine, -1.0, 1.0)))

    def in_depth_frame(self, points: np.ndarray) -> np.ndarray:
        """Return points (..., 3) m of the colour camera's frame in the depth camera's."""
        if self.rotation is None or self.translation is None:
            return points
        return points @ self.rotation.T + self.translation

    def at(self, points: np.ndarray) -> np.ndarray:
        """Return the measured distance in the direction of points (N, 3) m, (N,) m.

        points: in the depth camera's frame. NaN at holes, edges, and outside of the image. It is
        the median of 3 x 3 pixels, so single outliers have no effect.
        """
        found = np.full(len(points), np.nan)
        ahead = points[:, 2] > BEFORE_CAMERA_M
        if not ahead.any():
            return found
        pixels = np.full((len(points), 2), -10.0)
        pixels[ahead] = image_points(points[ahead].astype(np.float64), self.camera)
        height, width = self.metres.shape
        around = np.rint(np.clip(pixels, -10, 1e6))[:, None].astype(int) + AROUND  # (N, 9, 2)
        inside = ((around >= 0) & (around < (width, height))).all(-1)
        columns, rows = np.moveaxis(np.where(inside[..., None], around, 0), -1, 0)
        # After sorting, holes are last.
        seen = np.sort(np.where(inside, self.metres[rows, columns], np.nan), axis=1)
        count = np.isfinite(seen).sum(1)
        some = np.flatnonzero(count >= LEAST_NEIGHBOURS)
        middle = seen[some, (count[some] - 1) // 2]
        spread = seen[some, count[some] - 1] - seen[some, 0]
        found[some] = np.where(spread < EDGE_M + EDGE_SHARE * middle, middle, np.nan)
        return found

    def pixel(self, points: np.ndarray) -> np.ndarray:
        """Return the distance in the pixel of points (N, 3) m, (N,) m; NaN at holes and outside.

        points: in the depth camera's frame.
        """
        found = np.full(len(points), np.nan)
        ahead = np.flatnonzero(points[:, 2] > BEFORE_CAMERA_M)
        if len(ahead):
            pixels = np.rint(image_points(points[ahead].astype(np.float64), self.camera))
            height, width = self.metres.shape
            inside = ((pixels >= 0) & (pixels < (width, height))).all(1)
            column, row = pixels[inside].astype(int).T
            found[ahead[inside]] = self.metres[row, column]
        return found

    def nearest(self, points: np.ndarray, radius_m: float) -> np.ndarray:
        """Return the nearer part of what is measured around points (N, 3) m, (N,) m.

        points: in the depth camera's frame; radius_m: half the side of the square around each. NaN
        where nothing is measured. It is the lower quartile: a limb before a wall, or the edge of a
        hole, is not mixed with what is behind.
        """
        found = np.full(len(points), np.nan)
        ahead = np.flatnonzero(points[:, 2] > BEFORE_CAMERA_M)
        if not len(ahead):
            return found
        pixels = np.rint(image_points(points[ahead].astype(np.float64), self.camera))
        reach = np.maximum(1, np.rint(radius_m * self.camera.matrix[0, 0] / points[ahead, 2]))
        height, width = self.metres.shape
        first = np.clip(pixels - reach[:, None], 0, [width, height]).astype(int)
        last = np.clip(pixels + reach[:, None] + 1, 0, [width, height]).astype(int)
        for number, (left, top), (right, bottom) in zip(ahead, first, last, strict=True):
            around = self.metres[top:bottom, left:right]
            around = around[np.isfinite(around)]
            if around.size >= LEAST_NEIGHBOURS:
                found[number] = np.quantile(around, 0.25)
        return found


def depth_metres(raw: np.ndarray, encoding: str, camera: Camera) -> np.ndarray:
    """Return a raw depth image (H, W) in metres, (H, W) float32 with NaN for holes.

    encoding: of sensor_msgs (UNITS_M); camera: of its camera_info. Raises: DepthError for another
    encoding, a size other than the camera's, or distances in another unit.
    """
    if encoding not in UNITS_M:
        raise DepthError(
            f"The depth image's encoding is '{encoding}'; expected 16UC1 (millimetres) or 32FC1 "
            "(metres). Use a depth topic, not one of colour, disparity or compressed depth.",
            "encoding",
        )
    check_size(raw, camera)
    metres = raw.astype(np.float32) * np.float32(UNITS_M[encoding])
    metres[~np.isfinite(metres) | (metres <= 0.0)] = np.nan
    check_unit(metres, encoding)
    return metres


def check_size(raw: np.ndarray, camera: Camera) -> None:
    """Check that a depth image has its camera's size; raises DepthError."""
    if raw.shape != (camera.height, camera.width):
        raise DepthError(
            f"The depth image is {raw.shape[1]}x{raw.shape[0]} pixels but its camera_info is for "
            f"{camera.width}x{camera.height}. Set depth_info_topic to the camera_info of this "
            "depth image; that of the colour image fits only aligned depth.",
            "size",
        )


def check_unit(metres: np.ndarray, encoding: str) -> None:
    """Check that distances (H, W) are plausible in metres; raises DepthError unless all holes."""
    some = metres[::7, ::7]
    some = some[np.isfinite(some)]
    if not some.size:
        return
    middle = float(np.median(some))
    if NEAREST_M <= middle <= FARTHEST_M:
        return
    if middle > FARTHEST_M and encoding == "32FC1":
        why = (
            "it seems to be in millimetres. 32FC1 must be in metres; publish millimetres as 16UC1."
        )
    elif middle < NEAREST_M and encoding != "32FC1":
        why = "it seems to be in metres. 16UC1 must be in millimetres; publish metres as 32FC1."
    else:
        why = f"expected {NEAREST_M} to {FARTHEST_M:.0f} m. Unknown distances must be 0 or NaN."
    raise DepthError(
        f"The depth image ({encoding}) has a median distance of {middle:.4g} m: {why}", "unit"
    )
