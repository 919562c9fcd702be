"""Contact with the floor: standing soles off it, and bodies through it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from moro_ros.body.topology import CONTACT_JOINTS
from moro_ros.evaluation.floor_contact import Contact, contact_metrics, contact_of, slow_feet, soles
from moro_ros.recover.ground import GroundPlane

UP = np.array([0.0, 1.0, 0.0])
BOTH = np.array([True, True])


@pytest.fixture(scope="module")
def standing(open_body) -> tuple[np.ndarray, np.ndarray, GroundPlane]:
    """Vertices of a body at rest, y up, their parts, and the ground under its soles."""
    vertices = open_body.rest_vertices(torch.zeros(1, 10))[0].numpy()
    return vertices, open_body.vertex_parts(), GroundPlane(UP, -float(vertices[:, 1].min()))


def test_the_soles_are_the_lowest_points_of_either_foot(standing) -> None:
    vertices, parts, ground = standing
    np.testing.assert_allclose(soles(ground.heights(vertices), parts), 0.0, atol=0.005)
    lifted = vertices + np.where(np.isin(parts, CONTACT_JOINTS[2:])[:, None], 0.1 * UP, 0.0)
    np.testing.assert_allclose(soles(ground.heights(lifted), parts), [0.0, 0.1], atol=0.005)


@pytest.mark.parametrize("moved_m", [-0.05, -0.02, 0.0, 0.04])
def test_a_body_that_is_moved_has_its_soles_off_the_floor(moved_m, standing) -> None:
    vertices, parts, ground = standing
    found = contact_of(vertices + moved_m * UP, vertices, parts, ground, BOTH)
    assert found.soles_m == pytest.approx((moved_m, moved_m), abs=1e-6)
    assert found.through_m == pytest.approx(max(0.0, -moved_m), abs=1e-6)
    metrics = contact_metrics([found])
    assert metrics["sole_m"] == pytest.approx(abs(moved_m), abs=1e-6)
    assert metrics["through"] == float(moved_m < -0.03)


def test_a_foot_that_moves_or_is_in_the_air_does_not_stand(standing) -> None:
    vertices, parts, ground = standing
    one = np.array([True, False])
    assert len(contact_of(vertices, vertices, parts, ground, one).soles_m) == 1
    jumping = vertices + 0.1 * UP
    assert contact_of(vertices, jumping, parts, ground, BOTH).soles_m == ()
    # Who jumps may be too low by as much without touching the floor.
    assert contact_of(vertices, jumping, parts, ground, BOTH).through_m == pytest.approx(0.0)
    assert math.isnan(contact_metrics([Contact((), 0.0)])["sole_m"])


def test_a_true_body_below_the_floor_is_no_error(standing) -> None:
    """Feet of motion capture are; soles are compared with the true ones."""
    vertices, parts, ground = standing
    low = vertices - 0.02 * UP
    found = contact_of(low - 0.01 * UP, low, parts, ground, BOTH)
    assert found.through_m == pytest.approx(0.01, abs=1e-6)
    assert found.soles_m == pytest.approx((-0.01, -0.01), abs=1e-6)


def test_slow_feet() -> None:
    before, joints = np.zeros((22, 3)), np.zeros((22, 3))
    joints[CONTACT_JOINTS[1]] = [0.02, 0.0, 0.0]  # 0.6 m/s at 30 Hz
    assert slow_feet(joints, before, 1 / 30).tolist() == [False, True]
    assert slow_feet(joints, before, 1 / 5).tolist() == [True, True]
