"""Simulated depth images of bodies and furniture, with the noise of a depth camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from moro_ros.types import Camera

NEAR_M = 0.15
# Tolerance of a pixel at the edge of a triangle, of barycentric weights.
INSIDE = 1e-9
# Noise of a stereo depth camera: sigma = NOISE z^2 [m]; share of lost pixels; pixels at a step in
# depth that are lost or between both sides.
NOISE, LOST, EDGE_M = 0.0015, 0.02, 0.1


@dataclass(frozen=True, slots=True)
class Board:
    """A flat piece of furniture, wall or floor: corner (3,) m and two sides (3,) m."""

    corner: np.ndarray
    first: np.ndarray
    second: np.ndarray


def render_depth(
    meshes: Sequence[np.ndarray], faces: np.ndarray, boards: Sequence[Board], camera: Camera
) -> np.ndarray:
    """Return the distance of the nearest surface along the optical axis, (H, W) float32 m, or NaN.

    meshes: vertices (V, 3) m in the camera's frame, all with the same faces (T, 3); camera: a
    pinhole without distortion.
    """
    depth = np.full((camera.height, camera.width), np.inf)
    for board in boards:
        np.minimum(depth, board_depth(board, camera), out=depth)
    for vertices in meshes:
        rasterise(depth, np.asarray(vertices, np.float64), faces, camera)
    return np.where(np.isfinite(depth), depth, np.nan).astype(np.float32)


def board_depth(board: Board, camera: Camera) -> np.ndarray:
    """Return the distance of a board in every pixel, (H, W) m, infinite outside of it."""
    columns, rows = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    pixels = np.stack([columns, rows, np.ones_like(rows)], -1)
    rays = pixels @ np.linalg.inv(camera.matrix).T  # z = 1
    normal = np.cross(board.first, board.second)
    with np.errstate(divide="ignore", invalid="ignore"):
        away = (normal @ board.corner) / (rays @ normal)
        beside = rays * away[..., None] - board.corner
        inside = away > NEAR_M
        for side in (board.first, board.second):
            share = beside @ side / (side @ side)
            inside &= (share >= 0.0) & (share <= 1.0)
    return np.where(inside, away, np.inf)


def rasterise(depth: np.ndarray, vertices: np.ndarray, faces: np.ndarray, camera: Camera) -> None:
    """Draw a mesh into a z-buffer (H, W), in place: the depth at the centre of each pixel.

    Candidates for the pixels of a triangle are those of points on it less than a pixel apart.
    """
    corners = vertices[faces]
    corners = corners[(corners[..., 2] > NEAR_M).all(1)]
    focal, center = camera.matrix[[0, 1], [0, 1]], camera.matrix[:2, 2]
    pixels = corners[..., :2] / corners[..., 2:] * focal + center  # (T, 3, 2)
    longest = np.linalg.norm(pixels - np.roll(pixels, 1, axis=1), axis=-1).max(1)
    steps = np.ceil(1.5 * longest).astype(int).clip(1, 64)
    for count in np.unique(steps):
        first, second = np.meshgrid(np.arange(count + 1), np.arange(count + 1))
        within = first + second <= count
        shares = np.stack([first[within], second[within]], -1) / count
        shares = np.concatenate([1.0 - shares.sum(1, keepdims=True), shares], 1)  # (n, 3)
        chosen = pixels[steps == count]
        place = np.rint(shares @ chosen)  # (T, n, 2), the pixels' centres
        weight = barycentric(place, chosen)
        seen = (weight > -INSIDE).all(-1)
        seen &= ((place >= 0) & (place < (camera.width, camera.height))).all(-1)
        # 1 / z is linear in the image.
        away = 1.0 / np.maximum((weight / corners[steps == count][:, None, :, 2]).sum(-1), 1e-9)
        column, row = np.moveaxis(place[seen].astype(int), -1, 0)
        np.minimum.at(depth, (row, column), away[seen])


def barycentric(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Return the weights (T, n, 3) of the corners (T, 3, 2) at points (T, n, 2); NaN if flat."""
    first, second, third = np.moveaxis(corners[:, None], -2, 0)  # (T, 1, 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = cross(second - first, third - first)
        middle = cross(points - first, third - first) / whole
        last = cross(second - first, points - first) / whole
    return np.stack([1.0 - middle - last, middle, last], -1)


def cross(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the cross product of vectors (..., 2) of a plane, (...)."""
    return np.asarray(first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0])


def as_measured(depth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a depth image with the noise, holes and edges of a stereo depth camera, (H, W) m."""
    found = depth + NOISE * np.nan_to_num(depth) ** 2 * rng.normal(size=depth.shape)
    # Half of the pixels at a step are lost, the others are anywhere between both sides. Which side
    # of the step a pixel is on is chosen at random.
    left, right = np.roll(depth, 1, axis=1), np.roll(depth, -1, axis=1)
    beside = np.where(rng.uniform(size=depth.shape) < 0.5, left, right)
    edge = np.abs(depth - beside) > EDGE_M
    share = rng.uniform(size=depth.shape)
    found = np.where(edge, share * depth + (1.0 - share) * beside, found)
    lost = rng.uniform(size=depth.shape) < np.where(edge, 0.5, LOST)
    return np.where(lost, np.nan, np.round(found, 3)).astype(np.float32)
