"""Place of people whom several cameras see: held-out motion, filmed by all of them, and fused."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from moro_ros.body.body_model import BodyModel
from moro_ros.data.mocap import MotionSet, MotionWindows
from moro_ros.data.synthesis import (
    CameraMotion,
    CameraRange,
    ObservedMotion,
    detector_offsets,
    look,
    place_cameras,
)
from moro_ros.evaluation.live_benchmark import CAMERA, WARM_UP, images_of
from moro_ros.evaluation.open_worlds import World, resized
from moro_ros.evaluation.place_benchmark import WORLDS, Sample, compared, metrics
from moro_ros.evaluation.several_cameras import taken
from moro_ros.geometry.views import View
from moro_ros.live.motion_stream import MoRoStream
from moro_ros.recover.fusion.fusion import Fusion
from moro_ros.recover.fusion.playback import Taken, play
from moro_ros.recover.uncertainty import distance_sigma
from moro_ros.types import KEYPOINTS, TRIANGULATED, BodyMotion

PEOPLE = ("adults", "children")
CAMERAS = (2, 3)
# Minimum angle between the lines of sight of two cameras, which may face each other, degrees.
APART_DEG = 30.0
# Error of the cameras' directions, standard deviation of each axis, degrees.
TURNED_DEG = {"": 0.0, " off by 0.5 deg": 0.5}
# Squared Mahalanobis distance in three dimensions: 68.27 % and 95.45 % quantiles, like the shares
# within one and two sigma of one axis.
ELLIPSOIDS = {"68": 3.527, "95": 8.025}


# A fused motion (F = 1) and the true joints (22, 3) m.
Pair = tuple[BodyMotion, np.ndarray]


@dataclass(frozen=True, slots=True)
class Scene:
    """One person before several cameras; the world frame is that of the first one."""

    views: tuple[View, ...]
    observed: tuple[ObservedMotion, ...]


def evaluate_triangulated(
    stream: MoRoStream,
    motion: MotionSet,
    people: int,
    frames: int,
    seed: int,
    worlds: Collection[str] = PEOPLE,
) -> Iterator[tuple[str, str, Mapping[str, float]]]:
    """Yield people, source and metrics of adults and children before 2 and 3 cameras.

    worlds: those of PEOPLE that are measured. The extrinsics are exact, or off by TURNED_DEG.
    Keys as of place_benchmark.evaluate_place, where *along* is the axis of the covariance with the
    largest sigma, which is the published place_sigma, and *across* the rest. In addition, shares
    within the 68 and 95 % ellipsoids of the covariance: pelvis_68 and pelvis_95 of the pelvis,
    joints_68 and joints_95 of all joints. All are of the images that name this source.
    """
    for name in PEOPLE:
        if name not in worlds:
            continue
        pairs: dict[str, list[Pair]] = {
            f"triangulated, {count} cameras{word}": [] for word in TURNED_DEG for count in CAMERAS
        }
        rng = np.random.default_rng(seed)
        for scene in film(motion, stream.body, WORLDS[name], people, frames, seed):
            reels = [
                taken(stream.sibling(stream.motion), list(images_of(observed)))
                for observed in scene.observed
            ]
            truth = scene.observed[0].joints[0].numpy().astype(np.float64)
            for word, degrees in TURNED_DEG.items():
                views = turned(scene.views, degrees, rng)
                for count in CAMERAS:
                    source = f"triangulated, {count} cameras{word}"
                    pairs[source] += fused(stream.body, views[:count], reels, truth)
        for source, of_source in pairs.items():
            yield name, source, scored(of_source)


def turned(views: Sequence[View], degrees: float, rng: np.random.Generator) -> tuple[View, ...]:
    """Return the extrinsics of cameras with random errors of their directions.

    degrees: standard deviation of the rotation about each axis.
    """
    turns = [Rotation.from_rotvec(np.radians(degrees) * rng.normal(size=3)) for _ in views]
    return tuple(
        replace(
            view,
            rotation=turn.as_matrix() @ view.rotation,
            translation=turn.apply(view.translation),
        )
        for view, turn in zip(views, turns)
    )


def scored(pairs: Sequence[Pair]) -> dict[str, float]:
    """Return the metrics of evaluate_triangulated; only `named` if no image names the source."""
    named = [pair for pair in pairs if pair[0].place and pair[0].place.source == TRIANGULATED]
    if not named:
        return {"named": 0.0}
    found = metrics([sample_of(motion, true) for motion, true in named], TRIANGULATED)
    found["named"] = len(named) / len(pairs)
    distance = np.array([squared_distance(motion, true) for motion, true in named])
    for name, limit in ELLIPSOIDS.items():
        found[f"pelvis_{name}"] = float((distance[:, 0] < limit).mean())
        found[f"joints_{name}"] = float((distance < limit).mean())
    return found


def squared_distance(motion: BodyMotion, true: np.ndarray) -> np.ndarray:
    """Return the squared Mahalanobis distance of each joint from the truth (22, 3) m, (22,)."""
    error = motion.joints[-1].astype(np.float64) - true
    solved = np.linalg.solve(motion.covariance[-1].astype(np.float64), error[..., None])[..., 0]
    return np.asarray((error * solved).sum(-1))


def sample_of(motion: BodyMotion, true: np.ndarray) -> Sample:
    """Return the sample of a triangulated motion (F = 1); true: (22, 3) m."""
    axis = np.linalg.eigh(motion.covariance[-1, 0].astype(np.float64))[1][:, -1]
    return compared(motion, true, axis, distance_sigma(motion, None), TRIANGULATED)


def fused(
    body: BodyModel, views: Sequence[View], reels: Sequence[Sequence[Taken]], truth: np.ndarray
) -> Iterator[Pair]:
    """Yield the fused motion and the truth of each image after the warm-up.

    reels: the results of each view; truth: (F, 22, 3) m, world frame.
    """
    cameras = {view.name: iter(reel) for view, reel in zip(views, reels)}
    for number, (_, people) in enumerate(play(Fusion(body, views), cameras)):
        if number >= WARM_UP and people:
            yield people[0].motion, truth[number]


def film(
    motion: MotionSet, body: BodyModel, world: World, people: int, frames: int, seed: int
) -> Iterator[Scene]:
    """Yield people one by one, each before the largest number of CAMERAS.

    Every camera has its own noise, dropouts and occluders. The constant offsets of the detector
    from the body's points are those of the person, so all cameras have the same ones.
    """
    rng = np.random.default_rng(seed)
    drawn = world.prepare(motion.draw(people, frames, rng, warp=False), body, rng)
    betas = torch.from_numpy(rng.normal(size=(people, 10))).float()
    sizes = torch.from_numpy(rng.uniform(*world.size, people)).float()
    for row in range(people):
        one = slice(row, row + 1)
        window = MotionWindows(drawn.rotations[one], drawn.translation[one])
        truths = around(window, betas[one], body, rng, world.where)
        offsets = detector_offsets(1, len(KEYPOINTS), world.noise, rng)
        observed = []
        for truth in truths:
            turn = truth.rotation[0, 0] @ truths[0].rotation[0, 0].mT
            seen = look(truth, body, world.noise, rng, offsets=offsets @ turn.mT)
            observed.append(resized(seen, sizes[one]))
        yield Scene(views_of([one.truth for one in observed]), tuple(observed))


def around(
    window: MotionWindows,
    betas: torch.Tensor,
    body: BodyModel,
    rng: np.random.Generator,
    where: CameraRange,
) -> list[CameraMotion]:
    """View one window with random cameras whose lines of sight are APART_DEG from each other."""
    while True:
        truths = [place_cameras(window, betas, body, rng, where) for _ in range(max(CAMERAS))]
        # Lines of sight in the axes of the person's pelvis.
        first = [(truth.rotation[0, 0].mT @ truth.translation[0, 0]).numpy() for truth in truths]
        lines = [line / np.linalg.norm(line) for line in first]
        most = np.cos(np.radians(APART_DEG))
        if all(abs(one @ two) < most for one, two in combinations(lines, 2)):
            return truths


def views_of(truths: Sequence[CameraMotion]) -> tuple[View, ...]:
    """Return the extrinsics of cameras that film one person (B = 1), from where they see them.

    The world frame is that of the first camera.
    """
    turns = [truth.rotation[0, 0].numpy().astype(np.float64) for truth in truths]
    places = [truth.translation[0, 0].numpy().astype(np.float64) for truth in truths]
    views = []
    for number, (turn, place) in enumerate(zip(turns, places)):
        rotation = turn @ turns[0].T
        views.append(View(f"camera {number + 1}", CAMERA, rotation, place - rotation @ places[0]))
    return tuple(views)
