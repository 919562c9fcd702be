"""Conversions between the representations of a rotation, batched and differentiable.

A rotation matrix R acts on column vectors: x_out = R x. Rotation vectors are axis times angle in
rad. Quaternions are (x, y, z, w) with w >= 0, the order of ROS messages. The 6-D form is the first
two rows of R (Zhou et al., CVPR 2019).
"""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from moro_ros.geometry.precision import full_precision

SMALL = 1e-6  # below this squared angle the series are exact in float32 and have finite gradients


def matrix_to_rotation_6d(matrix: torch.Tensor) -> torch.Tensor:
    """First two rows of a rotation matrix: (..., 3, 3) -> (..., 6)."""
    return matrix[..., :2, :].flatten(-2)


@full_precision
def rotation_6d_to_matrix(rotation_6d: torch.Tensor) -> torch.Tensor:
    """Gram-Schmidt of two row vectors: (..., 6) -> (..., 3, 3)."""
    first, second = rotation_6d[..., :3], rotation_6d[..., 3:]
    row0 = normalize(first, dim=-1)
    row1 = normalize(second - (row0 * second).sum(-1, keepdim=True) * row0, dim=-1)
    return torch.stack((row0, row1, torch.linalg.cross(row0, row1)), dim=-2)


@full_precision
def rotvec_to_matrix(rotvec: torch.Tensor) -> torch.Tensor:
    """Rodrigues' formula: rotation vectors (..., 3) rad -> (..., 3, 3)."""
    squared = (rotvec * rotvec).sum(-1)
    small = squared < SMALL
    safe = torch.where(small, torch.ones_like(squared), squared)
    angle = safe.sqrt()
    sine = torch.where(small, 1 - squared / 6, angle.sin() / angle)
    cosine = torch.where(small, 0.5 - squared / 24, (1 - angle.cos()) / safe)
    x, y, z = rotvec.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), dim=-1).unflatten(-1, (3, 3))
    outer = rotvec[..., :, None] * rotvec[..., None, :]
    eye = torch.eye(3, dtype=rotvec.dtype, device=rotvec.device)
    scale = (1 - cosine * squared)[..., None, None]
    return scale * eye + sine[..., None, None] * cross + cosine[..., None, None] * outer


@full_precision
def matrix_to_quaternion(matrix: torch.Tensor) -> torch.Tensor:
    """Unit quaternions (x, y, z, w), w >= 0: (..., 3, 3) -> (..., 4).

    Row i of the symmetric matrix 4 q qᵀ is q times 4 q_i; the row of the largest component is
    well conditioned for every rotation.
    """
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = matrix.flatten(-2).unbind(-1)
    wx, wy, wz = m21 - m12, m02 - m20, m10 - m01
    xy, xz, yz = m01 + m10, m02 + m20, m12 + m21
    xx, yy, zz = 1 + m00 - m11 - m22, 1 - m00 + m11 - m22, 1 - m00 - m11 + m22
    ww = 1 + m00 + m11 + m22
    rows = (xx, xy, xz, wx, xy, yy, yz, wy, xz, yz, zz, wz, wx, wy, wz, ww)
    outer = torch.stack(rows, dim=-1).unflatten(-1, (4, 4))
    largest = torch.stack((xx, yy, zz, ww), dim=-1).argmax(-1)
    index = largest[..., None, None].expand(*largest.shape, 1, 4)
    quaternion = normalize(outer.gather(-2, index).squeeze(-2), dim=-1)
    return torch.where(quaternion[..., 3:] < 0, -quaternion, quaternion)


@full_precision
def quaternion_to_rotvec(quaternion: torch.Tensor) -> torch.Tensor:
    """Rotation vectors (..., 3) rad, length <= pi, of unit quaternions (..., 4) (x, y, z, w)."""
    vector, w = quaternion[..., :3], quaternion[..., 3]
    positive = w >= 0
    vector = torch.where(positive[..., None], vector, -vector)
    w = torch.where(positive, w, -w)
    squared = (vector * vector).sum(-1)
    small = squared < SMALL
    length = torch.where(small, torch.ones_like(squared), squared).sqrt()
    series = (2 - squared * (2 / 3) / w.clamp_min(0.5).square()) / w.clamp_min(0.5)
    scale = torch.where(small, series, 2 * torch.atan2(length, w) / length)
    return scale[..., None] * vector


def matrix_to_rotvec(matrix: torch.Tensor) -> torch.Tensor:
    """Rotation vectors, rad, length <= pi: (..., 3, 3) -> (..., 3)."""
    return quaternion_to_rotvec(matrix_to_quaternion(matrix))
