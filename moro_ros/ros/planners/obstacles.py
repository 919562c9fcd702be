"""~/obstacles and ~/obstacles_clear: point clouds that mark and clear a costmap."""

from __future__ import annotations

import math

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2, PointField

from moro_ros.body.extent import surface_points
from moro_ros.ros.outputs.base import Scene, TopicOutput
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.planners.shapes import Shaper

try:
    from sensor_msgs_py.point_cloud2 import create_cloud
except ModuleNotFoundError:
    from moro_ros.ros.fallbacks import create_cloud

FIELDS = [
    *(
        PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
        for index, name in enumerate("xyz")
    ),
    PointField(name="id", offset=12, datatype=PointField.UINT32, count=1),
]
POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("id", "<u4")])
# Rays on a grid miss about 4 % of the cells. Rays to other points miss other cells, so each circle
# is rotated and widened by irrational fractions of the spacing and of WIDER_M.
TURN, WIDEN, WIDER_M = 0.6180339887498949, 0.7548776662466927, 0.25
# Height of the clearing rays above the ground [m]: within the range of heights of a costmap.
RAY_HEIGHT_M = 0.5


def points_of(places: np.ndarray, track_id: int = 0) -> np.ndarray:
    """Points (N, 3) m of a cloud, all with one id."""
    points = np.zeros(len(places), dtype=POINT)
    points["x"], points["y"], points["z"] = places.T
    points["id"] = track_id
    return points


class ObstaclesOutput(TopicOutput):
    """~/obstacles: the surface to keep clear of, without points at ground level."""

    prompt = True

    def __init__(self, node: Node, shaper: Shaper) -> None:
        super().__init__(node, PointCloud2, "~/obstacles", rate_hz=lambda o: o.planners.rate_hz)
        self._shaper = shaper

    def messages(self, scene: Scene, options: NodeConfig) -> list[PointCloud2]:
        """One cloud, empty without people in view; none if images stopped: marks then stay."""
        if scene.final:
            return []
        ground, planners = self._shaper.ground(scene, options), options.planners
        clouds = [np.zeros(0, POINT)]
        for shape in self._shaper.shapes(scene, options):
            places = surface_points(shape.keep_clear, planners.spacing_m)
            if ground is not None and shape.motion.track_id not in scene.groundless:
                places = places[ground.heights(places) > planners.ground_height_m]
            clouds.append(points_of(places, shape.motion.track_id))
        header = self._shaper.header(scene, options)
        return [create_cloud(header, FIELDS, np.concatenate(clouds))]


class ClearingOutput(TopicOutput):
    """~/obstacles_clear: ends of rays all around the camera, which clear outdated marks."""

    prompt = True

    def __init__(self, node: Node, shaper: Shaper) -> None:
        super().__init__(
            node, PointCloud2, "~/obstacles_clear", rate_hz=lambda o: o.planners.rate_hz
        )
        self._shaper = shaper
        self._round = 0

    def messages(self, scene: Scene, options: NodeConfig) -> list[PointCloud2]:
        """One cloud; none if images stopped, because nothing shows that the way is free."""
        if scene.final:
            return []
        self._round += 1
        camera, up = self._shaper.camera(scene, options), self._shaper.up(scene, options)
        ground, planners = self._shaper.ground(scene, options), options.planners
        if ground is not None:
            camera = camera + (RAY_HEIGHT_M - ground.heights(camera)) * up
        places = ring(camera, up, planners.clear_range_m, planners.spacing_m, self._round)
        header = self._shaper.header(scene, options)
        return [create_cloud(header, FIELDS, points_of(places))]


def ring(
    center: np.ndarray, up: np.ndarray, radius_m: float, spacing_m: float, number: int
) -> np.ndarray:
    """Points (N, 3) m of a horizontal circle, about spacing_m apart.

    number: of the circle in a sequence; each has other points and a radius up to WIDER_M larger.
    """
    across = np.linalg.svd(up[None])[2][1:]
    radius_m += WIDER_M * (number * WIDEN % 1.0)
    count = math.ceil(2.0 * math.pi * radius_m / spacing_m)
    angles = (np.arange(count) + number * TURN % 1.0) * (2.0 * math.pi / count)
    flat = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.asarray(center + radius_m * flat @ across)
