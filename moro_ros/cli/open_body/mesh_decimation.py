"""Mesh decimation to an exact number of vertices by half-edge collapses."""

from __future__ import annotations

import heapq

import numpy as np

# One collapse may tilt a face at most to this cosine; over many collapses the tilts can add up.
MIN_FACE_COSINE = 0.2


class _Mesh:
    """A triangle mesh under decimation: neighbours and faces of each vertex."""

    def __init__(self, vertices: np.ndarray, faces: np.ndarray) -> None:
        self.vertices = vertices
        self.faces = faces.copy()
        self.neighbours: list[set[int]] = [set() for _ in vertices]
        self.faces_at: list[set[int]] = [set() for _ in vertices]
        self.vertex_alive = np.ones(len(vertices), dtype=bool)
        self.face_alive = np.ones(len(faces), dtype=bool)
        for number, face in enumerate(self.faces):
            for vertex in face:
                self.faces_at[vertex].add(number)
                self.neighbours[vertex].update(other for other in face if other != vertex)

    def length(self, first: int, second: int) -> float:
        """Distance of two vertices [m]."""
        return float(np.linalg.norm(self.vertices[first] - self.vertices[second]))

    def can_merge(self, gone: int, kept: int) -> bool:
        """Whether `gone` may be merged into `kept`: the surface stays a manifold, no face flips."""
        if len(self.neighbours[gone] & self.neighbours[kept]) != 2:
            return False
        for number in self.faces_at[gone]:
            face = self.faces[number]
            if kept in face:
                continue
            before = self._normal(face)
            after = self._normal([kept if vertex == gone else vertex for vertex in face])
            limit = MIN_FACE_COSINE * np.linalg.norm(before) * np.linalg.norm(after)
            if before @ after <= limit:
                return False
        return True

    def merge(self, gone: int, kept: int) -> list[int]:
        """Merge `gone` into `kept`; returns the vertices whose edges to `kept` are new."""
        for number in list(self.faces_at[gone]):
            face = self.faces[number]
            if kept in face:
                self.face_alive[number] = False
                for vertex in face:
                    self.faces_at[vertex].discard(number)
            else:
                face[face == gone] = kept
                self.faces_at[kept].add(number)
        moved = [vertex for vertex in self.neighbours[gone] if vertex != kept]
        self.neighbours[kept].discard(gone)
        for vertex in moved:
            self.neighbours[vertex].discard(gone)
            self.neighbours[vertex].add(kept)
            self.neighbours[kept].add(vertex)
        self.faces_at[gone].clear()
        self.neighbours[gone].clear()
        self.vertex_alive[gone] = False
        return moved

    def _normal(self, face: np.ndarray | list[int]) -> np.ndarray:
        a, b, c = (self.vertices[vertex] for vertex in face)
        return np.cross(b - a, c - a)


def decimate(
    vertices: np.ndarray, faces: np.ndarray, target: int, keep: set[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Collapse the shortest edges until `target` vertices are left.

    Vertices are only removed, never moved, so the survivors keep all their attributes.

    vertices: (V, 3), metres. faces: (M, 3) vertex ids. keep: ids that must survive.
    Returns the surviving ids (target,) int64, rising, and the faces (M', 3) in the old ids.
    Raises: ValueError when no more edge can be collapsed before the target is reached.
    """
    mesh = _Mesh(vertices, faces)
    left = len(vertices)
    heap = [
        (mesh.length(first, second), first, second)
        for first in range(len(vertices))
        for second in mesh.neighbours[first]
        if first < second
    ]
    heapq.heapify(heap)
    while left > target and heap:
        _, first, second = heapq.heappop(heap)
        if not mesh.vertex_alive[first] or second not in mesh.neighbours[first]:
            continue
        gone, kept = (first, second) if second in keep or first not in keep else (second, first)
        if gone in keep or not mesh.can_merge(gone, kept):
            continue
        for vertex in mesh.merge(gone, kept):
            pair = min(vertex, kept), max(vertex, kept)
            heapq.heappush(heap, (mesh.length(vertex, kept), *pair))
        left -= 1
    if left > target:
        raise ValueError(f"no edge left to collapse at {left} vertices, {target} requested")
    return np.flatnonzero(mesh.vertex_alive), mesh.faces[mesh.face_alive]
