"""Depth images of held-out motion: people before a wall, in clothes, or behind a post."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from moro_ros.body.body_model import BodyModel
from moro_ros.body.size import BodySize
from moro_ros.body.topology import JOINT_NAMES
from moro_ros.data.synthesis import ObservedMotion
from moro_ros.evaluation.depth_scenes import Board, as_measured, board_depth, render_depth
from moro_ros.evaluation.open_benchmark import RATE_HZ
from moro_ros.geometry.depth_image import DepthImage
from moro_ros.geometry.lens import image_points
from moro_ros.geometry.mesh import vertex_normals
from moro_ros.types import Camera

# The depth camera, aligned to the colour camera; every n-th image has a depth image.
DEPTH_CAMERA = Camera(np.array([[150.0, 0, 120], [0, 150.0, 90], [0, 0, 1]]), 240, 180)
DEPTH_EVERY = 3
# The wall behind people and the post in front of them [m].
WALL_M, POST_M, POST_WIDTH_M = 1.0, 0.4, 0.15
# Thickness of winter clothes [m], and the parts without.
CLOTHES_M = 0.03
BARE = (
    "neck",
    "head",
    "left_wrist",
    "right_wrist",
    "left_ankle",
    "right_ankle",
    "left_foot",
    "right_foot",
)


def true_size(body: BodyModel, observed: ObservedMotion, person: int) -> float:
    """Return the size of a person relative to their betas (open_worlds.resized)."""
    joints = observed.joints[person, 0]
    rest = body.skeleton(observed.truth.betas[person : person + 1]).joints[0]
    return float((joints[1] - joints[4]).norm() / (rest[1] - rest[4]).norm())


def true_stature(body: BodyModel, observed: ObservedMotion, person: int) -> float:
    """Return a person's stature, m."""
    stature_m = BodySize(body).stature(observed.truth.betas[person])
    return stature_m * true_size(body, observed, person)


def true_meshes(
    body: BodyModel, observed: ObservedMotion, person: int, images: slice = slice(None)
) -> np.ndarray:
    """Return the true vertices of a person in some images, (F, V, 3) m, camera frame."""
    truth = observed.truth
    turns, bent = truth.rotation[person, images], truth.body_rotations[person, images]
    betas = truth.betas[person].expand(len(turns), -1)
    meshes = body.skin(torch.cat([turns[:, None], bent], 1), betas).vertices
    meshes = meshes * true_size(body, observed, person)
    return np.asarray((meshes + truth.translation[person, images, None]).numpy())


@dataclass(frozen=True, slots=True)
class DepthScene:
    """A depth image, and a (H, W) bool mask of the post in it."""

    depth: DepthImage
    post: np.ndarray

    def hides(self, points: np.ndarray) -> np.ndarray:
        """Return which points (N, 3) m, no nearer than the post, are behind it, (N,) bool."""
        camera = self.depth.camera
        pixels = np.rint(image_points(points, camera)).astype(int)
        inside = ((pixels >= 0) & (pixels < (camera.width, camera.height))).all(1)
        column, row = np.where(inside[:, None], pixels, 0).T
        return np.asarray(inside & self.post[row, column])


class Rendered:
    """Exact depth images (H, W) m of a person before a wall, by the number of the image.

    meshes: of true_meshes. They are rendered once, when they are first needed.
    """

    def __init__(
        self, body: BodyModel, observed: ObservedMotion, person: int, meshes: np.ndarray
    ) -> None:
        self._faces, self._parts = body.faces.numpy(), body.vertex_parts()
        self._observed, self._person, self._meshes = observed, person, meshes

    @cached_property
    def bare(self) -> dict[int, np.ndarray]:
        """Of the body itself."""
        return self._images(np.zeros(len(self._parts)))

    @cached_property
    def clothed(self) -> dict[int, np.ndarray]:
        """Of the body in clothes, which the keypoints do not know."""
        bare = np.isin(self._parts, [JOINT_NAMES.index(name) for name in BARE])
        return self._images(np.where(bare, 0.0, CLOTHES_M))

    def _images(self, thickness: np.ndarray) -> dict[int, np.ndarray]:
        found = {}
        for number in range(0, len(self._meshes), DEPTH_EVERY):
            mesh = self._meshes[number]
            if thickness.any():
                normals = vertex_normals(mesh, self._faces)
                normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
                mesh = mesh + thickness[:, None] * normals
            wall = standing_board(self._observed, self._person, number, WALL_M, 8.0, 0.0)
            found[number] = render_depth([mesh], self._faces, [wall], DEPTH_CAMERA)
        return found


def depth_scenes(
    exact: Mapping[int, np.ndarray],
    observed: ObservedMotion,
    person: int,
    seed: int,
    post: bool = False,
) -> dict[int, DepthScene]:
    """Return the depth images of a person as measured, by the number of the image.

    exact: of Rendered; post: whether a post hides a part of the person.
    """
    rng = np.random.default_rng([seed, person])
    found = {}
    for number, metres in exact.items():
        hidden = np.zeros(metres.shape, bool)
        if post:
            board = standing_board(observed, person, number, -POST_M, POST_WIDTH_M, 0.15)
            nearer = board_depth(board, DEPTH_CAMERA)
            hidden = np.isfinite(nearer)
            metres = np.fmin(metres, np.where(hidden, nearer, np.nan)).astype(np.float32)
        measured = as_measured(metres, rng)
        depth = DepthImage(measured, DEPTH_CAMERA, round(number * 1e9 / RATE_HZ))
        found[number] = DepthScene(depth, hidden)
    return found


def standing_board(
    observed: ObservedMotion,
    person: int,
    number: int,
    behind_m: float,
    width_m: float,
    aside_m: float,
) -> Board:
    """Return a board across the line of sight behind a person in an image, or in front of them."""
    pelvis = observed.truth.translation[person, number].numpy().astype(np.float64)
    up = observed.truth.up[person].numpy().astype(np.float64)
    right = np.cross(up, [0.0, 0.0, 1.0])
    away = float(np.linalg.norm(pelvis))
    middle = pelvis * (1.0 + behind_m / away) + (aside_m - 0.5 * width_m) * right
    return Board(middle - 4.0 * up, right * width_m, up * 8.0)
