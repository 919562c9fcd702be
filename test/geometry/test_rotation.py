"""Rotations: every representation says the same as SciPy, also near zero and half a turn."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.spatial.transform import Rotation

from moro_ros.geometry import rotation

ANGLES = (0.0, 1e-9, 1e-4, 9.9e-4, 1.1e-3, 0.5, 3.0, math.pi - 1e-4)


def rotvecs(angle: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    axis = torch.randn(200, 3, generator=generator, dtype=torch.float64)
    return angle * axis / axis.norm(dim=-1, keepdim=True)


@pytest.mark.parametrize("angle", ANGLES)
def test_rotvec_to_matrix_and_back(angle):
    vectors = rotvecs(angle)
    matrices = rotation.rotvec_to_matrix(vectors)
    expected = torch.from_numpy(Rotation.from_rotvec(vectors.numpy()).as_matrix())
    torch.testing.assert_close(matrices, expected, rtol=0, atol=1e-13)
    torch.testing.assert_close(rotation.matrix_to_rotvec(matrices), vectors, rtol=0, atol=1e-11)


def test_half_turns_keep_their_axis_up_to_sign():
    matrices = rotation.rotvec_to_matrix(rotvecs(math.pi))
    back = rotation.rotvec_to_matrix(rotation.matrix_to_rotvec(matrices))
    torch.testing.assert_close(back, matrices, rtol=0, atol=1e-12)


@pytest.mark.parametrize("angle", ANGLES)
def test_quaternion_order_and_sign(angle):
    matrices = rotation.rotvec_to_matrix(rotvecs(angle))
    quaternion = rotation.matrix_to_quaternion(matrices)
    assert (quaternion[:, 3] >= 0).all()
    expected = torch.from_numpy(Rotation.from_matrix(matrices.numpy()).as_quat())
    expected = torch.where(expected[:, 3:] < 0, -expected, expected)
    torch.testing.assert_close(quaternion, expected, rtol=0, atol=1e-12)


def test_6d_is_the_first_two_rows():
    matrix = rotation.rotvec_to_matrix(rotvecs(1.0))
    six = rotation.matrix_to_rotation_6d(matrix)
    torch.testing.assert_close(six[:, :3], matrix[:, 0])
    torch.testing.assert_close(six[:, 3:], matrix[:, 1])
    torch.testing.assert_close(rotation.rotation_6d_to_matrix(six), matrix)


def test_any_6_numbers_give_a_rotation():
    matrix = rotation.rotation_6d_to_matrix(torch.randn(500, 6, dtype=torch.float64))
    eye = torch.eye(3, dtype=torch.float64).expand_as(matrix)
    torch.testing.assert_close(matrix @ matrix.mT, eye, rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(500, dtype=torch.float64))


@pytest.mark.parametrize("angle", ANGLES)
def test_gradients_are_those_of_finite_differences(angle):
    vectors = rotvecs(angle)[:3].requires_grad_()
    assert torch.autograd.gradcheck(rotation.rotvec_to_matrix, vectors, atol=1e-5)

    def there_and_back(x: torch.Tensor) -> torch.Tensor:
        return rotation.matrix_to_rotvec(rotation.rotvec_to_matrix(x))

    assert torch.autograd.gradcheck(there_and_back, vectors, atol=1e-5)


def test_full_precision_inside_autocast():
    vectors = rotvecs(1.0).float()
    with torch.autocast("cpu", torch.bfloat16):
        matrix = rotation.rotvec_to_matrix(vectors)
        six = rotation.rotation_6d_to_matrix(rotation.matrix_to_rotation_6d(matrix).bfloat16())
    torch.testing.assert_close(matrix, rotation.rotvec_to_matrix(vectors))
    assert six.dtype is torch.float32
    torch.testing.assert_close(six @ six.mT, torch.eye(3).expand_as(six), rtol=0, atol=1e-5)
