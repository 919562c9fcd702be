"""Triangle meshes."""

from __future__ import annotations

import numpy as np


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return area-weighted outward normals, (V, 3), not normalised.

    vertices: (V, 3); faces: (T, 3), counter-clockwise seen from outside.
    """
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    index = faces.reshape(-1)
    spread = np.repeat(normals, 3, axis=0)
    summed = [np.bincount(index, spread[:, axis], len(vertices)) for axis in range(3)]
    return np.stack(summed, 1)
