"""Posture and falls of recovered people against those of the true joints, live, one at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from moro_ros.body.body_model import BodyModel
from moro_ros.body.posture import CAMERA_UP, Behaviour, FallDetector, Posture
from moro_ros.body.topology import JOINT_NAMES
from moro_ros.data.dice import Dice
from moro_ros.data.mocap import MotionSet, MotionWindows
from moro_ros.data.synthesis import CameraRange, ObservedMotion
from moro_ros.data.variation import horizontal, turned
from moro_ros.evaluation import open_worlds
from moro_ros.evaluation.live_benchmark import WARM_UP, images_of
from moro_ros.evaluation.open_benchmark import RATE_HZ, OpenProtocol
from moro_ros.evaluation.open_worlds import GUESSING, LEGS, SEATED, TABLE, WORLDS, Prepare, World
from moro_ros.evaluation.place_benchmark import floor_of
from moro_ros.evaluation.video_score import mean
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.live.motion_stream import MoRoStream

# Deepest bend of the trunk of a bowing person, minimum and maximum [rad].
BOW = (0.9, 1.6)
# Start of a fall, and its duration from upright to lying [s].
FALL_START_S, FALL_S = 1.2, 0.7
LOW = CameraRange(aim=(0.3, 0.9))


def bowing(windows: MotionWindows, body: BodyModel, rng: np.random.Generator) -> MotionWindows:
    """Return windows of people who bow once, to the front, on their recorded legs."""
    turns = rotvec_to_matrix(windows.rotations)
    batch, frames = turns.shape[:2]
    deepest = torch.from_numpy(rng.uniform(*BOW, size=(batch, 1, 1))).float()
    angle = deepest * torch.linspace(0, math.pi, frames).sin()[None, :, None] ** 2
    turns[:, :, 0] = turns[:, :, 0] @ turned((1.0, 0.0, 0.0), angle)
    for hip in (JOINT_NAMES.index("left_hip"), JOINT_NAMES.index("right_hip")):
        turns[:, :, hip] = turned((-1.0, 0.0, 0.0), angle) @ turns[:, :, hip]
    return open_worlds.on_the_floor(turns, windows, body)


def falling(start_s: float) -> Prepare:
    """Return windows of people who fall in any direction, ever faster, and stay on the floor."""

    def prepare(windows: MotionWindows, body: BodyModel, rng: np.random.Generator) -> MotionWindows:
        turns = rotvec_to_matrix(windows.rotations)
        fallen_s = torch.arange(turns.shape[1])[:, None] / RATE_HZ - start_s
        angle = math.pi / 2 * (fallen_s / FALL_S).clamp(0.0, 1.0) ** 2
        axis = horizontal(len(turns), Dice(int(rng.integers(2**62))))
        turns[:, :, 0] = rotvec_to_matrix(axis * angle) @ turns[:, :, 0]
        return open_worlds.on_the_floor(turns, windows, body)

    return prepare


def worlds_of(seated_motion: MotionSet | None) -> dict[str, World]:
    """Return the benchmark's rows; seated_motion: of recorded sitting people, for one more."""
    worlds = {
        "recorded": World(),
        "bowing": World(bowing),
        SEATED: WORLDS[SEATED],
        "widened postures": WORLDS["widened postures"],
        "lying": World(falling(-FALL_S), where=LOW),
        "falling": World(falling(FALL_START_S), where=LOW),
    }
    if seated_motion is not None:
        prepare = open_worlds.sitting_windows(seated_motion)
        worlds["seated at a table, recorded"] = World(prepare, GUESSING, TABLE, LEGS)
    return worlds


# Postures (N, 2) of true and recovered bodies after the warm-up, and falls (N, 2) of people.
Found = tuple[np.ndarray, np.ndarray]


def run(stream: MoRoStream, filmed: ObservedMotion, person: int, floor: bool) -> Found:
    """Run one person through a stream; postures and falls are found as in the node.

    floor: whether it is known; if not, the camera is taken for level, and no fall is found.
    """
    plane = floor_of(filmed, person)
    ups = plane.normal, plane.normal if floor else CAMERA_UP
    truth = filmed.joints[person].numpy()
    behaviours = Behaviour(), Behaviour()
    detectors = FallDetector(), FallDetector()
    postures, falls = [], np.zeros((1, 2), bool)
    stream.reset()
    stream.set_floor(plane if floor else None, 0.01)
    for number, image in enumerate(images_of(filmed)):
        for found in stream.push(replace(image, people=image.people[person : person + 1])):
            measured = found.keypoints_seen[-1] and not found.held[-1]
            for which, joints in enumerate((truth[number], found.joints[-1])):
                seen = found.observed[-1:] if which else np.ones_like(found.observed[-1:])
                motion = replace(found, joints=joints[None], observed=seen)
                posture, _ = behaviours[which].update(motion, ups[which])
                if which == 0 or (floor and measured):
                    height_m, stamp_ns = float(plane.heights(joints[0])), int(found.stamps_ns[-1])
                    falls[0, which] |= detectors[which].update(height_m, posture, stamp_ns)
            if number >= WARM_UP:
                postures.append([one.posture for one in behaviours])
    stream.set_floor(None)
    return np.array(postures, int).reshape(-1, 2), falls


def evaluate_posture(
    stream: MoRoStream, motion: MotionSet, seated: MotionSet | None, protocol: OpenProtocol
) -> Iterator[tuple[str, bool, Found]]:
    """Yield for each world, without and with the floor, what was found of its people."""
    for name, world in worlds_of(seated).items():
        (observed,) = open_worlds.world_windows(motion, stream.body, world, protocol)
        for floor in (False, True):
            runs = [run(stream, observed, person, floor) for person in range(protocol.windows)]
            yield name, floor, joined(runs)


def joined(runs: list[Found]) -> Found:
    """Return several results as one."""
    return np.concatenate([one[0] for one in runs]), np.concatenate([one[1] for one in runs])


def rates(found: Found) -> dict[str, float]:
    """Return the share of images with the right posture, and numbers of people who fell.

    lying: share of the images in which the true body lies; lying_found: reported, of those;
    false_lying: reported, of the others. falls_found, false_falls: of those who fell or did not.
    """
    (true, told), (fell, reported) = found[0].T, found[1].T
    lies = true == Posture.LAYING
    return {
        "right": mean(true == told),
        "lying": mean(lies),
        "lying_found": mean(told[lies] == Posture.LAYING),
        "false_lying": mean(told[~lies] == Posture.LAYING),
        "falls": float(fell.sum()),
        "falls_found": float((reported & fell).sum()),
        "false_falls": float((reported & ~fell).sum()),
    }


def confusion(found: Found) -> dict[str, dict[str, float]]:
    """Return for each true posture its number of images and the share of each posture found."""
    true, told = found[0].T
    return {
        posture.name.lower(): {
            "images": float((true == posture).sum()),
            **{p.name.lower(): mean(told[true == posture] == p) for p in Posture},
        }
        for posture in Posture
        if (true == posture).any()
    }
