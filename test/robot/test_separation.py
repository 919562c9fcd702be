"""Distances between links and capsules: the known ones, their points, and how fast they shrink."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("coal")

import coal

from moro_ros.robot.collision import RobotLink, RobotModel, Shape
from moro_ros.robot.separation import SeparationMonitor, closing_speeds

SPHERE = Shape(coal.Sphere(0.1), np.eye(3), np.zeros(3))
BOX = Shape(coal.Box(0.2, 0.2, 2.0), np.eye(3), np.array([0.0, 0.0, 1.0]))
ROBOT = RobotModel("base", (RobotLink("hand", (SPHERE,)), RobotLink("arm", (BOX, SPHERE))))
# An upright capsule of radius 0.2 m from z = 0 to 1 m at x = 1 m, and a ball at (0, 3, 0).
STARTS, ENDS = np.array([[1.0, 0, 0], [0, 3, 0]]), np.array([[1.0, 0, 1], [0, 3, 0]])
RADII = np.array([0.2, 0.5])


def poses(*places: tuple[float, float, float]) -> np.ndarray:
    found = np.tile(np.eye(4), (len(places), 1, 1))
    found[:, :3, 3] = places
    return found


def test_distances_and_points_are_those_of_the_surfaces() -> None:
    found = SeparationMonitor(ROBOT).measure(poses((0, 0, 0.5), (-1, 0, 0)), STARTS, ENDS, RADII)
    np.testing.assert_allclose(found.distances[0], [0.7, np.sqrt(9.25) - 0.6], atol=1e-6)
    # The box, which is nearer than the sphere at its foot.
    np.testing.assert_allclose(found.distances[1, 0], 2.0 - 0.1 - 0.2, atol=1e-6)
    np.testing.assert_allclose(found.robot_points[0, 0], [0.1, 0, 0.5], atol=1e-5)
    np.testing.assert_allclose(found.human_points[0, 0], [0.8, 0, 0.5], atol=1e-5)
    gaps = np.linalg.norm(found.robot_points - found.human_points, axis=-1)
    np.testing.assert_allclose(gaps, found.distances, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_capsules_lie_along_their_axis_whatever_it_is(seed: int) -> None:
    rng = np.random.default_rng(seed)
    start, end = rng.normal(size=(2, 3))
    point = rng.normal(size=3) * 3
    share = np.clip((point - start) @ (end - start) / ((end - start) @ (end - start)), 0, 1)
    expected = np.linalg.norm(point - start - share * (end - start)) - 0.05 - 0.1
    model = RobotModel("base", (RobotLink("hand", (SPHERE,)),))
    found = SeparationMonitor(model).measure(
        poses(tuple(point)), start[None], end[None], np.array([0.05])
    )
    assert found.distances[0, 0] == pytest.approx(expected, abs=1e-5)


def test_surfaces_that_overlap_have_a_negative_distance() -> None:
    found = SeparationMonitor(ROBOT).measure(poses((0.75, 0, 0.5), (9, 9, 9)), STARTS, ENDS, RADII)
    assert found.distances[0, 0] == pytest.approx(-0.05, abs=1e-5)


def test_nobody_is_an_empty_matrix() -> None:
    nobody = np.zeros((0, 3))
    found = SeparationMonitor(ROBOT).measure(
        poses((0, 0, 0), (1, 1, 1)), nobody, nobody, np.zeros(0)
    )
    assert found.distances.shape == (2, 0)


@pytest.mark.parametrize("x", [0.0, 0.75])
def test_the_speed_is_that_of_both_towards_each_other(x: float) -> None:
    """Apart, and overlapping, where the points lie the other way round."""
    now, before = poses((x, 0, 0.5), (-5, 0, 0)), poses((x - 0.02, 0, 0.5), (-5, 0, 0))
    found = SeparationMonitor(ROBOT).measure(now, STARTS, ENDS, RADII)
    velocities = np.array([[-0.3, 0.0, 0.0], [0.0, 0.0, 0.0]])
    speeds = closing_speeds(found, now, before, 0.1, velocities)
    assert speeds[0, 0] == pytest.approx(0.2 + 0.3, abs=1e-3)
    still = closing_speeds(found, now, before, 0.0, velocities)
    assert still[0, 0] == pytest.approx(0.3, abs=1e-3)


def test_a_turning_link_has_the_speed_of_its_nearest_point() -> None:
    """A bar of 1 m that turns at 1 rad/s sweeps its end by 1 m/s."""
    bar = Shape(coal.Box(2.0, 0.02, 0.02), np.eye(3), np.zeros(3))
    model = RobotModel("base", (RobotLink("bar", (bar,)),))
    angle = 0.01
    before = np.eye(4)
    before[:2, :2] = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    ball = np.array([[1.0, 0.5, 0.0]])
    found = SeparationMonitor(model).measure(np.eye(4)[None], ball, ball, np.array([0.1]))
    speeds = closing_speeds(found, np.eye(4)[None], before[None], angle, np.zeros((1, 3)))
    assert speeds[0, 0] == pytest.approx(1.0, abs=0.03)
