"""Batches of open motion, bare or filmed by random cameras (data/filming.py)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from moro_ros.body.body_model import BodyModel
from moro_ros.body.size import scale_betas
from moro_ros.body.topology import CONTACT_JOINTS, MIRRORED_JOINTS, NUM_JOINTS
from moro_ros.data.detection import Detector
from moro_ros.data.dice import Dice, draw_shapes
from moro_ros.data.filming import film, place_around
from moro_ros.data.mocap import CATEGORY_WEIGHT, UPPER_BODY, MotionSet, MotionWindows
from moro_ros.data.pool import WindowPool
from moro_ros.data.poses import LIMB_GROUPS
from moro_ros.data.synthesis import ObservedMotion, leg_ratio
from moro_ros.data.variation import bend, exchange_limbs, lean, rest, settle
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.network.estimate import betas_of
from moro_ros.training.clips import DATA, Draw, TrainingClips, View
from moro_ros.training.distributed import CPU
from moro_ros.training.stage import Stage

CONTACT_SPEED = 0.3  # m/s; a slower joint touches the ground, as published
# Share of single frames in which an upper body is combined with another lower one.
UPPER_SHARE = 0.2
UPPER = torch.tensor(UPPER_BODY)
FLOOR_SHARE = 0.5  # of the clips have a known floor, if the network uses it
MIN_SEEN = 4
# Number of rotation vectors converted to matrices at once.
CHUNK = 8192


class Studio:
    """Simulates views of bodies: sizes, random cameras, a detector's errors; on one device.

    stage: has the detector's noise and the shares of people of other sizes; floor: observations
    contain the floor, see filming.film.

    Without a floor, a child looks like an adult farther away, so children in such clips would make
    the network place every adult too near. Most children are in clips with a known floor.
    """

    def __init__(self, body: BodyModel, stage: Stage, floor: bool, device: torch.device) -> None:
        self.body, self.stage, self.floor = body.to(device), stage, floor
        self.detector = Detector(stage.observation)
        self.scale_betas = scale_betas(body).to(device)

    def film(
        self, rotations: Tensor, translation: Tensor, dice: Dice, betas: Tensor | None = None
    ) -> tuple[ObservedMotion, Tensor]:
        """Film clips; return them and the betas (B, 10) without the size of the bodies.

        rotations: (B, F, 22, 3, 3); translation: (B, F, 3) m of the body model's own size; betas:
        (B, 10), random if None.
        """
        count = len(rotations)
        given = dice.chance(count, 1, share=FLOOR_SHARE if self.floor else 0.0)
        sized = torch.where(given, self.stage.sized, self.stage.sized_without_floor)
        drawn, scale = draw_shapes(count, sized, dice)
        betas = drawn if betas is None else betas
        shape = betas_of(torch.cat([betas, scale], -1), self.scale_betas)
        placed = translation * leg_ratio(self.body, shape)[:, None, None]
        truth = place_around(rotations, placed, shape, dice)
        floor = given[:, 0] if self.floor else None
        return film(truth, self.body, self.detector, dice, floor=floor), betas


class OpenSource:
    """Clips of a pool of windows, whose bodies' sizes are drawn for every batch.

    fps: of the windows, Hz.
    """

    def __init__(
        self,
        pool: WindowPool,
        body: BodyModel,
        stage: Stage,
        *,
        floor: bool = False,
        device: torch.device = CPU,
        fps: float = 30.0,
    ) -> None:
        self.pool, self.stage, self.fps = pool.to(device), stage, fps
        self.studio = Studio(body, stage, floor, device)
        self.device = device

    def batches(self, draws: Iterator[Draw]) -> Iterator[TrainingClips]:
        """Yield one batch for each draw, on the source's device."""
        for draw in draws:
            yield self.batch(draw.clips, draw.frames, draw.rng(DATA))

    @torch.no_grad()
    def batch(self, clips: int, frames: int, rng: np.random.Generator) -> TrainingClips:
        """Draw clips, and simulate their views if required."""
        windows, betas, ids = self.pool.draw(clips, frames, rng)
        if self.stage.task == "motion":
            return bare_clips(windows, betas, ids, self.studio.body, self.fps)
        dice = Dice(int(rng.integers(2**62)), self.device)
        rotations = rotvec_to_matrix(windows.rotations)
        observed, _ = self.studio.film(rotations, windows.translation, dice, betas)
        return filmed_clips(observed, ids, self.fps, betas)


class FrameSource:
    """Single frames of open motion: every batch has new poses, people and cameras.

    stage: with the shares of postures that were not recorded.
    """

    def __init__(
        self,
        motion: MotionSet,
        body: BodyModel,
        stage: Stage,
        *,
        floor: bool = False,
        device: torch.device = CPU,
    ) -> None:
        self.stage, self.device = stage, device
        self.studio = Studio(body, stage, floor, device)
        rows, weight = [], []
        clips = zip(motion.starts, motion.lengths, motion.categories, strict=True)
        for start, length, category in clips:
            rows.append(np.arange(start, start + length))
            weight.append(np.full(length, CATEGORY_WEIGHT.get(str(category), 1.0)))
        chosen, share = np.concatenate(rows), np.concatenate(weight)
        self.cumulative = torch.from_numpy(np.cumsum(share / share.sum())).to(device)
        vectors = torch.from_numpy(motion.rotations[chosen]).to(device)
        self.rotations = torch.cat([rotvec_to_matrix(part) for part in vectors.split(CHUNK)])
        self.height = torch.from_numpy(motion.translation[chosen][:, 2]).to(device)

    def batches(self, draws: Iterator[Draw]) -> Iterator[TrainingClips]:
        """Yield one batch for each draw, on the source's device."""
        for draw in draws:
            yield self.batch(draw.clips, draw.rng(DATA))

    def rows(self, dice: Dice, *shape: int) -> Tensor:
        """Draw numbers of frames by the weight of their category."""
        found = torch.searchsorted(self.cumulative, dice.uniform(*shape).double())
        return found.clamp_max(len(self.rotations) - 1)

    def poses(self, count: int, dice: Dice) -> tuple[Tensor, Tensor]:
        """Draw rotations (count, 1, 22, 3, 3) and the pelvis (count, 1, 3) m above the floor."""
        rows = self.rows(dice, count)
        before = mirrored(self.rotations[rows], dice.chance(count, share=0.5))[:, None]
        after = before.clone()
        upper = dice.chance(count, share=UPPER_SHARE).nonzero()
        joints = UPPER.to(self.device)
        after[upper, :, joints] = self.rotations[self.rows(dice, *upper.shape), joints][:, :, None]
        varied = dice.chance(count, share=self.stage.varied).nonzero()[:, 0]
        partners = self.rotations[self.rows(dice, len(varied), len(LIMB_GROUPS)), None]
        mixed = exchange_limbs(after[varied], partners, dice)
        after[varied] = lean(bend(mixed, dice), dice)
        translation = torch.zeros(count, 1, 3, device=self.device)
        seated = dice.chance(count, share=self.stage.seated).nonzero()[:, 0]
        after[seated], translation[seated] = rest(after[seated], dice)
        translation[..., 2] += self.height[rows][:, None]
        return after, translation + settle(before, after, self.studio.body)

    @torch.no_grad()
    def batch(self, count: int, rng: np.random.Generator) -> TrainingClips:
        """Draw single frames, each visible enough for detection."""
        dice = Dice(int(rng.integers(2**62)), self.device)
        rotations, translation = self.poses(count, dice)
        observed, betas = self.studio.film(rotations, translation, dice)
        clips = filmed_clips(observed, None, 30.0, betas)
        found = (observed.seen.sum(-1) >= MIN_SEEN).all(-1).nonzero()[:, 0]
        # The requested number, with some repeated.
        return clips.rows(found[torch.arange(count, device=self.device) % len(found)])


def mirrored(rotations: Tensor, chosen: Tensor) -> Tensor:
    """Swap left and right of the chosen bodies: (B, 22, 3, 3), (B,) bool."""
    order = torch.tensor(MIRRORED_JOINTS, device=rotations.device)
    sign = torch.tensor([-1.0, 1.0, 1.0], device=rotations.device)
    flipped = rotations.index_select(1, order) * torch.outer(sign, sign)
    return torch.where(chosen[:, None, None, None], flipped, rotations)


def filmed_clips(
    observed: ObservedMotion, ids: Tensor | None, fps: float, mesh_betas: Tensor | None = None
) -> TrainingClips:
    """Return synthetic observations as training clips.

    ids: (B, F, T) tokens; mesh_betas: (B, 10), of the tokens' mesh.
    """
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
        mesh_betas=mesh_betas,
    )


def bare_clips(
    windows: MotionWindows, betas: Tensor, ids: Tensor | None, body: BodyModel, fps: float
) -> TrainingClips:
    """Return motion alone as training clips, in the motion's own z-up world."""
    rotations = rotvec_to_matrix(windows.rotations)
    translation = windows.translation * leg_ratio(body, betas)[:, None, None]
    rest_joints = body.skeleton(betas).joints[:, None, :NUM_JOINTS]
    joints = body.forward_kinematics(rotations, rest_joints)[1] + translation[:, :, None]
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

    The joints are in a frame at rest.
    """
    feet = joints[:, :, list(CONTACT_JOINTS)]
    return ((feet[:, 1:] - feet[:, :-1]).norm(dim=-1) * fps < CONTACT_SPEED).float()
