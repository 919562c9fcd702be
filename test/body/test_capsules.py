"""Capsules hold the body that they were fitted to, in any shape and pose."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from moro_ros.body.body_model import BodyModel
from moro_ros.body.capsules import (
    Capsules,
    PartUncertainty,
    body_capsules,
    fit_capsule,
    fit_capsules,
    keep_clear,
)
from moro_ros.body.extent import surface_points
from moro_ros.body.size import scale_betas
from moro_ros.body.topology import JOINT_NAMES
from moro_ros.data.dice import SMALLEST, Dice, draw_shapes
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.network.estimate import betas_of

BODIES = 60
AT = {name: index for index, name in enumerate(JOINT_NAMES)}


def random_shapes(body: BodyModel, child: bool) -> torch.Tensor:
    """Betas (BODIES, 10) of random adults, or of the same as children of half the size up."""
    dice = Dice(5)
    betas, _ = draw_shapes(BODIES, 0.0, dice)
    scale = dice.uniform(BODIES, 1, low=SMALLEST, high=0.8) if child else torch.ones(BODIES, 1)
    return betas_of(torch.cat([betas, scale.log()], 1), scale_betas(body))


def random_poses() -> torch.Tensor:
    """Rotation vectors (BODIES, 22, 3): every joint bent at random, limbs through their range."""
    rng = np.random.default_rng(7)
    pose = rng.normal(0.0, 0.3, (BODIES, 22, 3))
    pose[:, [AT["left_knee"], AT["right_knee"]], 0] += rng.uniform(0.0, 2.0, (BODIES, 2))
    pose[:, [AT["left_hip"], AT["right_hip"]], 0] -= rng.uniform(0.0, 1.5, (BODIES, 2))
    pose[:, AT["left_elbow"], 1] -= rng.uniform(0.0, 2.0, BODIES)
    pose[:, AT["right_elbow"], 1] += rng.uniform(0.0, 2.0, BODIES)
    pose[:, AT["left_shoulder"], 2] -= rng.uniform(0.0, 1.3, BODIES)
    pose[:, AT["right_shoulder"], 2] += rng.uniform(0.0, 1.3, BODIES)
    return torch.from_numpy(pose).float()


def protrusions(body: BodyModel, child: bool) -> np.ndarray:
    """How far each vertex of random bodies lies outside of all capsules, (BODIES, V) m."""
    found = []
    for betas, pose in zip(random_shapes(body, child), random_poses(), strict=True):
        posed = body.skin(rotvec_to_matrix(pose)[None], betas[None])
        joints, rotations = posed.joints[0, :22].numpy(), posed.joint_rotations[0, :22].numpy()
        capsules = body_capsules(body, betas).posed(joints, rotations)
        found.append(capsules.distances(posed.vertices[0].numpy()).min(axis=1))
    return np.array(found)


@pytest.mark.parametrize("child", [False, True], ids=["adults", "children"])
def test_the_capsules_of_random_bodies_contain_the_mesh(open_body: BodyModel, child: bool) -> None:
    """docs/planners.md states these figures: run with -s to see them."""
    outside = protrusions(open_body, child)
    share, least = (outside <= 0.0).mean(), (outside <= 0.0).mean(axis=1).min()
    with_margin, depth = (outside <= 0.03).mean(), outside.max()
    print(
        f"\ninside {100 * share:.2f} %, worst body {100 * least:.2f} %, with a margin of 0.03 m "
        f"{100 * with_margin:.3f} %; largest protrusion {1e3 * depth:.0f} mm; a vertex lies "
        f"{-1e3 * np.median(outside):.0f} mm below the surface in the median"
    )
    assert share > 0.99 and least > 0.98
    assert with_margin > 0.9995 and depth < 0.05
    assert np.median(outside) > -0.05, "no larger than needed"


def test_a_child_has_smaller_capsules(open_body: BodyModel) -> None:
    adult = body_capsules(open_body, torch.zeros(10))
    child = body_capsules(open_body, -0.4 * scale_betas(open_body))
    assert (child.radii < 0.85 * adult.radii).all()
    lengths = [np.linalg.norm(c.ends - c.starts, axis=1).sum() for c in (adult, child)]
    assert lengths[1] == pytest.approx(0.6 * lengths[0], rel=0.15)


def test_capsules_do_not_depend_on_the_last_digits(open_body: BodyModel) -> None:
    """A foot's circle was up to 1.7 times as large by chance."""
    betas = -0.4 * scale_betas(open_body)
    vertices = open_body.rest_vertices(betas[None])[0].numpy().astype(float)
    joints = open_body.skeleton(betas[None]).joints[0, :22].numpy().astype(float)
    random, parts = np.random.default_rng(6), open_body.vertex_parts()
    noisy = (vertices + random.normal(0.0, 1e-8, vertices.shape) for _ in range(40))
    radii = np.array([fit_capsules(points, joints, parts).radii for points in noisy])
    np.testing.assert_allclose(radii.min(axis=0), radii.max(axis=0), rtol=1e-4)


def test_at_rest_every_vertex_is_inside(open_body: BodyModel) -> None:
    betas = random_shapes(open_body, False)[3]
    vertices = open_body.rest_vertices(betas[None])[0].numpy()
    joints = open_body.skeleton(betas[None]).joints[0, :22].numpy()
    rest = body_capsules(open_body, betas).posed(joints, np.tile(np.eye(3), (22, 1, 1)))
    own = rest.distances(vertices)[np.arange(len(vertices)), open_body.vertex_parts()]
    assert own.max() < 1e-5


def test_a_capsule_is_found_again() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(4000, 3))
    points *= 0.05 / np.linalg.norm(points, axis=1, keepdims=True)
    direction = np.array([0.6, 0.0, 0.8])
    points += np.sign(points @ direction)[:, None] * 0.2 * direction
    start, end, radius = fit_capsule(points)
    assert radius == pytest.approx(0.05, rel=0.05)
    assert np.linalg.norm(end - start) == pytest.approx(0.4, rel=0.05)
    assert abs((end - start) @ direction) == pytest.approx(0.4, rel=0.05)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_parts_of_few_vertices_have_capsules_too(count: int) -> None:
    points = np.random.default_rng(count).normal(size=(count, 3))
    capsules = fit_capsules(points, np.zeros((22, 3)), np.zeros(count, np.uint8))
    assert np.isfinite(capsules.starts).all() and (capsules.distances(points)[:, 0] < 1e-5).all()
    assert not capsules.radii[1:].any(), "parts without vertices are points"


def test_distances_are_those_of_a_capsule() -> None:
    capsules = Capsules(np.zeros((1, 3)), np.array([[0.0, 0.0, 2.0]]), np.array([0.5]))
    points = np.array([[1.0, 0.0, 1.0], [0.0, 0.0, 3.0], [0.0, 0.25, 0.5], [0.0, -1.0, -1.0]])
    expected = [[0.5], [0.5], [-0.25], [2.0**0.5 - 0.5]]
    np.testing.assert_allclose(capsules.distances(points), expected)


def test_capsules_move_with_the_frame() -> None:
    turn = rotvec_to_matrix(torch.tensor([0.3, -1.0, 0.4])).numpy().astype(float)
    capsules = Capsules(np.zeros((1, 3)), np.array([[0.0, 0.0, 2.0]]), np.array([0.5]))
    points = np.random.default_rng(1).normal(size=(5, 3))
    there = capsules.moved(turn, np.array([1.0, 2.0, 3.0]))
    moved = points @ turn.T + [1.0, 2.0, 3.0]
    np.testing.assert_allclose(there.distances(moved), capsules.distances(points), atol=1e-6)


def test_the_uncertainty_of_a_part_is_that_of_its_far_end(posed) -> None:
    motion = posed(np.zeros((22, 3)))
    wrist = motion.joints[-1, AT["left_wrist"]].astype(float)
    motion.covariance[0, AT["left_wrist"]] = np.diag([1e-4, 4e-4, 9e-4])
    motion.velocity[0, AT["left_wrist"]] = [0.0, 3.0, 4.0]
    uncertainty = PartUncertainty.of(motion, wrist - [0.0, 0.0, 2.0])
    concerned = {AT["left_wrist"], AT["left_elbow"]}
    for name, expected in (
        ("sigma_m", 0.03),
        ("along_m", 0.03),
        ("across_m", 0.02),
        ("speed", 5.0),
    ):
        for joint, value in enumerate(getattr(uncertainty, name)):
            assert value == pytest.approx(expected if joint in concerned else 0.0, abs=1e-6)


def clear_of(direction: list[float], along: float, across: float) -> tuple[Capsules, Capsules]:
    """A limb 3 m in front of the camera, 0.4 m long, and what to keep clear of (2 sigma, 1 cm)."""
    middle, half = (
        np.array([0.3, 0.0, 3.0]),
        0.2 * np.array([direction]) / np.linalg.norm(direction),
    )
    body = Capsules(middle - half, middle + half, np.array([0.06]))
    uncertainty = PartUncertainty(
        np.array([along]), np.array([along]), np.array([across]), np.array([0.5])
    )
    return body, keep_clear(body, uncertainty, np.zeros(3), 2.0, 0.1, 0.01)


@pytest.mark.parametrize("direction", [[0.0, 1.0, 0.0], [1.0, 0.4, 0.2], [0.1, 0.0, 1.0]])
@pytest.mark.parametrize("along", [0.0, 0.05, 0.3])
def test_what_to_keep_clear_of_holds_the_body_wherever_it_may_be(direction, along) -> None:
    body, clear = clear_of(direction, along, 0.02)
    sight = np.array([0.3, 0.0, 3.0]) / np.hypot(0.3, 3.0)
    random = np.random.default_rng(4)
    for away in (-2.0 * along, 0.0, 0.6 * along, 2.0 * along):
        aside = np.cross(random.normal(size=3), sight)
        place = away * sight + 0.04 * aside / np.linalg.norm(aside)
        points = surface_points(body, 0.01) + place
        assert clear.distances(points).max() < 0.0


def test_the_uncertainty_of_the_distance_lengthens_along_the_line_of_sight() -> None:
    _, clear = clear_of([0.0, 1.0, 0.0], 0.3, 0.02)
    (axis,) = clear.ends - clear.starts
    assert abs(axis @ [0.3, 0.0, 3.0]) / np.hypot(0.3, 3.0) == pytest.approx(np.linalg.norm(axis))
    # Half of the limb's length, its radius, sigma, motion and margin.
    assert clear.radii[0] == pytest.approx(0.2 + 0.06 + 0.04 + 0.05 + 0.01)


def test_equal_uncertainty_in_all_directions_widens_the_part_alone() -> None:
    body, clear = clear_of([0.0, 1.0, 0.0], 0.03, 0.03)
    np.testing.assert_allclose(clear.starts, body.starts)
    np.testing.assert_allclose(clear.ends, body.ends)
    assert clear.radii[0] == pytest.approx(0.06 + 0.06 + 0.05 + 0.01)
