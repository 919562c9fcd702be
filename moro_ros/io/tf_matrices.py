"""Replaces functions of tf_transformations, which pip lacks, with their signatures.

Quaternions are x, y, z, w; matrices are homogeneous and map points of the child into the parent.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
from scipy.spatial.transform import Rotation


def quaternion_matrix(quaternion: Sequence[float]) -> np.ndarray:
    """The rotation (4, 4) of a quaternion, which need not have unit length."""
    matrix = np.identity(4)
    matrix[:3, :3] = Rotation.from_quat(quaternion).as_matrix()
    return matrix


def quaternion_from_matrix(matrix: np.ndarray) -> np.ndarray:
    """The unit quaternion of the rotation of a transform (4, 4)."""
    return Rotation.from_matrix(np.asarray(matrix)[:3, :3]).as_quat()


def translation_matrix(direction: Sequence[float]) -> np.ndarray:
    """The translation (4, 4) by a vector (3,)."""
    matrix = np.identity(4)
    matrix[:3, 3] = direction[:3]
    return matrix


def translation_from_matrix(matrix: np.ndarray) -> np.ndarray:
    """The translation (3,) of a transform (4, 4)."""
    return np.array(matrix)[:3, 3].copy()


def concatenate_matrices(*matrices: np.ndarray) -> np.ndarray:
    """The product of transforms (4, 4), the last one applied first."""
    return reduce(np.dot, matrices, np.identity(4))


def inverse_matrix(matrix: np.ndarray) -> np.ndarray:
    """The inverse of a transform (4, 4)."""
    return np.linalg.inv(matrix)
