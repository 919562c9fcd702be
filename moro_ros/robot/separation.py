"""Minimum distances between the links of a robot and the capsules of people, by coal."""

from __future__ import annotations

from dataclasses import dataclass

import coal
import numpy as np

from moro_ros.robot.collision import RobotModel


@dataclass(frozen=True, slots=True)
class Separation:
    """Distances of L links and P body parts.

    distances: (L, P) m between the surfaces, negative where they overlap; robot_points and
    human_points: (L, P, 3) m, the nearest points.
    """

    distances: np.ndarray
    robot_points: np.ndarray
    human_points: np.ndarray


class SeparationMonitor:
    """Measures distances to one robot; for one thread."""

    def __init__(self, robot: RobotModel) -> None:
        self.robot = robot
        self._request = coal.DistanceRequest()
        self._request.enable_signed_distance = True

    def measure(
        self, poses: np.ndarray, starts: np.ndarray, ends: np.ndarray, radii: np.ndarray
    ) -> Separation:
        """Return the distances of all pairs.

        poses: (L, 4, 4) of the links with collision geometry, in the order of the model;
        starts, ends: (P, 3) m, the ends of the capsules' axes, and radii: (P,) m; all in one frame.
        For a link with several shapes, the nearest one is used.
        """
        shape = len(self.robot.links), len(radii)
        found = Separation(np.full(shape, np.inf), np.zeros((*shape, 3)), np.zeros((*shape, 3)))
        lengths = np.linalg.norm(ends - starts, axis=1)
        capsules = [
            coal.Capsule(float(radius), float(length))
            for radius, length in zip(radii, lengths, strict=True)
        ]
        turns, middles = _z_to(ends - starts, lengths), (starts + ends) / 2
        places = [coal.Transform3s(*pair) for pair in zip(turns, middles, strict=True)]
        result = coal.DistanceResult()
        for row, (link, pose) in enumerate(zip(self.robot.links, poses, strict=True)):
            for part in link.shapes:
                rotation = pose[:3, :3] @ part.rotation
                there = coal.Transform3s(rotation, pose[:3, :3] @ part.place + pose[:3, 3])
                for column, (capsule, place) in enumerate(zip(capsules, places, strict=True)):
                    result.clear()
                    distance = coal.distance(
                        part.geometry, there, capsule, place, self._request, result
                    )
                    if distance < found.distances[row, column]:
                        found.distances[row, column] = distance
                        found.robot_points[row, column] = result.getNearestPoint1()
                        found.human_points[row, column] = result.getNearestPoint2()
        return found


def _z_to(axes: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Rotations (P, 3, 3) that take z to some axes (P, 3)."""
    z = np.where(lengths[:, None] > 1e-9, axes / np.maximum(lengths, 1e-9)[:, None], (0, 0, 1.0))
    helper = np.eye(3)[np.abs(z).argmin(axis=1)]
    x = np.cross(helper, z)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return np.stack([x, np.cross(z, x), z], axis=-1)


def closing_speeds(
    separation: Separation, poses: np.ndarray, before: np.ndarray, elapsed_s: float,
    velocities: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Return the closing speed of the nearest points, (L, P) m/s.

    poses, before: (L, 4, 4) of the links, now and elapsed_s ago (0: the robot is static);
    velocities: (P, 3) m/s of the body parts.
    """
    points = separation.robot_points
    gap = points - separation.human_points  # from the person to the robot
    # Where the surfaces overlap the gap points the other way.
    sign = np.where(separation.distances < 0.0, -1.0, 1.0)
    towards = gap / np.maximum(np.linalg.norm(gap, axis=-1), 1e-9)[..., None] * sign[..., None]
    robot = np.zeros_like(points)
    if elapsed_s > 0.0:
        step = before @ np.linalg.inv(poses)
        then = np.einsum("lab,lpb->lpa", step[:, :3, :3], points) + step[:, None, :3, 3]
        robot = (points - then) / elapsed_s
    speeds: np.ndarray = ((velocities - robot) * towards).sum(axis=-1)
    return speeds
