"""A person before a camera, with everything that a data set may say of him."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from moro_ros.body.body_model import BodyModel
from moro_ros.geometry.rotation import matrix_to_rotvec, rotvec_to_matrix

FRAMES = 6
INTRINSICS = np.array([[900.0, 0, 310], [0, 910.0, 250], [0, 0, 1]])
WIDTH, HEIGHT = 640, 480


@dataclass(frozen=True, slots=True)
class Person:
    """Parameters of F frames in the camera, SMPL-X convention, and where the joints lie.

    betas: (10,); pose: (F, 66) rad; transl: (F, 3) m; joints: (F, 22, 3) m; pixels: (F, 22, 2).
    """

    betas: np.ndarray
    pose: np.ndarray
    transl: np.ndarray
    joints: np.ndarray
    pixels: np.ndarray
    rest: np.ndarray
    matrix: np.ndarray = field(default_factory=INTRINSICS.copy)
    width: int = WIDTH
    height: int = HEIGHT

    @staticmethod
    def rigid(rotvec: tuple[float, float, float], shift: tuple[float, float, float]) -> np.ndarray:
        """Return a transform (4, 4)."""
        matrix = np.eye(4)
        matrix[:3, :3] = rotvec_to_matrix(torch.tensor(rotvec, dtype=torch.float64)).numpy()
        matrix[:3, 3] = shift
        return matrix

    @staticmethod
    def write_image(path: Path, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
        """Write an image file of a given width and height."""
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", size).save(path)

    def fit(self, pose: np.ndarray, transl: np.ndarray, index: int) -> dict[str, np.ndarray]:
        """Return one frame's parameters as the sets with one pickle a frame have them."""
        return {
            "transl": transl[index : index + 1],
            "global_orient": pose[index : index + 1, :3],
            "body_pose": pose[index : index + 1, 3:],
            "betas": self.betas[None],
        }

    def moved(self, transform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return pose and transl of the same bodies in another frame, (4, 4) from the camera."""
        rotation = rotvec_to_matrix(torch.tensor(self.pose[:, :3]))
        turned = matrix_to_rotvec(torch.tensor(transform[:3, :3]) @ rotation).numpy()
        pelvis = (self.transl + self.rest[0]) @ transform[:3, :3].T + transform[:3, 3]
        return np.concatenate([turned, self.pose[:, 3:]], 1), pelvis - self.rest[0]


@pytest.fixture()
def person(open_body: BodyModel) -> Person:
    """Somebody who stands three metres away and moves all joints."""
    rng = np.random.default_rng(3)
    betas = rng.normal(size=10)
    pose = rng.normal(size=(1, 66)) * 0.2 + rng.normal(size=(FRAMES, 66)) * 0.05
    pose[:, :3] = (np.pi - 0.1, 0.05, 0.1)  # upright: the body's y is the camera's -y
    transl = np.array([0.1, 0.3, 3.0]) + np.arange(FRAMES)[:, None] * (0.02, 0, 0.01)
    rest = open_body.skeleton(torch.tensor(betas[None]).float()).joints[0, :22]
    chain = rotvec_to_matrix(torch.tensor(pose.reshape(FRAMES, 22, 3)).float())
    _, joints = open_body.forward_kinematics(chain, rest.expand(FRAMES, -1, -1))
    joints = joints.numpy() + (transl + rest[0].numpy())[:, None]
    pixels = joints[..., :2] / joints[..., 2:] * INTRINSICS[[0, 1], [0, 1]] + INTRINSICS[:2, 2]
    return Person(betas, pose, transl, joints, pixels, rest.numpy())
