"""The outline of a body in depth images: where it ends, and how wide it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from moro_ros.geometry.depth_image import DepthImage
from moro_ros.recover.depth_outline import Outline, outline_in, wider
from moro_ros.types import Camera

CAMERA = Camera(np.array([[400.0, 0, 160], [0, 400.0, 120], [0, 0, 1]]), 320, 240)
AWAY_M, WALL_M, HALF_M = 2.0, 3.0, 0.15
ROWS = np.linspace(-0.3, 0.3, 40)


def image(left_m: float, right_m: float) -> DepthImage:
    """An upright band at AWAY_M between two places, before a wall."""
    metres = np.full((240, 320), WALL_M, np.float32)
    column = np.arange(320)
    inside = (column >= 160 + 200 * left_m) & (column <= 160 + 200 * right_m)
    metres[:, inside] = AWAY_M
    return DepthImage(metres, CAMERA, 0)


def outline() -> Outline:
    """Both sides of a body 0.3 m wide, before the middle of the image."""
    sides = np.repeat([-1.0, 1.0], len(ROWS))
    points = np.stack([HALF_M * sides, np.tile(ROWS, 2), np.full(len(sides), AWAY_M)], 1)
    outward = np.stack([sides, 0 * sides, 0 * sides], 1)
    zero = np.zeros(len(sides))
    return Outline(points, zero.astype(int), outward, zero + HALF_M, zero)


def shift(found: Outline) -> float:
    """The mean movement to the right."""
    return float((found.beyond * found.outward[:, 0]).mean())


@pytest.mark.parametrize("aside_m", [-0.05, -0.02, 0.0, 0.04])
def test_a_body_beside_its_outline_is_found_there_and_is_not_wider(aside_m):
    found = outline_in(outline(), 1.0, image(aside_m - HALF_M, aside_m + HALF_M))
    assert len(found.points) == 2 * len(ROWS)
    assert shift(found) == pytest.approx(aside_m, abs=0.004)
    assert wider(found) == pytest.approx(0.0, abs=0.03)


@pytest.mark.parametrize("share", [-0.2, 0.25])
def test_a_wider_body_is_wider_wherever_it_is(share):
    half_m = (1.0 + share) * HALF_M
    found = outline_in(outline(), 1.0, image(0.01 - half_m, 0.01 + half_m))
    assert wider(found) == pytest.approx(share, abs=0.05)
    assert shift(found) == pytest.approx(0.01, abs=0.004)


def test_the_scale_of_the_distance_is_that_of_the_outline():
    """The pose is 20 % too near: what is measured is told at its size."""
    small = outline()
    small.points[:] /= 1.2
    found = outline_in(small, 1.2, image(0.03 - HALF_M, 0.03 + HALF_M))
    assert shift(found) == pytest.approx(0.03 / 1.2, abs=0.004)


def test_holes_at_random_do_not_move_the_edge():
    depth = image(-HALF_M, HALF_M)
    depth.metres[np.random.default_rng(0).uniform(size=depth.metres.shape) < 0.05] = np.nan
    found = outline_in(outline(), 1.0, depth)
    assert len(found.points) > 1.5 * len(ROWS)
    assert np.abs(found.beyond).mean() < 0.006


def test_something_in_front_or_at_the_same_distance_is_no_edge():
    """A post hides one side; the body leans on something wide on the other."""
    depth = image(-HALF_M, 1.0)
    depth.metres[:, 120:140] = 1.2  # the left side of the body is at column 130
    assert not len(outline_in(outline(), 1.0, depth).points)


def test_the_border_of_the_image_and_a_hole_are_no_edges():
    """The body fills the image, or is seen around a hole."""
    camera = Camera(CAMERA.matrix, 132, 240)  # the body's right side is at column 190
    full = DepthImage(np.full((240, 132), AWAY_M, np.float32), camera, 0)
    cut = outline()
    cut.points[:, 0] -= 0.28  # the right side at 1 pixel inside of the border
    assert not len(outline_in(cut, 1.0, full).points)
    hole = image(-1.0, 1.0)
    hole.metres[:, 180:230] = np.nan
    assert not len(outline_in(outline(), 1.0, hole).points)


@pytest.mark.parametrize(("degrees", "used"), [(0.0, True), (8.0, True), (30.0, False)])
def test_a_depth_camera_with_another_view_sees_another_outline(degrees, used):
    """It looks at the body from aside, at the same distance."""
    angle = np.radians(degrees)
    turn = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1.0, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    body = np.array([0.0, 0.0, AWAY_M])
    depth = replace(image(-HALF_M, HALF_M), rotation=turn, translation=body - turn @ body)
    assert depth.beside(body) == pytest.approx(angle, abs=1e-6)
    assert bool(len(outline_in(outline(), 1.0, depth).points)) == used


def test_a_body_outside_of_the_image_or_behind_the_camera_has_no_edges():
    away, behind = outline(), outline()
    away.points[:, 0] += 3.0
    behind.points[:, 2] = -1.0
    for one in (away, behind):
        found = outline_in(one, 1.0, image(-HALF_M, HALF_M))
        assert not len(found.points) and wider(found) == 0.0


def test_few_edges_tell_no_width():
    found = outline_in(outline().only(np.arange(80) % 8 == 0), 1.0, image(-0.2, 0.2))
    assert len(found.points) == 10 and wider(found) == 0.0
