"""Other worlds of the open benchmark: near cameras, seated people, wide postures, children.

Each shows the held-out motion of the benchmark with the changes named in its row. Postures and
occluders are independent of those in training, except for data/synthesis.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from moro_ros.body.body_model import BodyModel
from moro_ros.body.topology import JOINT_NAMES, NUM_JOINTS
from moro_ros.data.dice import Dice
from moro_ros.data.mocap import MotionSet, MotionWindows
from moro_ros.data.occlusion import CLEAN, ObservationNoise
from moro_ros.data.synthesis import CameraRange, ObservedMotion, look, place_cameras
from moro_ros.data.variation import vary, wave
from moro_ros.errors import DataError
from moro_ros.evaluation.open_benchmark import OpenProtocol, evaluate_windows, observed_windows
from moro_ros.evaluation.open_decoding import Decoding, OpenModel
from moro_ros.geometry.rotation import matrix_to_rotvec, rotvec_to_matrix
from moro_ros.types import KEYPOINTS

NOISE = replace(ObservationNoise(), occlusion=0.0)
# BlazePose reports hips behind a table as seen in nearly every image, knees and feet rarely.
GUESSING = replace(NOISE, guesses=1.0, ghosts=0.0)
LEGS = ("hip", "knee", "ankle", "heel", "foot_index")
# Sitting people: hip and knee flexion and lean of the trunk, minimum and maximum, rad.
HIP, KNEE, LEAN = (1.2, 1.6), (1.1, 1.8), (-0.1, 0.5)
# Arms of sitting people: standard deviation of the shoulders, mean flexion of the elbows, rad.
SHOULDER, ELBOW = 0.35, 0.7
# Of sitting people in motion capture: thighs from the vertical, rad, and height of the pelvis, m.
THIGH, SEAT_M = math.radians(50), (0.25, 0.75)
# Of people on the floor z = 0: maximum height of the lowest joint [m], which is 0.03 m in standing
# feet, and the share of the images in which it is not higher: people may jump.
ON_FLOOR_M, ON_FLOOR_SHARE = 0.12, 2 / 3
# Maximum number of draws for a window with a wanted person.
MOST_DRAWS = 200

STANDARD = CameraRange()
Prepare = Callable[[MotionWindows, BodyModel, np.random.Generator], MotionWindows]


def as_it_is(windows: MotionWindows, body: BodyModel, rng: np.random.Generator) -> MotionWindows:
    """Return the windows unchanged."""
    return windows


def on_the_spot(windows: MotionWindows, body: BodyModel, rng: np.random.Generator) -> MotionWindows:
    """Return windows without locomotion, so that people do not walk through a near camera."""
    place = windows.translation.clone()
    place[..., :2] = place[..., :2].mean(1, keepdim=True)
    return MotionWindows(windows.rotations, place)


def widened(windows: MotionWindows, body: BodyModel, rng: np.random.Generator) -> MotionWindows:
    """Return windows with random postures (data/variation.py)."""
    return vary(windows, torch.ones(len(windows.translation), dtype=torch.bool), body, rng)


def seated(windows: MotionWindows, body: BodyModel, rng: np.random.Generator) -> MotionWindows:
    """Return windows of people sitting with feet on the floor, leaning and moving their arms."""
    batch, frames = windows.translation.shape[:2]
    dice = Dice(int(rng.integers(2**62)))
    turns = rotvec_to_matrix(windows.rotations)

    def steady(limits: tuple[float, float]) -> Tensor:
        middle = torch.from_numpy(rng.uniform(*limits, size=(batch, 1, 1))).float()
        return middle + 0.05 * wave(batch, frames, 1, dice)

    def about(axis: tuple[float, float, float], angle: Tensor) -> Tensor:
        return rotvec_to_matrix(angle * torch.tensor(axis))

    def joint(name: str) -> int:
        return JOINT_NAMES.index(name)

    for side, sign in (("left", 1.0), ("right", -1.0)):
        turns[:, :, joint(f"{side}_hip")] = about((-1.0, 0.0, 0.0), steady(HIP))
        turns[:, :, joint(f"{side}_knee")] = about((1.0, 0.0, 0.0), steady(KNEE))
        moved = rotvec_to_matrix(SHOULDER * wave(batch, frames, 3, dice))
        shoulder, elbow = joint(f"{side}_shoulder"), joint(f"{side}_elbow")
        turns[:, :, shoulder] = turns[:, :, shoulder] @ moved
        bent = ELBOW * (1 + 0.5 * wave(batch, frames, 1, dice)).clamp_min(0)
        turns[:, :, elbow] = about((0.0, -sign, 0.0), bent)
    turns[:, :, joint("spine2")] = about((1.0, 0.0, 0.0), steady(LEAN))
    return on_the_floor(turns, windows, body)


def on_the_floor(turns: Tensor, windows: MotionWindows, body: BodyModel) -> MotionWindows:
    """Return windows on the spot with other rotations (B, F, 22, 3, 3), the lowest joint at z = 0.

    The first of the rotations is global.
    """
    rest = body.skeleton(torch.zeros(1, 10)).joints[:, None, :NUM_JOINTS]
    lowest = body.forward_kinematics(turns, rest)[1][..., 2].amin(-1)
    place = windows.translation.clone()
    place[..., :2] = place[..., :2].mean(1, keepdim=True)
    place[..., 2] = -lowest
    return MotionWindows(matrix_to_rotvec(turns), place)


@dataclass(frozen=True, slots=True)
class World:
    """One row: motion, cameras, occluders and size of people."""

    prepare: Prepare = as_it_is
    noise: ObservationNoise = NOISE
    where: CameraRange = STANDARD
    covered: tuple[str, ...] = ()
    size: tuple[float, float] = (1.0, 1.0)


TABLE = CameraRange((0.7, 2.5), (0.7, 1.6), (0.7, 1.1))
# Cameras are as high for children as for adults, whose world is scaled down.
CHILDREN = (0.55, 0.85)
NEAR, SEATED = "upper body, 0.5 to 1.5 m", "seated at a table"
WORLDS: dict[str, World] = {
    "clean": World(noise=CLEAN),
    NEAR: World(on_the_spot, GUESSING, CameraRange((0.5, 1.5), (0.9, 1.7), (1.1, 1.4)), LEGS),
    SEATED: World(seated, GUESSING, TABLE, LEGS),
    "under the ceiling": World(where=CameraRange((0.3, 2.5), (2.4, 3.5), (0.7, 1.1))),
    "widened postures": World(widened),
    "children": World(
        where=CameraRange((1.4 / 0.7, 8.0 / 0.7), (0.3 / 0.7, 2.6 / 0.7)), size=CHILDREN
    ),
}


def world_windows(
    motion: MotionSet,
    body: BodyModel,
    world: World,
    protocol: OpenProtocol,
    on_floor: bool = False,
) -> Iterator[ObservedMotion]:
    """Yield a world's windows in batches; the same for every model.

    on_floor: only those of people on the floor z = 0 of the motion, which is the truth's, see
    are_on_floor; the same as without it if all are. Raises: DataError if the motion has too few.
    """
    rng = np.random.default_rng(protocol.seed)
    covered = torch.tensor([name.endswith(world.covered or ("-",)) for name in KEYPOINTS])
    for start in range(0, protocol.windows, protocol.batch):
        count = min(protocol.batch, protocol.windows - start)
        windows = world.prepare(
            drawn(motion, body, count, protocol.frames, rng, on_floor), body, rng
        )
        betas = torch.from_numpy(rng.normal(size=(count, 10))).float()
        truth = place_cameras(windows, betas, body, rng, world.where)
        observed = look(truth, body, world.noise, rng, covered)
        size = torch.from_numpy(rng.uniform(*world.size, count)).float()
        yield resized(observed, size)


def drawn(
    motion: MotionSet,
    body: BodyModel,
    count: int,
    frames: int,
    rng: np.random.Generator,
    on_floor: bool,
) -> MotionWindows:
    """Draw windows; on_floor: see world_windows."""
    if not on_floor:
        return motion.draw(count, frames, rng, warp=False)
    found = windows_where(motion, count, frames, rng, lambda some: are_on_floor(some, body))
    if len(found.rotations) < count:
        raise DataError(
            f"--motion: of {MOST_DRAWS * count} windows of {frames} images, "
            f"{len(found.rotations)} show a person on the floor z = 0, expected {count}. Give a "
            "file in which more people stand or sit on it."
        )
    return found


# Of the standard world, which WORLDS do not contain: BlazePose-like noise, and occluders as well.
NOISY, OCCLUDED = "noise", "occluded"
CONDITIONS = ("clean", NOISY, OCCLUDED)


def condition_windows(
    motion: MotionSet, body: BodyModel, condition: str, protocol: OpenProtocol
) -> Iterator[ObservedMotion]:
    """Yield the windows of a condition or one of WORLDS in batches; the same for every model."""
    if condition in WORLDS:
        return world_windows(motion, body, WORLDS[condition], protocol)
    return observed_windows(motion, body, float(condition == OCCLUDED), protocol)


def resized(observed: ObservedMotion, size: Tensor) -> ObservedMotion:
    """Return the same view of a person and a world `size` times as large, (B,)."""
    factor = size[:, None, None, None]
    return replace(
        observed,
        truth=observed.truth.resized(size),
        joints=observed.joints * factor,
        keypoints=observed.keypoints * factor,
    )


def sitting_windows(motion: MotionSet) -> Prepare:
    """Return a function that replaces windows by those of a file with sitting people.

    Raises: DataError if the file has no sitting people.
    """

    def prepare(windows: MotionWindows, body: BodyModel, rng: np.random.Generator) -> MotionWindows:
        count, frames = windows.translation.shape[:2]
        found = windows_where(motion, count, frames, rng, lambda drawn: sits(drawn, body))
        if len(found.rotations) < count:
            raise DataError(
                f"Of {MOST_DRAWS * count} windows of the --seated motion, {len(found.rotations)} "
                f"show a sitting person, expected {count}. Give a file with more sitting people."
            )
        return on_the_spot(found, body, rng)

    return prepare


def windows_where(
    motion: MotionSet,
    count: int,
    frames: int,
    rng: np.random.Generator,
    wanted: Callable[[MotionWindows], Tensor],
) -> MotionWindows:
    """Draw windows until `count` are wanted; fewer if MOST_DRAWS draws do not give as many.

    wanted: returns which windows of a draw are, (count,) bool.
    """
    found: list[MotionWindows] = []
    for _ in range(MOST_DRAWS):
        drawn = motion.draw(count, frames, rng, warp=False)
        rows = wanted(drawn).nonzero()[:, 0]
        found.append(MotionWindows(drawn.rotations[rows], drawn.translation[rows]))
        if sum(len(part.translation) for part in found) >= count:
            break
    return MotionWindows(
        torch.cat([part.rotations for part in found])[:count],
        torch.cat([part.translation for part in found])[:count],
    )


def are_on_floor(windows: MotionWindows, body: BodyModel) -> Tensor:
    """Return in which windows the person is on the floor z = 0 and not on an object, (B,) bool."""
    turns = rotvec_to_matrix(windows.rotations)
    rest = body.skeleton(torch.zeros(1, 10)).joints[:, None, :NUM_JOINTS]
    joints = body.forward_kinematics(turns, rest)[1]
    lowest = (joints - joints[:, :, :1])[..., 2].amin(-1) + windows.translation[..., 2]
    return (lowest < ON_FLOOR_M).float().mean(1) >= ON_FLOOR_SHARE


def sits(windows: MotionWindows, body: BodyModel) -> Tensor:
    """Return in which windows the person sits in the middle and at both ends, (B,) bool."""
    turns = rotvec_to_matrix(windows.rotations[:, [0, windows.rotations.shape[1] // 2, -1]])
    rest = body.skeleton(torch.zeros(1, 10)).joints[:, None, :NUM_JOINTS]
    joints = body.forward_kinematics(turns, rest)[1]
    height = windows.translation[:, [0, windows.translation.shape[1] // 2, -1], 2]
    low = (height > SEAT_M[0]) & (height < SEAT_M[1])
    for side in ("left", "right"):
        hip, knee = (joints[:, :, JOINT_NAMES.index(f"{side}_{p}")] for p in ("hip", "knee"))
        thigh = torch.nn.functional.normalize(knee - hip, dim=-1)
        low = low & (thigh[..., 2] > -math.cos(THIGH))
    return low.all(1)


def evaluate_worlds(
    model: OpenModel,
    motion: MotionSet,
    protocol: OpenProtocol,
    decoding: Decoding,
    seated_motion: MotionSet | None = None,
) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield each world's name and metrics (open_benchmark.evaluate_open).

    A network with a floor input has a second row of each, with the floor given.

    seated_motion: of recorded sitting people, for one more world.
    """
    worlds = dict(WORLDS)
    if seated_motion is not None:
        prepare = sitting_windows(seated_motion)
        worlds["seated at a table, recorded"] = World(prepare, GUESSING, TABLE, LEGS)
    for name, world in worlds.items():
        for word, way in floor_ways(model, decoding).items():
            windows = world_windows(motion, model.body, world, protocol)
            metrics = evaluate_windows(model, windows, replace(protocol, meshes=0), way)
            yield name + word, metrics


def floor_ways(model: OpenModel, decoding: Decoding) -> dict[str, Decoding]:
    """Return a decoding, and a second one with the floor for a network with such an input."""
    ways = {"": decoding}
    if model.loaded.config.moro.keypoints.floor:
        ways[", floor given"] = replace(decoding, floor=True)
    return ways
