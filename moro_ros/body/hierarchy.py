"""The levels of a triangle mesh, from all its vertices down to a few token centres.

Levels are nested: each is a prefix of one farthest-point list, so a coarse vertex keeps its number
on every level. Distances run along the mesh edges, so fingers and thighs do not leak into each
other. The connection tables have the layout of the published tokenizer's files: one row per output
vertex, column 0 the number n of valid neighbours, then (input vertex id, ring distance) pairs,
nearest first; pairs beyond n are (number of input vertices, -1), the index of an appended zero row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.spatial.distance import cdist

# Standard deviation of the coarse vertices that the upsampling weights must tolerate [m]:
# a network's coarse vertices are noisy, and weights fitted without it grow large.
COARSE_NOISE_M = 0.002


@dataclass(frozen=True, slots=True)
class MeshHierarchy:
    """A mesh, its coarse version and the way back.

    coarse_index: full-mesh ids of the coarse vertices, farthest-point order, (C,) int32.
    up_index: for each full vertex the coarse vertices (0..C-1) that it is computed from, (V, N)
    int32.
    up_weight: their affine weights, each row sums to 1, (V, N) float32.
    """

    coarse_index: np.ndarray
    up_index: np.ndarray
    up_weight: np.ndarray


@dataclass(frozen=True, slots=True)
class ConnectionTables:
    """Pooling tables, fine to coarse, and the unpooling tables in the same level order.

    A convolution on each level and a pool between levels alternate: conv, pool, conv, ..., conv.
    pool: tables in encoder order. unpool: unpool[i] undoes pool[i]; the decoder runs from the last.
    """

    pool: tuple[np.ndarray, ...]
    unpool: tuple[np.ndarray, ...]


def edge_graph(vertices: np.ndarray, faces: np.ndarray) -> csr_matrix:
    """Symmetric graph of the mesh edges, weighted by their length.

    vertices: (V, 3), metres. faces: (M, 3) vertex ids. Returns (V, V) sparse, metres.
    """
    faces = np.asarray(faces, dtype=np.int64)
    count = len(vertices)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = np.unique(np.sort(edges, axis=1), axis=0)
    # A zero length would mean "no edge" to scipy.
    points = np.asarray(vertices, dtype=np.float64)
    length = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    length = np.maximum(length, 1e-9)
    rows, columns = np.concatenate([edges, edges[:, ::-1]]).T
    weights = np.concatenate([length, length])
    return coo_matrix((weights, (rows, columns)), shape=(count, count)).tocsr()


def first_component(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Ids of the vertices connected to vertex 0 (SMPL-X without its eyeballs), (U,) int64."""
    _, label = connected_components(edge_graph(vertices, faces), directed=False)
    return np.flatnonzero(label == label[0])


def farthest_points(vertices: np.ndarray, faces: np.ndarray, count: int) -> np.ndarray:
    """Spread points over the first component of a mesh; every prefix is spread as well.

    Starts at the vertex nearest to the mesh's centre and adds, each time, the vertex that is
    farthest along the edges from all chosen ones.

    vertices: (V, 3), metres. faces: (M, 3) vertex ids. Returns (count,) int64 vertex ids.
    Raises: ValueError when the component has fewer than count vertices.
    """
    component = first_component(vertices, faces)
    if not 0 < count <= len(component):
        raise ValueError(f"{count} points requested of a component of {len(component)} vertices")
    graph = edge_graph(vertices, faces)[component][:, component]
    points = np.asarray(vertices, dtype=np.float64)[component]
    chosen = [int(np.argmin(np.linalg.norm(points - points.mean(0), axis=1)))]
    distance = dijkstra(graph, indices=chosen[0])
    while len(chosen) < count:
        newest = int(np.argmax(distance))
        chosen.append(newest)
        # Nothing farther than the current largest distance can become nearer to the new point.
        reached = dijkstra(graph, indices=newest, limit=distance[newest])
        distance = np.minimum(distance, reached)
    return component[chosen]


def upsampling(
    posed_full: np.ndarray, coarse_index: np.ndarray, neighbours: int = 12
) -> tuple[np.ndarray, np.ndarray]:
    """Fixed affine weights that rebuild the full mesh from its coarse vertices.

    A vertex is rebuilt from the coarse vertices that stay nearest to it over all poses; least
    squares over the poses, weights summing to 1 (so it follows any rigid motion), and damped
    against noise on the coarse vertices.

    posed_full: the mesh in N poses and shapes, (N, V, 3), metres, any frame.
    coarse_index: ids of the coarse vertices, (C,).
    Returns up_index (V, neighbours) int32 into coarse_index, up_weight (V, neighbours) float32.
    """
    vertex_count = posed_full.shape[1]
    neighbours = min(neighbours, len(coarse_index))
    tracks = np.ascontiguousarray(posed_full.transpose(1, 0, 2), dtype=np.float64)  # (V, N, 3)
    flat = tracks.reshape(vertex_count, -1)  # (V, 3N)
    distance = cdist(flat, flat[coarse_index], "sqeuclidean")  # (V, C)
    index = np.argsort(distance, axis=1)[:, :neighbours]  # (V, K)
    weight = np.empty((vertex_count, neighbours))
    coarse = flat[coarse_index]
    for start in range(0, vertex_count, 512):  # a block of vertices: the gather stays small
        rows = slice(start, start + 512)
        weight[rows] = affine_weights(coarse[index[rows]] - flat[rows, None], COARSE_NOISE_M)
    return index.astype(np.int32), weight.astype(np.float32)


def affine_weights(offsets: np.ndarray, noise_m: float) -> np.ndarray:
    """Weights, summing to 1, whose mix of K moving points stays nearest to a moving target.

    offsets: points minus target over all samples and axes, (B, K, D), metres.
    noise_m: standard deviation of the noise on the points that the weights must tolerate, metres.
    Returns (B, K) float64.
    """
    _, count, samples = offsets.shape
    gram = offsets @ offsets.transpose(0, 2, 1) + samples * noise_m**2 * np.eye(count)
    solved = np.linalg.solve(gram, np.ones((len(gram), count, 1)))[..., 0]  # (B, K)
    return solved / solved.sum(1, keepdims=True)


def build_hierarchy(
    vertices: np.ndarray,
    faces: np.ndarray,
    posed: np.ndarray,
    coarse_count: int = 1024,
) -> MeshHierarchy:
    """The hierarchy of one mesh, from its rest pose and a sample of posed bodies.

    vertices: rest pose, (V, 3), metres. faces: (M, 3). posed: (N, V, 3), metres, any frame.
    """
    coarse_index = farthest_points(vertices, faces, coarse_count)
    up_index, up_weight = upsampling(posed, coarse_index)
    return MeshHierarchy(
        coarse_index=coarse_index.astype(np.int32),
        up_index=up_index,
        up_weight=up_weight,
    )


def nearest_centre(graph: csr_matrix, centres: np.ndarray) -> np.ndarray:
    """For each vertex of a graph the number of its nearest centre along the edges, (V,) int64.

    A vertex that no centre reaches gets -1.
    """
    _, _, source = dijkstra(graph, indices=centres, min_only=True, return_predecessors=True)
    number = np.full(graph.shape[0], -1, dtype=np.int64)
    number[centres] = np.arange(len(centres))
    return np.where(source < 0, -1, number[source])


def coarse_graph(graph: csr_matrix, centres: np.ndarray) -> csr_matrix:
    """Graph of the centres: two are joined where their cells touch, (C, C), metres.

    The weight is the shortest path between the two that crosses their common border once.
    """
    distance, _, _ = dijkstra(graph, indices=centres, min_only=True, return_predecessors=True)
    cell = nearest_centre(graph, centres)
    border = graph.tocoo()
    crossing = (cell[border.row] != cell[border.col]) & (cell[border.row] >= 0)
    row, column = border.row[crossing], border.col[crossing]
    length = distance[row] + border.data[crossing] + distance[column]
    count = len(centres)
    # The shortest of several crossings: sort so that the first of each pair is the shortest.
    order = np.argsort(length, kind="stable")
    pair = cell[row[order]] * count + cell[column[order]]
    unique, first = np.unique(pair, return_index=True)
    weights = length[order][first]
    return coo_matrix((weights, (unique // count, unique % count)), (count, count)).tocsr()


def ring_distance(graph: csr_matrix, centres: np.ndarray, rings: int) -> csr_matrix:
    """Number of edges + 1 from each centre to the vertices within `rings` edges, (C, V) sparse.

    One is added because a sparse matrix cannot hold the centre's own distance 0.
    """
    count = len(centres)
    joined = graph.astype(bool)
    ones = np.ones(count, dtype=bool)
    reached = csr_matrix((ones, (np.arange(count), centres)), (count, graph.shape[0]))
    # Summed over the radii, a vertex counts rings + 1 - distance times.
    total = reached.astype(np.int64)
    for _ in range(rings):
        reached = reached + reached @ joined
        total = total + reached.astype(np.int64)
    total.data = rings + 2 - total.data
    return total


def connection_table(rings_plus_one: csr_matrix) -> np.ndarray:
    """A connection table from a sparse (N_out, N_in) matrix of ring distances + 1, int32.

    Returns (N_out, 1 + 2K), K being the largest number of neighbours of a row.
    """
    matrix = rings_plus_one.tocsr()
    outputs, inputs = matrix.shape
    valid = np.diff(matrix.indptr)
    table = np.empty((outputs, 1 + 2 * int(valid.max())), dtype=np.int32)
    table[:, 0] = valid
    table[:, 1::2] = inputs
    table[:, 2::2] = -1
    for row in range(outputs):
        begin, end = matrix.indptr[row], matrix.indptr[row + 1]
        ids, rings = matrix.indices[begin:end], matrix.data[begin:end] - 1
        order = np.lexsort((ids, rings))
        table[row, 1 : 1 + 2 * len(ids) : 2] = ids[order]
        table[row, 2 : 2 + 2 * len(ids) : 2] = rings[order]
    return table


def build_connection_tables(
    vertices: np.ndarray, faces: np.ndarray, levels: Sequence[int], rings: int = 2
) -> ConnectionTables:
    """The tables of a graph-convolution tokenizer for the first component of any mesh.

    A convolution sees `rings` rings around a vertex. A pool gathers the same rings around its
    centre and everything that is nearest to it, so no vertex is lost; the unpool is its transpose.

    vertices: rest pose of one connected component, (V, 3). faces: (M, 3).
    levels: falling numbers of vertices below V, the last one the number of tokens.
    Raises: ValueError when the mesh has several components or levels do not fall.
    """
    sizes = [len(vertices), *levels]
    if any(coarse >= fine for fine, coarse in pairwise(sizes)):
        raise ValueError(f"levels must fall from {sizes[0]} vertices, got {list(levels)}")
    if len(first_component(vertices, faces)) != len(vertices):
        raise ValueError("the mesh must be one connected component; cut it by first_component")
    graph = edge_graph(vertices, faces)
    order = farthest_points(vertices, faces, sizes[1] if len(sizes) > 1 else 1)
    pool = [connection_table(ring_distance(graph, np.arange(sizes[0]), rings))]
    unpool = [pool[0]]
    # Below the first pool, vertices are numbered in farthest-point order: a level is a prefix.
    for level, size in enumerate(sizes[1:]):
        centres = order[:size] if level == 0 else np.arange(size)
        matrix = _pool_rings(graph, centres, rings)
        pool.append(connection_table(matrix))
        unpool.append(connection_table(matrix.T.tocsr()))
        graph = coarse_graph(graph, centres)
        conv = connection_table(ring_distance(graph, np.arange(size), rings))
        pool.append(conv)
        unpool.append(conv)
    return ConnectionTables(pool=tuple(pool), unpool=tuple(unpool))


def _pool_rings(graph: csr_matrix, centres: np.ndarray, rings: int) -> csr_matrix:
    """Ring distances + 1 of `rings` rings around each centre and of its whole cell, (C, V)."""
    near = ring_distance(graph, centres, rings)
    cell = nearest_centre(graph, centres)
    hops = np.empty(len(cell), dtype=np.int64)
    for start in range(0, len(centres), 256):  # a block of centres: (centres, V) is large
        block = centres[start : start + 256]
        steps = dijkstra(graph, indices=block, unweighted=True)  # (block, V)
        inside = np.flatnonzero((cell >= start) & (cell < start + len(block)))
        hops[inside] = steps[cell[inside] - start, inside]
    # The same pair has the same distance in both, so the larger of "absent" and it is it.
    own = csr_matrix((hops + 1, (cell, np.arange(len(cell)))), near.shape)
    return near.maximum(own)
