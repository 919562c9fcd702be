"""Decimation: exact counts, kept vertices, a surface that stays closed and does not fold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import ConvexHull

from moro_ros.cli.open_body.mesh_decimation import decimate


@pytest.fixture(scope="module")
def ball() -> tuple[np.ndarray, np.ndarray]:
    """A closed mesh of 300 random points on a sphere, all faces seen from outside."""
    points = np.random.default_rng(0).normal(size=(300, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    hull = ConvexHull(points)
    faces = hull.simplices.copy()
    corners = points[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    inward = np.einsum("fc,fc->f", normal, corners.mean(1)) < 0
    faces[inward] = faces[inward, ::-1]
    return points, faces


def test_leaves_the_wanted_number_and_the_kept_vertices(ball) -> None:
    keep = {0, 7, 120, 299}
    survivors, faces = decimate(*ball, target=90, keep=keep)
    assert len(survivors) == 90
    assert keep <= set(survivors.tolist())
    assert set(np.unique(faces)) == set(survivors.tolist())


def test_the_surface_stays_closed_and_turned_outward(ball) -> None:
    points, _ = ball
    _, faces = decimate(*ball, target=200, keep=set())
    assert len(faces) == 2 * 200 - 4  # Euler: a sphere still
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    assert len({tuple(edge) for edge in edges}) == len(edges)
    assert {tuple(edge) for edge in edges} == {tuple(edge[::-1]) for edge in edges}
    corners = points[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (np.einsum("fc,fc->f", normal, corners.mean(1)) > 0).all()


def test_says_when_nothing_is_left_to_collapse(ball) -> None:
    with pytest.raises(ValueError, match="300 vertices, 200 requested"):
        decimate(*ball, target=200, keep=set(range(300)))
