"""The depth renderer: distances, hidden surfaces, and a depth camera's noise."""

from __future__ import annotations

import numpy as np
import pytest

from moro_ros.evaluation.depth_scenes import Board, as_measured, render_depth
from moro_ros.types import Camera

CAMERA = Camera(np.array([[100.0, 0, 40], [0, 100.0, 30], [0, 0, 1]]), 80, 60)
WALL = Board(np.array([-9.0, -9.0, 4.0]), np.array([18.0, 0, 0]), np.array([0, 18.0, 0]))
SQUARE = np.array([[-0.2, -0.2, 2.0], [0.2, -0.2, 2.0], [0.2, 0.2, 2.0], [-0.2, 0.2, 2.0]])
FACES = np.array([[0, 1, 2], [0, 2, 3]])


def test_the_nearer_surface_is_seen_without_gaps():
    depth = render_depth([SQUARE], FACES, [WALL], CAMERA)
    assert (depth[21:40, 31:50] == pytest.approx(2.0)) and depth[5, 5] == pytest.approx(4.0)
    assert set(np.unique(depth.round(4))) == {2.0, 4.0}
    near = Board(np.array([-1.0, 0.0, 1.0]), np.array([2.0, 0, 0]), np.array([0, 1.0, 0]))
    covered = render_depth([SQUARE], FACES, [WALL, near], CAMERA)
    assert covered[35, 40] == pytest.approx(1.0) and covered[25, 40] == pytest.approx(2.0)


def test_a_slanted_triangle_has_its_own_distance_in_every_pixel():
    slanted = SQUARE + np.array([[0, 0, 0], [0, 0, 1.0], [0, 0, 1.0], [0, 0, 0]])
    depth = render_depth([slanted], FACES, [], CAMERA)
    row, column = 30, 42
    x = (column - 40) / 100  # z = 2 + (x z + 0.2) / 0.4
    assert depth[row, column] == pytest.approx((2 + 0.5) / (1 - x / 0.4), abs=1e-4)
    assert np.isnan(depth[0, 0])


def test_a_measured_image_has_noise_that_grows_holes_and_wild_edges():
    rng = np.random.default_rng(0)
    exact = render_depth([SQUARE], FACES, [WALL], CAMERA)
    depth = as_measured(exact, rng)
    assert 0.01 < np.isnan(depth).mean() < 0.1
    assert np.nanstd(depth[25:35, 35:45]) < 0.5 * np.nanstd(depth[:15])
    rows = np.stack([as_measured(exact, rng)[22:39] for _ in range(20)])
    between = (rows > 2.2) & (rows < 3.8)
    assert 0.5 < between.any(2).mean() < 0.7
    # As often on the near side of a step as on the far side.
    near = between & (exact[22:39] < 3.0)
    assert near.sum() == pytest.approx(0.5 * between.sum(), rel=0.15)
