"""Batches of open motion, bare or filmed by random cameras (data/synthesis.py)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from moro_ros.body.body_model import BodyModel
from moro_ros.body.topology import CONTACT_JOINTS, NUM_JOINTS
from moro_ros.data.mocap import MotionWindows
from moro_ros.data.occlusion import ObservationNoise
from moro_ros.data.pool import WindowPool
from moro_ros.data.synthesis import ObservedMotion, leg_ratio, look, place_cameras
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.training.clips import TrainingClips, View
from moro_ros.training.draw import DATA, Draw

CONTACT_SPEED = 0.3  # m/s, spec 7.4


class OpenSource:
    """Clips of a pool of windows.

    filmed: with a camera and its observations; otherwise motion alone. fps: of the windows, Hz.
    """

    def __init__(
        self,
        pool: WindowPool,
        body: BodyModel,
        noise: ObservationNoise,
        *,
        filmed: bool,
        fps: float = 30.0,
    ) -> None:
        self.pool, self.body, self.noise = pool, body, noise
        self.filmed, self.fps = filmed, fps

    def batches(self, draws: Iterator[Draw]) -> Iterator[TrainingClips]:
        """Yield one batch for each draw, on the CPU."""
        for draw in draws:
            yield self.batch(draw.clips, draw.frames, draw.rng(DATA))

    @torch.no_grad()
    def batch(self, clips: int, frames: int, rng: np.random.Generator) -> TrainingClips:
        """Draw clips, and film them if that is wanted."""
        windows, betas, ids = self.pool.draw(clips, frames, rng)
        if self.filmed:
            truth = place_cameras(windows, betas, self.body, rng)
            return filmed_clips(look(truth, self.body, self.noise, rng), ids, self.fps)
        return bare_clips(windows, betas, ids, self.body, self.fps)


def filmed_clips(observed: ObservedMotion, ids: Tensor | None, fps: float) -> TrainingClips:
    """Return synthetic observations as training clips; ids: (B, F, T) tokens."""
    truth, boxes = observed.truth, observed.boxes
    batch = truth.translation.shape[0]
    view = View(
        observation=observed.observation,
        box=boxes.condition(),
        matrix=torch.eye(3).expand(batch, 3, 3),
        box_center=boxes.center,
        box_side=boxes.size,
        placed=torch.ones(batch, dtype=torch.bool),
        keypoints=observed.keypoints,
    )
    return TrainingClips(
        rotation=truth.rotation,
        translation=truth.translation,
        body_rotations=truth.body_rotations,
        betas=truth.betas,
        joints=observed.joints,
        contact=contact_labels(observed.joints, fps),
        ids=ids,
        view=view,
    )


def bare_clips(
    windows: MotionWindows, betas: Tensor, ids: Tensor | None, body: BodyModel, fps: float
) -> TrainingClips:
    """Return motion alone as training clips, in the motion's own z-up world."""
    rotations = rotvec_to_matrix(windows.rotations)
    translation = windows.translation * leg_ratio(body, betas)[:, None, None]
    rest = body.skeleton(betas).joints[:, None, :NUM_JOINTS]
    joints = body.forward_kinematics(rotations, rest)[1] + translation[:, :, None]
    return TrainingClips(
        rotation=rotations[:, :, 0],
        translation=translation,
        body_rotations=rotations[:, :, 1:],
        betas=betas,
        joints=joints,
        contact=contact_labels(joints, fps),
        ids=ids,
    )


def contact_labels(joints: Tensor, fps: float) -> Tensor:
    """Return ground contact (B, F - 1, 4): joints (B, F, 22, 3) m slower than 0.3 m/s.

    The joints are seen from a place at rest.
    """
    feet = joints[:, :, list(CONTACT_JOINTS)]
    return ((feet[:, 1:] - feet[:, :-1]).norm(dim=-1) * fps < CONTACT_SPEED).float()
