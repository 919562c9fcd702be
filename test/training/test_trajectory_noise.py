"""Noise on trajectories: Euler angles as scipy has them, and of the size that was asked for."""

import math

import pytest
import torch
from scipy.spatial.transform import Rotation

from moro_ros.training.trajectory_noise import euler_zxy, matrix_zxy, noise_at, shaken

PAPER = ((0.0, 0.0, 0.0), (0.3, 0.01, 1.0), (0.6, 0.03, 2.0))


def test_angles_are_those_of_scipy_and_come_back():
    rotation = Rotation.random(200, random_state=0)
    matrix = torch.from_numpy(rotation.as_matrix())
    angles = euler_zxy(matrix)
    assert angles.numpy() == pytest.approx(rotation.as_euler("ZXY"), abs=1e-9)
    assert torch.allclose(matrix_zxy(angles), matrix, atol=1e-12)


def test_the_schedule_rises_in_steps():
    found = [noise_at(PAPER, progress) for progress in (0.0, 0.29, 0.3, 0.59, 0.6, 1.0)]
    assert found == [(0, 0), (0, 0), (0.01, 1), (0.01, 1), (0.03, 2), (0.03, 2)]
    assert noise_at((), 0.5) == (0, 0)


def test_noise_has_the_size_that_was_asked_for():
    rotation, translation = torch.eye(3).expand(4, 500, 3, 3), torch.zeros(4, 500, 3)
    generator = torch.Generator().manual_seed(0)
    turned, moved = shaken(rotation, translation, 0.03, 2.0, generator)
    assert float(moved.std()) == pytest.approx(0.03, rel=0.05)
    assert float(euler_zxy(turned).std()) == pytest.approx(math.radians(2), rel=0.05)
    assert torch.allclose(turned @ turned.mT, rotation, atol=1e-6)
    same = shaken(rotation, translation, 0.0, 0.0, generator)
    assert same[0] is rotation and same[1] is translation
