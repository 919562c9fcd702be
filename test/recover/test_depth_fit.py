"""A body's distance by rendered depth images: furniture in front, holes, edges, two cameras."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from moro_ros.body.size import BodySize
from moro_ros.body.topology import JOINT_NAMES
from moro_ros.evaluation.depth_scenes import Board, as_measured, render_depth
from moro_ros.geometry.depth_image import DepthImage
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.live.synthetic_scenes import sitter, walker
from moro_ros.recover.depth_fit import DepthFit, depth_clue
from moro_ros.recover.place import Clue
from moro_ros.recover.steady_pose import BodyPose
from moro_ros.types import Camera

CAMERA = Camera(np.array([[300.0, 0, 160], [0, 300.0, 120], [0, 0, 1]]), 320, 240)
ALL = np.ones(22, bool)
LEGS = [JOINT_NAMES.index(f"{s}_{j}") for s in ("left", "right") for j in ("knee", "ankle", "foot")]
HIPS = [JOINT_NAMES.index(name) for name in ("pelvis", "left_hip", "right_hip", "spine1", "spine2")]


@pytest.fixture(scope="module")
def fit(open_body) -> DepthFit:
    return DepthFit(open_body)


@pytest.fixture(scope="module")
def scene(open_body):
    """scene(who, away_m): the true pose, and its mesh (V, 3) m."""

    def make(who, away_m: float) -> tuple[BodyPose, np.ndarray]:
        pose, place, _ = who(1.3)
        place = torch.tensor([place[0] * away_m / place[2], 0.0, away_m]).float()
        turns = rotvec_to_matrix(torch.from_numpy(pose).float())[None]
        mesh = open_body.skin(turns, torch.zeros(1, 10)).vertices[0] + place
        return BodyPose(turns, place[None], torch.zeros(10)), mesh.numpy()

    return make


def room(away_m: float) -> list[Board]:
    """A wall behind, and the top of a table up to half a metre before the person."""
    wall = Board(
        np.array([-5.0, -3.0, away_m + 0.8]), np.array([10.0, 0, 0]), np.array([0, 6.0, 0])
    )
    top = np.array([-0.6, 0.25, away_m - 0.7])
    return [wall, Board(top, np.array([1.2, 0, 0]), np.array([0, 0, 0.5]))]


def clue_of(fit: DepthFit, pose: BodyPose, observed: np.ndarray, depth: DepthImage) -> Clue | None:
    return depth_clue(fit.surface(pose, observed), depth)


def off_by(body, pose: BodyPose, log_scale: float) -> BodyPose:
    """The same sight of a body that is nearer and smaller by so much."""
    factor = float(np.exp(-log_scale))
    betas = BodySize(body).resized(pose.betas, factor)
    return replace(pose, translation=pose.translation * factor, betas=betas)


@pytest.mark.parametrize("who", [walker, sitter])
@pytest.mark.parametrize("away_m", [1.2, 2.5, 4.0])
@pytest.mark.parametrize("log_scale", [-0.1, 0.0, 0.4])
def test_the_distance_is_found_to_three_centimetres(open_body, fit, scene, who, away_m, log_scale):
    pose, mesh = scene(who, away_m)
    boards = room(away_m)
    rng = np.random.default_rng(1)
    depth = as_measured(render_depth([mesh], open_body.faces.numpy(), boards, CAMERA), rng)
    clue = clue_of(fit, off_by(open_body, pose, log_scale), ALL, DepthImage(depth, CAMERA, 0))
    assert clue is not None
    assert abs(clue.log_scale - log_scale) * away_m < 0.03
    assert clue.sigma * away_m < 0.06


def test_furniture_before_hidden_hips_is_not_taken_for_them(open_body, fit, scene):
    """A counter hides all below the chest. What the image does not show does not count."""
    pose, mesh = scene(walker, 2.5)
    front = Board(np.array([-2.0, 0.0, 1.7]), np.array([4.0, 0, 0]), np.array([0, 2.0, 0]))
    boards = [*room(2.5), front]
    depth = DepthImage(render_depth([mesh], open_body.faces.numpy(), boards, CAMERA), CAMERA, 0)
    observed = ALL.copy()
    observed[LEGS + HIPS] = False
    hidden = clue_of(fit, off_by(open_body, pose, 0.1), observed, depth)
    assert hidden is not None and abs(hidden.log_scale - 0.1) * 2.5 < 0.05
    clear = clue_of(
        fit, off_by(open_body, pose, 0.1), ALL,
        DepthImage(render_depth([mesh], open_body.faces.numpy(), room(2.5), CAMERA), CAMERA, 0),
    )  # fmt: skip
    assert clear is not None and hidden.sigma > 1.5 * clear.sigma


def test_a_person_who_is_not_in_the_depth_image_is_not_measured(open_body, fit, scene):
    pose, mesh = scene(walker, 2.5)
    empty = render_depth([], open_body.faces.numpy(), room(2.5), CAMERA)
    assert clue_of(fit, pose, ALL, DepthImage(empty, CAMERA, 0)) is None
    holes = np.full_like(empty, np.nan)
    assert clue_of(fit, pose, ALL, DepthImage(holes, CAMERA, 0)) is None
    seen = render_depth([mesh], open_body.faces.numpy(), room(2.5), CAMERA)
    assert clue_of(fit, pose, np.zeros(22, bool), DepthImage(seen, CAMERA, 0)) is None


def test_half_of_the_pixels_may_be_missing(open_body, fit, scene):
    pose, mesh = scene(walker, 2.5)
    depth = render_depth([mesh], open_body.faces.numpy(), room(2.5), CAMERA)
    lost = np.kron(np.random.default_rng(2).uniform(size=(30, 40)) < 0.5, np.ones((8, 8), bool))
    clue = clue_of(fit, pose, ALL, DepthImage(np.where(lost, np.nan, depth), CAMERA, 0))
    assert clue is not None and abs(clue.log_scale) * 2.5 < 0.03


def test_depth_that_is_not_aligned_is_compared_in_its_own_camera(open_body, fit, scene):
    """The depth camera stands 6 cm beside the colour camera and looks 4 degrees past it."""
    pose, mesh = scene(walker, 2.0)
    turn = rotvec_to_matrix(torch.tensor([0.0, 0.07, 0.0])).numpy().astype(float)
    shift = np.array([-0.06, 0.0, 0.01])
    camera = Camera(np.array([[250.0, 0, 150], [0, 250.0, 110], [0, 0, 1]]), 300, 220)
    seen = render_depth([mesh @ turn.T + shift], open_body.faces.numpy(), [], camera)
    wrong = off_by(open_body, pose, 0.15)
    clue = clue_of(fit, wrong, ALL, DepthImage(seen, camera, 0, turn, shift))
    assert clue is not None and abs(clue.log_scale - 0.15) * 2.0 < 0.03


def test_a_lens_is_undone(open_body, fit, scene):
    """Azure Kinect's depth_to_rgb has the distortion of the colour camera."""
    pose, mesh = scene(walker, 2.5)
    depth = render_depth([mesh], open_body.faces.numpy(), [], CAMERA)
    bent = replace(CAMERA, distortion=(0.12, -0.1, 0.0, 0.0, 0.0))
    pixels = np.stack(np.meshgrid(np.arange(320.0), np.arange(240.0)), -1).reshape(-1, 1, 2)
    straight = cv2.undistortPoints(
        pixels, CAMERA.matrix, np.array(bent.distortion), P=CAMERA.matrix
    ).reshape(240, 320, 2)
    maps = straight.astype(np.float32)
    warped = cv2.remap(np.nan_to_num(depth), maps[..., 0], maps[..., 1], cv2.INTER_NEAREST)
    clue = clue_of(fit, pose, ALL, DepthImage(np.where(warped > 0, warped, np.nan), bent, 0))
    assert clue is not None and abs(clue.log_scale) * 2.5 < 0.03
