"""The pinhole camera: projection, resizing, and from a person's box to a camera-frame pose."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

# Users of the library find all about a camera here; lens.py stands apart to be free of torch.
from moro_ros.geometry.lens import image_points, undistort_image, undistort_points
from moro_ros.geometry.precision import full_precision
from moro_ros.geometry.rotation import rotation_6d_to_matrix
from moro_ros.types import Camera

__all__ = [
    "box_condition",
    "image_points",
    "project",
    "resized_camera",
    "undistort_image",
    "undistort_points",
    "weak_to_full_camera",
]


@full_precision
def project(points: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Pixels (..., 2) of points (..., 3) m in the camera frame; matrix K is (..., 3, 3) px.

    The batch dimensions of K broadcast against those of the points, without the point dimension.
    Depths are raised by 1e-6 m as in the paper's losses.
    """
    planar = points[..., :2] / (points[..., 2:] + 1e-6)
    focal = torch.stack((matrix[..., 0, 0], matrix[..., 1, 1]), dim=-1)
    return planar * focal[..., None, :] + matrix[..., None, :2, 2]


def box_condition(
    center_px: torch.Tensor, side_px: torch.Tensor, matrix: torch.Tensor
) -> torch.Tensor:
    """Direction and size of a person's square box: (..., 3), dimensionless.

    center_px: (..., 2); side_px: (...,), padding included; matrix: K (..., 3, 3), broadcast.
    """
    focal = (matrix[..., 0, 0] + matrix[..., 1, 1]) / 2
    offset = center_px - matrix[..., :2, 2]
    return torch.cat((offset, side_px[..., None]), dim=-1) / focal[..., None]


@full_precision
def weak_to_full_camera(
    weak_camera: torch.Tensor, box: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotation (..., 3, 3) and pelvis (..., 3) m in the camera frame of a weak camera (CLIFF).

    weak_camera: (..., 9) = 6-D rotation, log scale s, x, y: a body point X appears in the box,
    whose corners are -1 and 1, at exp(s) (X_xy + (x, y)). box: box_condition, (..., 3).
    Source: Li et al., CLIFF, ECCV 2022, without its correction of the rotation.
    """
    scale = weak_camera[..., 6].exp() * box[..., 2] + 1e-9
    depth = 2 / scale
    x = weak_camera[..., 7] + depth * box[..., 0]
    y = weak_camera[..., 8] + depth * box[..., 1]
    return rotation_6d_to_matrix(weak_camera[..., :6]), torch.stack((x, y, depth), dim=-1)


def resized_camera(camera: Camera, width: int, height: int) -> Camera:
    """The camera of the same images at another size in pixels; distortion does not change."""
    # Pixel centres lie at whole numbers: the image begins half a pixel before 0.
    stretch = np.array([width / camera.width, height / camera.height, 1.0])
    half = np.array([[1.0, 0, 0.5], [0, 1.0, 0.5], [0, 0, 1.0]])
    matrix = np.linalg.inv(half) @ np.diag(stretch) @ half @ camera.matrix
    return dataclasses.replace(camera, matrix=matrix, width=width, height=height)
