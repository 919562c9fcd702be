"""Static cameras for open motion: simulated keypoint detections of a mocap clip.

World: z up, metres. Camera: x right, y down, z forward. 2D positions are on the normalised image
plane (see network/inputs.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from moro_ros.body.body_model import BodyModel
from moro_ros.data.mocap import MotionWindows
from moro_ros.data.occlusion import ObservationNoise, add_noise, hide_keypoints
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.network.inputs import PersonBoxes, enclosing_box, observe, running_boxes

MIN_DEPTH = 0.25  # m; nearer points are not seen


@dataclass(frozen=True, slots=True)
class CameraRange:
    """Positions of cameras, m: distance from the person, height, height of the aim."""

    distance: tuple[float, float] = (1.4, 8.0)
    height: tuple[float, float] = (0.3, 2.6)
    aim: tuple[float, float] = (0.6, 1.2)


@dataclass(frozen=True, slots=True)
class CameraMotion:
    """Ground truth in the camera optical frame.

    rotation: (B, F, 3, 3) global orientation; translation: (B, F, 3) pelvis [m];
    body_rotations: (B, F, 21, 3, 3) local; betas: (B, 10); half_image: (B, 2) half the image's
    width and height on the normalised plane; up: (B, 3) the world's vertical in the camera; height:
    (B,) m, of the camera above the floor.
    """

    rotation: Tensor
    translation: Tensor
    body_rotations: Tensor
    betas: Tensor
    half_image: Tensor
    up: Tensor
    height: Tensor

    def resized(self, size: Tensor) -> CameraMotion:
        """Return the same with person and world `size` times as large, (B,)."""
        return replace(
            self, translation=self.translation * size[:, None, None], height=self.height * size
        )


@dataclass(frozen=True, slots=True)
class ObservedMotion:
    """The network's input, and the truth for comparison.

    observation: (B, F, K, 4); boxes: (B, F); seen: (B, F, K) bool, counted as visible;
    truth: the motion; joints: (B, F, 22, 3) m camera frame; keypoints: (B, F, K, 3) m.
    """

    observation: Tensor
    boxes: PersonBoxes
    seen: Tensor
    truth: CameraMotion
    joints: Tensor
    keypoints: Tensor


def place_cameras(
    windows: MotionWindows,
    betas: Tensor,
    body: BodyModel,
    rng: np.random.Generator,
    where: CameraRange = CameraRange(),
) -> CameraMotion:
    """View each window with a random static camera.

    where: by default a distance of 1.4 to 8 m and a height of 0.3 to 2.6 m. Vertical field of view
    30 to 80 degrees, landscape or portrait, roll about 2 degrees; the aim is near the person, not
    on it.
    """
    batch = windows.translation.shape[0]

    def uniform(low: float, high: float) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, batch)).float()

    def normal(*shape: int) -> Tensor:
        return torch.from_numpy(rng.normal(size=shape)).float()

    translation = windows.translation * leg_ratio(body, betas)[:, None, None]
    ground = translation.mean(1) * torch.tensor([1.0, 1.0, 0.0])
    nearest, farthest = where.distance
    distance = uniform(math.log(nearest), math.log(farthest)).exp()
    azimuth = uniform(0.0, 2 * math.pi)
    position = ground.clone()
    position[:, 0] += distance * azimuth.cos()
    position[:, 1] += distance * azimuth.sin()
    position[:, 2] = uniform(*where.height)
    target = ground.clone()
    target[:, 2] = uniform(*where.aim)
    target[:, :2] += normal(batch, 2) * 0.08 * distance[:, None]
    forward = normalize(target - position, dim=-1)
    vertical = torch.tensor([0.0, 0.0, 1.0]).expand(batch, 3)
    right = normalize(torch.linalg.cross(forward, vertical), dim=-1)
    down = torch.linalg.cross(forward, right)
    roll = normal(batch, 1) * 0.035
    right, down = (
        roll.cos() * right + roll.sin() * down,
        -roll.sin() * right + roll.cos() * down,
    )
    camera_from_world = torch.stack([right, down, forward], 1)  # (B, 3, 3)
    rotations = rotvec_to_matrix(windows.rotations)
    rotation = camera_from_world[:, None] @ rotations[:, :, 0]
    moved = (camera_from_world[:, None] @ (translation - position[:, None])[..., None])[..., 0]
    half_height = (uniform(30.0, 80.0) * (math.pi / 360)).tan()
    aspect = torch.from_numpy(rng.choice([16 / 9, 4 / 3, 9 / 16], size=batch)).float()
    half_image = torch.stack([half_height * aspect, half_height], -1)
    return CameraMotion(
        rotation,
        moved,
        rotations[:, :, 1:],
        betas,
        half_image,
        camera_from_world[..., 2],
        position[:, 2],
    )


def leg_ratio(body: BodyModel, betas: Tensor) -> Tensor:
    """Return the length of each body's legs relative to the template's, (B,)."""

    def leg(joints: Tensor) -> Tensor:
        bones = joints[:, [1, 4]] - joints[:, [4, 7]]
        return bones.norm(dim=-1).sum(-1)

    return leg(body.skeleton(betas).joints) / leg(body.skeleton(torch.zeros(1, 10)).joints)


def pose_keypoints(truth: CameraMotion, body: BodyModel) -> tuple[Tensor, Tensor]:
    """Return joints (B, F, 22, 3) and keypoints (B, F, K, 3) [m] in the camera frame."""
    skeleton = body.skeleton(truth.betas)
    rotations = torch.cat([truth.rotation[:, :, None], truth.body_rotations], 2)
    chain, positions = body.forward_kinematics(rotations, skeleton.joints[:, None, :22])
    keypoints = body.keypoints(chain, positions, skeleton.keypoint_offsets[:, None])
    shift = truth.translation[:, :, None]
    return positions + shift, keypoints + shift


def on_plane(points: Tensor) -> tuple[Tensor, Tensor]:
    """Project points (..., 3) m; returns (..., 2) on the normalised plane and which are seen."""
    return points[..., :2] / points[..., 2:].clamp_min(MIN_DEPTH), points[..., 2] > MIN_DEPTH


def detector_offsets(
    batch: int, count: int, noise: ObservationNoise, rng: np.random.Generator
) -> Tensor:
    """Draw the offsets between the detector's idea of `count` points and ours, (B, 1, K, 3) m."""
    return torch.from_numpy(rng.normal(size=(batch, 1, count, 3))).float() * noise.definition_m


def look(
    truth: CameraMotion,
    body: BodyModel,
    noise: ObservationNoise,
    rng: np.random.Generator,
    covered: Tensor | None = None,
    offsets: Tensor | None = None,
) -> ObservedMotion:
    """Project a motion and add a detector's noise, blind spots and occluders.

    covered: (K,) bool, keypoints that are always occluded. offsets: (B, 1, K, 3) m, camera frame,
    where the detector marks keypoints relative to the body's; None: random (ObservationNoise).
    """
    joints, keypoints = pose_keypoints(truth, body)
    if offsets is None:
        offsets = detector_offsets(len(keypoints), keypoints.shape[2], noise, rng)
    detected = keypoints + offsets
    points, in_front = on_plane(detected)
    extent, _ = enclosing_box(points, torch.ones_like(in_front))
    noisy = add_noise(points, extent.size, noise, rng)
    inside = (noisy.abs() < truth.half_image[:, None, None]).all(-1) & in_front
    hidden = hide_keypoints(points, extent, noise, rng)
    if covered is not None:
        hidden = hidden | covered
    visible = inside & ~hidden
    noisy, visible, visibility, presence = noise.scores(noisy, extent.size, visible, inside, rng)
    boxes = running_boxes(noisy, visible)
    observation = observe(noisy, visibility, presence, boxes)
    return ObservedMotion(observation, boxes, visible, truth, joints, keypoints)
