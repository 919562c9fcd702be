"""Boxes and points around bodies."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from moro_ros.body.body_model import BodyModel
from moro_ros.body.capsules import Capsules, body_capsules
from moro_ros.body.extent import box_around, facing_axes, surface_points
from moro_ros.geometry.rotation import rotvec_to_matrix

UP = np.array([0.0, 1.0, 0.0])


def turned(x: float, y: float, z: float) -> np.ndarray:
    return rotvec_to_matrix(torch.tensor([x, y, z])).numpy().astype(np.float64)


@pytest.fixture(scope="module")
def capsules(open_body: BodyModel) -> Capsules:
    joints = open_body.skeleton(torch.zeros(1, 10)).joints[0, :22].numpy()
    rest = body_capsules(open_body, torch.zeros(10))
    return rest.posed(joints, np.tile(np.eye(3), (22, 1, 1)))


@pytest.mark.parametrize("yaw", [0.0, 1.0, -2.5])
def test_the_box_turns_with_the_person(capsules: Capsules, yaw: float) -> None:
    turn = turned(0.0, yaw, 0.0)
    center, size = box_around(
        capsules.moved(turn, np.array([1.0, 0.0, 2.0])), facing_axes(turn, UP)
    )
    straight_center, straight_size = box_around(capsules, facing_axes(np.eye(3), UP))
    np.testing.assert_allclose(size, straight_size, atol=1e-5)
    np.testing.assert_allclose(center, turn @ straight_center + [1.0, 0.0, 2.0], atol=1e-5)
    front, left, up = size  # T-pose: arms to the sides
    assert left == pytest.approx(1.7, abs=0.25) and up == pytest.approx(1.7, abs=0.15)
    assert front < 0.5


def test_the_box_is_the_smallest_one(open_body: BodyModel, capsules: Capsules) -> None:
    axes = facing_axes(turned(0.1, 0.7, -0.1), UP)
    center, size = box_around(capsules, axes)
    vertices = open_body.rest_vertices(torch.zeros(1, 10))[0].numpy()
    inside = np.abs((vertices - center) @ axes) <= size / 2 + 1e-6
    assert inside.all()
    reach = np.abs((surface_points(capsules, 0.01) - center) @ axes).max(axis=0)
    np.testing.assert_allclose(reach, size / 2, atol=0.01)


def test_axes_are_upright_and_right_handed_however_somebody_lies() -> None:
    for rotation in (turned(1.57, 0, 0), turned(-1.57, 0, 0), turned(0, 0, 1.57), np.eye(3)):
        axes = facing_axes(rotation, UP)
        np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
        assert np.linalg.det(axes) == pytest.approx(1.0)
        np.testing.assert_allclose(axes[:, 2], UP)


def test_points_lie_on_the_surface_and_leave_no_holes(capsules: Capsules) -> None:
    one = Capsules(capsules.starts[16:17], capsules.ends[16:17], capsules.radii[16:17])
    points = surface_points(one, 0.04)
    np.testing.assert_allclose(one.distances(points), 0.0, atol=1e-9)
    dense = surface_points(one, 0.005)
    nearest = np.linalg.norm(dense[:, None] - points, axis=2).min(axis=1)
    assert nearest.max() < 0.04


def test_what_lies_within_another_capsule_has_no_points(capsules: Capsules) -> None:
    """A costmap takes in the outer surface; the inner ones were ten times as many points."""
    large = Capsules(capsules.starts, capsules.ends, capsules.radii + 1.0)
    points = surface_points(large, 0.1)
    assert large.distances(points).min() > -0.011 and len(points) < 6000
    # A ray from the middle in any direction meets the surface at a point.
    centre = capsules.starts[0]
    ways = points - centre
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    rays = np.random.default_rng(3).normal(size=(200, 3))
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    assert (rays @ ways.T).max(axis=1).min() > np.cos(0.15)


def test_parts_without_surface_have_no_points() -> None:
    nothing = Capsules(np.zeros((22, 3)), np.zeros((22, 3)), np.zeros(22))
    assert surface_points(nothing, 0.05).shape == (0, 3)
