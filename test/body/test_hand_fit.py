"""A hand turns to where its knuckles are seen, and says so if it cannot."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from moro_ros.body.hand_pose import fit_hand

# Pinky, index and thumb of a left hand, from its wrist.
KNUCKLES = np.array([[0.09, -0.005, -0.039], [0.107, -0.005, 0.027], [0.051, -0.025, 0.045]])
WRIST = np.array([0.3, -0.2, 1.8])


def seen(turn: np.ndarray, wrist: np.ndarray = WRIST) -> np.ndarray:
    points = wrist + KNUCKLES @ turn.T
    return points[:, :2] / points[:, 2:]


def angle(a: np.ndarray, b: np.ndarray) -> float:
    return float(Rotation.from_matrix(a.T @ b).magnitude())


@pytest.mark.parametrize("seed", range(8))
def test_a_hand_that_is_off_by_30_degrees_is_turned_back(seed: int) -> None:
    rng = np.random.default_rng(seed)
    true = Rotation.random(random_state=seed).as_matrix()
    axis = rng.normal(size=3)
    off = Rotation.from_rotvec(0.5 * axis / np.linalg.norm(axis)).as_matrix() @ true
    found = fit_hand(KNUCKLES, WRIST, off, seen(true))
    assert found is not None
    assert angle(found, true) < 0.5 * angle(off, true)
    np.testing.assert_allclose(seen(found), seen(true), atol=0.01)


def test_a_hand_in_its_place_stays_there() -> None:
    turn = Rotation.random(random_state=3).as_matrix()
    found = fit_hand(KNUCKLES, WRIST, turn, seen(turn))
    assert found is not None and angle(found, turn) < 1e-6


def test_knuckles_that_no_hand_has_are_refused() -> None:
    turn = np.eye(3)
    assert fit_hand(KNUCKLES, WRIST, turn, seen(turn) + np.array([0.1, 0.0])) is None


def test_a_wrist_behind_the_camera_is_refused() -> None:
    turn = np.eye(3)
    assert fit_hand(KNUCKLES, WRIST * [1, 1, -1], turn, seen(turn)) is None
