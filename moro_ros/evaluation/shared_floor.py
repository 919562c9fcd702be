"""Distance of people of different sizes on one floor, which is learned from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from moro_ros.body.body_model import BodyModel
from moro_ros.body.topology import NUM_JOINTS
from moro_ros.data.mocap import MotionSet, MotionWindows
from moro_ros.data.synthesis import CameraMotion, CameraRange, ObservedMotion, look, place_cameras
from moro_ros.errors import DataError
from moro_ros.evaluation.live_benchmark import images_of
from moro_ros.evaluation.open_benchmark import RATE_HZ
from moro_ros.evaluation.open_worlds import (
    CHILDREN,
    NOISE,
    are_on_floor,
    resized,
    windows_where,
)
from moro_ros.evaluation.place_benchmark import Sample, metrics, sample_of
from moro_ros.evaluation.place_scenes import true_meshes
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.live.motion_stream import MoRoStream
from moro_ros.recover.ground import ANKLES, GroundEstimator
from moro_ros.types import FLOOR

ADULT = (1.0, 1.0)
GROUPS = {
    "two adults": (ADULT, ADULT),
    "adult, child": (ADULT, CHILDREN),
    "two adults, child": (ADULT, ADULT, CHILDREN),
}
# Before people's sizes are scaled.
WHERE = CameraRange((2.0, 5.0), (0.8, 2.0))
# The ground is learned during the first images, which are not scored.
LEARNING = 120
# Who stands: speed of the slower ankle [m/s], height of the pelvis [m], share of the images.
STANDING_SPEED, UPRIGHT_M, STANDING_SHARE = 0.25, 0.8, 0.7


def evaluate_shared_floor(
    stream: MoRoStream, motion: MotionSet, groups: int, frames: int, seed: int
) -> Iterator[tuple[str, str, Mapping[str, float]]]:
    """Yield people, source and metrics (place_benchmark), without and with the learned ground.

    groups: number of groups of each kind of GROUPS; frames: images of each, more than LEARNING.
    """
    for name, sizes in GROUPS.items():
        rng = np.random.default_rng(seed)
        scenes = []
        for _ in range(groups):
            size = torch.tensor([rng.uniform(*limits) for limits in sizes]).float()
            scenes.append(together(motion, stream.body, size, frames, rng))
        for source in ("stature prior", "learned ground"):
            samples: dict[str, list[Sample]] = {}
            for scene in scenes:
                for person, sample in run_together(stream, scene, source == "learned ground"):
                    who = "adults" if sizes[person] == ADULT else "children"
                    samples.setdefault(who, []).append(sample)
            for who, found in samples.items():
                yield f"{name}: {who}", source, metrics(found, FLOOR)


def together(
    motion: MotionSet, body: BodyModel, size: Tensor, frames: int, rng: np.random.Generator
) -> ObservedMotion:
    """Return people of sizes (B,) in front of one camera."""
    windows = standing(motion, body, len(size), frames, rng)
    betas = torch.from_numpy(rng.normal(size=(len(size), 10))).float()
    truth = place_cameras(windows, betas, body, rng, WHERE)
    return resized(look(before_one_camera(truth, size), body, NOISE, rng), size)


def standing(
    motion: MotionSet, body: BodyModel, count: int, frames: int, rng: np.random.Generator
) -> MotionWindows:
    """Draw windows of people who stand upright in most images, on either foot, on the floor."""
    rest = body.skeleton(torch.zeros(1, 10)).joints[:, None, :NUM_JOINTS]

    def stands(drawn: MotionWindows) -> Tensor:
        chain = body.forward_kinematics(rotvec_to_matrix(drawn.rotations), rest)[1]
        feet = (chain - chain[:, :, :1] + drawn.translation[:, :, None])[:, :, ANKLES]
        still = feet.diff(dim=1).norm(dim=-1).amin(-1) * RATE_HZ < STANDING_SPEED
        tall = drawn.translation[:, 1:, 2] > UPRIGHT_M
        upright = (still & tall).float().mean(1) > STANDING_SHARE
        return upright & are_on_floor(drawn, body)

    found = windows_where(motion, count, frames, rng, stands)
    if len(found.rotations) < count:
        raise DataError(
            f"--groups: the motion has {len(found.rotations)} windows of {frames} images with a "
            f"standing person, expected {count}. Give other motion (--motion) or fewer --frames."
        )
    return found


def before_one_camera(truth: CameraMotion, size: Tensor) -> CameraMotion:
    """Move people (B) before the camera of the first, whose image has no border.

    size: (B,), with which people and their distances are multiplied afterwards.
    """
    up, height = truth.up[0], truth.height[0] * size[0] / size
    turns = [
        Rotation.align_vectors(up.numpy()[None], other.numpy()[None])[0].as_matrix()
        for other in truth.up
    ]
    turn = torch.from_numpy(np.stack(turns)).float()[:, None]
    lifted = (truth.height - height)[:, None, None] * up
    return replace(
        truth,
        rotation=turn @ truth.rotation,
        translation=(turn @ truth.translation[..., None])[..., 0] + lifted,
        half_image=torch.full_like(truth.half_image, torch.inf),
        up=up.expand_as(truth.up),
        height=height,
    )


def run_together(
    stream: MoRoStream, observed: ObservedMotion, learned: bool
) -> Iterator[tuple[int, Sample]]:
    """Run the people of a scene through a stream; yields person and result of each image."""
    ground = GroundEstimator()
    stream.reset()
    for number, image in enumerate(images_of(observed)):
        stream.set_floor(*(ground.trusted() if learned else (None,)))
        for motion in stream.push(image, mesh=True):
            ground.add(motion)
            person = motion.track_id - 1
            if number >= LEARNING:
                (mesh,) = true_meshes(stream.body, observed, person, slice(number, number + 1))
                yield person, sample_of(motion, stream, observed, person, number, mesh)
    stream.set_floor(None)
