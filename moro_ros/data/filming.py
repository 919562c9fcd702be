"""Simulated views for training: random static cameras and a keypoint detector's report.

Wider than the benchmark's (synthesis.py, which is kept fixed for comparable figures): from arm's
length to across a hall, from the floor to the ceiling, children and adults, with and without a
known floor. Everything is drawn on tensors, for single frames and clips. World: z up, metres;
camera: x right, y down, z forward; 2D positions on the normalised image plane.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from moro_ros.body.body_model import BodyModel
from moro_ros.data.detection import Detector
from moro_ros.data.dice import Dice
from moro_ros.data.synthesis import CameraMotion, ObservedMotion, on_plane, pose_keypoints
from moro_ros.data.variation import HIPS, KNEES
from moro_ros.network.inputs import PersonBoxes, enclosing_box, floor_row, observe, running_boxes

NEAREST_M, FARTHEST_M = 0.4, 10.0
LOWEST_M, HIGHEST_M = 0.2, 3.5
# A camera this close is not much higher than the person; farther ones may be. Some are under the
# ceiling and look down steeply.
STEEPEST = 1.2
CEILING_SHARE, CEILING_M, CEILING_FARTHEST_M = 0.08, 2.3, 2.5
FIELD_OF_VIEW = (30.0, 90.0)  # degrees, vertical
ASPECTS = (16 / 9, 4 / 3, 9 / 16)
# Roll: most cameras are nearly level, some are tilted.
ROLL, LARGE_ROLL, LARGE_ROLL_SHARE = 0.05, 0.26, 0.35
# Accuracy of a calibrated floor.
FLOOR_TILT, FLOOR_HEIGHT = 0.026, 0.03
# People whose thighs are farther from the vertical sit; this share of them sits at a table.
SITTING_DEG, AT_TABLE = 50.0, 0.5
# A live box is a running one, so boxes of single frames are slightly off.
BOX_SIZE, BOX_CENTER = 0.08, 0.04
# Points farther out than this many half images are not used for a person's size.
FAR_OUT = 2.5


def place_around(rotations: Tensor, translation: Tensor, betas: Tensor, dice: Dice) -> CameraMotion:
    """View each clip with a random static camera.

    rotations: (B, F, 22, 3, 3) local ones, the first global; translation: (B, F, 3) m, the pelvis
    over the floor z = 0; betas: (B, 10).
    """
    batch = len(translation)
    pelvis = translation.mean(1)
    distance, height = camera_places(batch, dice)
    azimuth = dice.uniform(batch, high=2 * math.pi)
    beside = torch.stack([distance * azimuth.cos(), distance * azimuth.sin()], -1)
    position = torch.cat([pelvis[:, :2] + beside, height[:, None]], -1)
    aside = 0.1 * distance[:, None] * dice.normal(batch, 2)
    above = dice.uniform(batch, low=-0.35, high=0.5) * (0.4 + pelvis[:, 2]).clamp(max=1.4)
    aim = torch.cat([aside, above[:, None]], -1)
    forward = normalize(pelvis + aim - position, dim=-1)
    vertical = torch.zeros_like(forward)
    vertical[:, 2] = 1.0
    right = normalize(torch.linalg.cross(forward, vertical), dim=-1)
    down = torch.linalg.cross(forward, right)
    leaning = dice.chance(batch, 1, share=LARGE_ROLL_SHARE)
    roll = dice.normal(batch, 1) * torch.where(leaning, LARGE_ROLL, ROLL)
    right, down = roll.cos() * right + roll.sin() * down, roll.cos() * down - roll.sin() * right
    from_world = torch.stack([right, down, forward], 1)  # (B, 3, 3)
    low, high = FIELD_OF_VIEW
    half_height = (dice.uniform(batch, low=low, high=high) * (math.pi / 360)).tan()
    aspect = torch.tensor(ASPECTS, device=dice.device)[dice.integers(batch, below=len(ASPECTS))]
    return CameraMotion(
        rotation=from_world[:, None] @ rotations[:, :, 0],
        translation=(from_world[:, None] @ (translation - position[:, None])[..., None])[..., 0],
        body_rotations=rotations[:, :, 1:],
        betas=betas,
        half_image=torch.stack([half_height * aspect, half_height], -1),
        up=from_world[..., 2],
        height=height,
    )


def camera_places(batch: int, dice: Dice) -> tuple[Tensor, Tensor]:
    """Draw the cameras' distances from the person along the floor and heights above it, (B,) m."""
    distance = dice.uniform(batch, low=math.log(NEAREST_M), high=math.log(FARTHEST_M)).exp()
    top = (1.2 + STEEPEST * distance).clamp(max=HIGHEST_M)
    height = LOWEST_M + (top - LOWEST_M) * dice.uniform(batch)
    ceiling = dice.chance(batch, share=CEILING_SHARE)
    beside = dice.uniform(batch, low=0.05, high=CEILING_FARTHEST_M)
    above = dice.uniform(batch, low=CEILING_M, high=HIGHEST_M)
    return torch.where(ceiling, beside, distance), torch.where(ceiling, above, height)


def film(
    truth: CameraMotion,
    body: BodyModel,
    detector: Detector,
    dice: Dice,
    *,
    floor: Tensor | None = None,
) -> ObservedMotion:
    """Project clips and add the detector's errors, blind spots and occluders.

    floor: (B,) bool, the clips with a known floor. The floor's row is then appended to each
    observation, zeros where it is unknown; None for observations without that row.
    """
    joints, keypoints = pose_keypoints(truth, body)
    batch, frames, count = keypoints.shape[:3]
    detected = keypoints + dice.normal(batch, 1, count, 3) * detector.noise.definition_m
    points, in_front = on_plane(detected)
    far = FAR_OUT * truth.half_image[:, None, None]
    extent, _ = enclosing_box(points.clamp(-far, far), in_front)
    share = AT_TABLE if detector.noise.occlusion else 0.0
    at_table = sitting(joints, truth.up) & dice.chance(batch, share=share)
    found = detector.detect(points, in_front, extent, truth.half_image, dice, at_table)
    boxes = running_boxes(found.points, found.seen)
    if frames == 1:
        size = boxes.size * (BOX_SIZE * dice.normal(batch, 1)).exp()
        shift = BOX_CENTER * dice.normal(batch, 1, 2) * size[..., None]
        boxes = PersonBoxes(boxes.center + shift, size)
    observation = observe(found.points, found.visibility, found.presence, boxes)
    if floor is not None:
        row = calibrated_floor(truth, dice) * floor[:, None]
        observation = torch.cat([observation, row[:, None, None].expand(-1, frames, -1, -1)], 2)
    return ObservedMotion(observation, boxes, found.seen, truth, joints, keypoints)


def sitting(joints: Tensor, up: Tensor) -> Tensor:
    """Return which clips (B,) show a sitting or lying person in their middle frame.

    joints: (B, F, 22, 3) m; up: (B, 3), the vertical in the frame of the joints.
    """
    middle = joints[:, joints.shape[1] // 2]
    thighs = normalize(middle[:, list(KNEES)] - middle[:, list(HIPS)], dim=-1)  # (B, 2, 3)
    upright = -(thighs * up[:, None]).sum(-1)
    return (upright < math.cos(math.radians(SITTING_DEG))).all(-1)


def calibrated_floor(truth: CameraMotion, dice: Dice) -> Tensor:
    """Return the floor's rows (B, 4) with the errors of a calibration; see floor_row."""
    batch = len(truth.height)
    up = normalize(truth.up + FLOOR_TILT * dice.normal(batch, 3), dim=-1)
    height = truth.height * (1.0 + FLOOR_HEIGHT * dice.normal(batch)).clamp_min(0.5)
    return floor_row(up, height)
