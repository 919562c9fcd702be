"""Mesh hierarchy: spread of the levels, rebuilding of posed meshes, layout of the tables."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from moro_ros.body.hierarchy import (
    build_connection_tables,
    build_hierarchy,
    coarse_graph,
    edge_graph,
    farthest_points,
    first_component,
    nearest_centre,
)


@pytest.fixture(scope="module")
def sphere() -> tuple[np.ndarray, np.ndarray]:
    """A closed mesh of 400 points on the unit sphere, evenly spread: vertices, faces."""
    number = np.arange(400) + 0.5
    height = 1 - 2 * number / 400
    angle = np.pi * (1 + 5**0.5) * number
    radius = np.sqrt(1 - height**2)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], 1)
    return points, ConvexHull(points).simplices


def upsample(hierarchy, coarse):
    """Full vertices (V, 3) from coarse vertices (C, 3)."""
    return np.einsum("vnc,vn->vc", coarse[hierarchy.up_index], hierarchy.up_weight)


def bent(vertices: np.ndarray, angle: float) -> np.ndarray:
    """A smooth bend: each height turns by its own angle about the vertical axis."""
    turn = Rotation.from_rotvec(np.outer(angle * vertices[:, 2], [0, 0, 1]))
    return turn.apply(vertices)


def test_every_prefix_of_the_farthest_points_covers_the_mesh(sphere) -> None:
    vertices, faces = sphere
    order = farthest_points(vertices, faces, 100)
    assert len(set(order.tolist())) == 100
    graph = edge_graph(vertices, faces)
    for count in (5, 20, 100):
        cover = dijkstra(graph, indices=order[:count], min_only=True).max()
        between = dijkstra(graph, indices=order[:count])[:, order[:count]]
        nearest_pair = between[~np.eye(count, dtype=bool)].min()
        # The defining property: no vertex is farther from the chosen than they from each other.
        assert cover <= nearest_pair


def test_farthest_points_stay_on_the_first_component(sphere) -> None:
    vertices, faces = sphere
    two = np.concatenate([vertices, 0.1 * vertices])
    faces_of_two = np.concatenate([faces, faces + len(vertices)])
    assert first_component(two, faces_of_two).tolist() == list(range(len(vertices)))
    assert farthest_points(two, faces_of_two, 50).max() < len(vertices)
    with pytest.raises(ValueError, match="401 points"):
        farthest_points(two, faces_of_two, 401)


def test_upsampling_rebuilds_unseen_poses_and_rigid_motion(sphere) -> None:
    vertices, faces = sphere
    posed = np.stack([bent(vertices, angle) for angle in np.linspace(-1, 1, 9)])
    hierarchy = build_hierarchy(vertices, faces, posed, coarse_count=120)
    np.testing.assert_allclose(hierarchy.up_weight.sum(1), 1, atol=1e-5)

    unseen = bent(vertices, 0.63)
    rebuilt = upsample(hierarchy, unseen[hierarchy.coarse_index])
    spacing = np.sqrt(4 * np.pi / 120)
    assert np.linalg.norm(rebuilt - unseen, axis=1).mean() < 0.02 * spacing

    rotation, shift = Rotation.from_rotvec([0.4, -1.0, 2.0]), np.array([3.0, -2.0, 5.0])
    moved = upsample(hierarchy, rotation.apply(unseen)[hierarchy.coarse_index] + shift)
    np.testing.assert_allclose(moved, rotation.apply(rebuilt) + shift, atol=1e-5)


def test_loose_parts_are_rebuilt_from_the_first_component(sphere) -> None:
    vertices, faces = sphere
    eye = 0.05 * vertices[:50] + [0.9, 0, 0]
    rest = np.concatenate([vertices, eye])
    turns = Rotation.random(20, random_state=0)
    posed = np.stack([turn.apply(rest) for turn in turns])
    hierarchy = build_hierarchy(rest, faces, posed, coarse_count=120)
    assert hierarchy.coarse_index.max() < len(vertices)
    rebuilt = upsample(hierarchy, rest[hierarchy.coarse_index])
    assert np.linalg.norm(rebuilt - rest, axis=1)[-50:].max() < 0.02


def test_upsampling_weights_bear_noise(sphere) -> None:
    vertices, faces = sphere
    posed = np.stack([bent(vertices, angle) for angle in np.linspace(-1, 1, 9)])
    hierarchy = build_hierarchy(vertices, faces, posed, coarse_count=120)
    gain = np.sqrt((hierarchy.up_weight**2).sum(1))
    assert gain.max() < 1.5


def test_cells_of_the_coarse_graph_touch(sphere) -> None:
    vertices, faces = sphere
    graph = edge_graph(vertices, faces)
    centres = farthest_points(vertices, faces, 40)
    cell = nearest_centre(graph, centres)
    coarse = coarse_graph(graph, centres).toarray()
    np.testing.assert_allclose(coarse, coarse.T)
    ends = np.array(graph.nonzero())
    touching = {(int(a), int(b)) for a, b in cell[ends].T if a != b}
    assert {(int(a), int(b)) for a, b in zip(*coarse.nonzero(), strict=True)} == touching


def test_tables_have_the_published_layout(sphere) -> None:
    vertices, faces = sphere
    levels = (400, 100, 20)
    tables = build_connection_tables(vertices, faces, levels[1:])
    sizes_in = (400, 400, 100, 100, 20)
    sizes_out = (400, 100, 100, 20, 20)
    assert [len(table) for table in tables.pool] == list(sizes_out)
    assert [len(table) for table in tables.unpool] == list(sizes_in)
    for table, inputs in zip(tables.pool, sizes_in, strict=True):
        assert table.dtype == np.int32
        ids, rings = table[:, 1::2], table[:, 2::2]
        valid = np.arange(ids.shape[1]) < table[:, :1]
        assert (ids[valid] < inputs).all() and (rings[valid] >= 0).all()
        assert (ids[~valid] == inputs).all() and (rings[~valid] == -1).all()
        # Nearest first: the vertex itself, at distance 0 and alone there.
        assert (rings[:, 0] == 0).all() and (rings[:, 1] > 0).all()
        assert all((np.diff(row[:n]) >= 0).all() for row, n in zip(rings, table[:, 0], strict=True))
    order = farthest_points(vertices, faces, 100)
    np.testing.assert_array_equal(tables.pool[1][:, 1], order)


def test_ring_distances_count_edges(sphere) -> None:
    vertices, faces = sphere
    table = build_connection_tables(vertices, faces, (50,)).pool[0]
    steps = dijkstra(edge_graph(vertices, faces), unweighted=True)
    for row in (0, 123, 399):
        count = table[row, 0]
        found = dict(zip(table[row, 1::2][:count], table[row, 2::2][:count], strict=True))
        assert found == {i: steps[row, i] for i in np.flatnonzero(steps[row] <= 2)}


def test_pooling_loses_no_vertex_and_unpooling_is_its_transpose(sphere) -> None:
    vertices, faces = sphere
    tables = build_connection_tables(vertices, faces, (60, 12))

    def pairs(table: np.ndarray) -> set[tuple[int, int]]:
        return {(r, int(i)) for r, row in enumerate(table) for i in row[1 : 1 + 2 * row[0] : 2]}

    for level in (1, 3):
        down, up = pairs(tables.pool[level]), pairs(tables.unpool[level])
        assert {i for _, i in down} == set(range(len(tables.unpool[level])))
        assert up == {(i, r) for r, i in down}


def test_tables_refuse_rising_levels_and_loose_parts(sphere) -> None:
    vertices, faces = sphere
    with pytest.raises(ValueError, match="levels must fall"):
        build_connection_tables(vertices, faces, (50, 80))
    two = np.concatenate([vertices, vertices + 5])
    with pytest.raises(ValueError, match="one connected component"):
        build_connection_tables(two, np.concatenate([faces, faces + 400]), (50,))
