"""Distance of people by each source: held-out motion, live, one person at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.data.mocap import MotionSet
from moro_ros.data.synthesis import CameraRange, ObservedMotion
from moro_ros.evaluation.floor_contact import Contact, contact_metrics, contact_of, slow_feet
from moro_ros.evaluation.live_benchmark import WARM_UP, images_of
from moro_ros.evaluation.open_benchmark import RATE_HZ, OpenProtocol
from moro_ros.evaluation.open_worlds import (
    CHILDREN,
    LEGS,
    NOISE,
    World,
    on_the_spot,
    seated,
    world_windows,
)
from moro_ros.evaluation.place_scenes import (
    DEPTH_EVERY,
    DepthScene,
    Rendered,
    depth_scenes,
    true_meshes,
    true_stature,
)
from moro_ros.live.motion_stream import MoRoStream
from moro_ros.recover.ground import SHOES_M, GroundPlane
from moro_ros.recover.uncertainty import distance_sigma
from moro_ros.types import (
    DEPTH,
    FLOOR,
    PRIOR,
    STATURE,
    BodyMotion,
    PersonObservation,
)

# Cameras at typical distances of depth cameras; as high for children as for adults.
NEAR = CameraRange((1.3, 4.0), (0.5, 2.0))
# The front-end does not report hips behind a table (perception/sighting.py).
HIDDEN = replace(NOISE, ghosts=0.0)
WORLDS: dict[str, World] = {
    "adults": World(noise=NOISE, where=NEAR),
    "children": World(
        noise=NOISE,
        where=CameraRange((1.3 / 0.7, 4.0 / 0.7), (0.5 / 0.7, 2.0 / 0.7)),
        size=CHILDREN,
    ),
    "seated, legs hidden": World(seated, HIDDEN, NEAR, LEGS),
    "standing, legs hidden": World(on_the_spot, HIDDEN, NEAR, LEGS),
}
# What each row gives the stream, and the source that its answers should rest on.
SOURCES: dict[str, int] = {
    "stature prior": PRIOR,
    "stature": STATURE,
    "floor": FLOOR,
    "depth": DEPTH,
    "depth behind a post": DEPTH,
    "depth, thick clothes": DEPTH,
}
# Visibility that a detector reports behind the post, as a share of the one beside it.
HIDDEN_SHARE = 0.1
WRISTS = [JOINT_NAMES.index(f"{side}_wrist") for side in ("left", "right")]


@dataclass(frozen=True, slots=True)
class Sample:
    """One image: error of the pelvis, along and across the line of sight, sigma of the distance, m.

    mpjpe_mm: relative to the pelvis; wrists_m: mean error of both in absolute position; contact:
    with the floor, given or not, None: not measured.
    """

    root_m: float
    along_m: float
    across_m: float
    sigma_m: float
    mpjpe_mm: float
    wrists_m: float
    source: int
    contact: Contact | None = None


def evaluate_place(
    stream: MoRoStream,
    motion: MotionSet,
    people: int,
    frames: int,
    seed: int,
    sources: Collection[str] = tuple(SOURCES),
    worlds: Collection[str] = tuple(WORLDS),
) -> Iterator[tuple[str, str, Mapping[str, float]]]:
    """Yield world, source and metrics: each source separately, for adults and children.

    All people are on the floor (open_worlds.are_on_floor), since the floor that is given is theirs.

    sources, worlds: those of SOURCES and WORLDS that are measured, of the same people for any
    choice. Keys: root_m and median_m, the pelvis' error; root_90_m, of nine in ten images; along_m
    and across_m, the mean error along and across the line of sight; mpjpe_mm; wrists_m, both
    wrists' error; sigma_m, root mean square; within_1_sigma and within_2_sigma, of the distance;
    named, the share of the images that name this source; sole_m and through: see contact_metrics.
    """
    protocol = OpenProtocol(windows=people, frames=frames, batch=people, seed=seed)
    for name, world in WORLDS.items():
        if name not in worlds:
            continue
        observed = next(world_windows(motion, stream.body, world, protocol, on_floor=True))
        samples: dict[str, list[Sample]] = {source: [] for source in SOURCES if source in sources}
        for person in range(people):
            meshes = true_meshes(stream.body, observed, person)
            images = Rendered(stream.body, observed, person, meshes)
            for source, found in samples.items():
                scenes: Mapping[int, DepthScene] = {}
                if SOURCES[source] == DEPTH:
                    exact = images.clothed if source == "depth, thick clothes" else images.bare
                    post = source == "depth behind a post"
                    scenes = depth_scenes(exact, observed, person, seed, post)
                found += run(stream, observed, person, source, scenes, meshes)
        for source, found in samples.items():
            yield name, source, metrics(found, SOURCES[source])


def metrics(samples: list[Sample], source: int) -> dict[str, float]:
    """Return the metrics of evaluate_place."""
    root, along, across, sigma, mpjpe, wrists = np.array(
        [(s.root_m, s.along_m, s.across_m, s.sigma_m, s.mpjpe_mm, s.wrists_m) for s in samples]
    ).T
    within = np.abs(along) / np.maximum(sigma, 1e-9)
    contacts = [s.contact for s in samples if s.contact is not None]
    return {
        "root_m": float(root.mean()),
        "median_m": float(np.median(root)),
        "root_90_m": float(np.quantile(root, 0.9)),
        "along_m": float(np.abs(along).mean()),
        "across_m": float(across.mean()),
        "mpjpe_mm": float(mpjpe.mean()),
        "wrists_m": float(wrists.mean()),
        "sigma_m": float(np.sqrt(np.square(sigma).mean())),
        "within_1_sigma": float((within <= 1).mean()),
        "within_2_sigma": float((within <= 2).mean()),
        "named": float(np.mean([s.source == source for s in samples])),
        **(contact_metrics(contacts) if contacts else {}),
    }


def run(
    stream: MoRoStream,
    observed: ObservedMotion,
    person: int,
    source: str,
    scenes: Mapping[int, DepthScene],
    meshes: np.ndarray,
) -> Iterator[Sample]:
    """Run one person through a stream with one source; yields the result of each image.

    meshes: of true_meshes.
    """
    stream.reset()
    stream.set_floor(None)
    stream.placing.ignore_depth()
    if source == "floor":
        stream.set_floor(floor_of(observed, person), 0.01)
    points = observed.keypoints[person].numpy().astype(np.float64)
    given = False
    for number, image in enumerate(images_of(observed)):
        seen = image.people[person]
        if scenes:
            if number in scenes:
                stream.placing.use_depth().offer(scenes[number].depth)
            seen = behind(seen, points[number], scenes[number - number % DEPTH_EVERY])
        # Meshes of all images, since a motion that is held back is that of an earlier one.
        for motion in stream.push(replace(image, people=(seen,)), mesh=True):
            if source == "stature" and not given:
                stream.set_stature(motion.track_id, true_stature(stream.body, observed, person))
                given = True
            if number >= WARM_UP:
                yield sample_of(motion, stream, observed, person, number, meshes[number])
    stream.set_floor(None)
    stream.placing.ignore_depth()


def behind(seen: PersonObservation, points: np.ndarray, scene: DepthScene) -> PersonObservation:
    """Return a person of whom the keypoints (K, 3) m behind the post are not visible."""
    assert seen.keypoints is not None
    share = np.where(scene.hides(points), HIDDEN_SHARE, 1.0)
    visibility = (share * seen.keypoints.visibility).astype(np.float32)
    return replace(seen, keypoints=replace(seen.keypoints, visibility=visibility))


def bare_ground(observed: ObservedMotion, person: int) -> GroundPlane:
    """Return the ground under the bare feet of a person."""
    up = observed.truth.up[person].numpy().astype(np.float64)
    return GroundPlane(up, float(observed.truth.height[person]))


def floor_of(observed: ObservedMotion, person: int) -> GroundPlane:
    """Return the floor below the soles of shoes, 0 to 0.04 m thick; the motion is barefoot."""
    bare = bare_ground(observed, person)
    soles_m = 2.0 * SHOES_M * np.random.default_rng(person).random()
    return GroundPlane(bare.normal, bare.offset + soles_m)


def sample_of(
    motion: BodyMotion,
    stream: MoRoStream,
    observed: ObservedMotion,
    person: int,
    number: int,
    mesh: np.ndarray,
) -> Sample:
    """Return the sample of a motion with a mesh, of a person in an image that is not the first.

    mesh: the true one, (V, 3) m.
    """
    before, true = observed.joints[person, number - 1 : number + 1].numpy().astype(np.float64)
    assert motion.vertices is not None
    contact = contact_of(
        motion.vertices[-1],
        mesh[: len(stream.vertex_parts)],
        stream.vertex_parts,
        bare_ground(observed, person),
        slow_feet(true, before, 1.0 / RATE_HZ),
    )
    source = PRIOR if motion.place is None else motion.place.source
    sigma_m = distance_sigma(motion, np.zeros(3))
    return compared(motion, true, true[0] / np.linalg.norm(true[0]), sigma_m, source, contact)


def compared(
    motion: BodyMotion,
    true: np.ndarray,
    axis: np.ndarray,
    sigma_m: float,
    source: int,
    contact: Contact | None = None,
) -> Sample:
    """Return the sample of a motion's newest frame.

    true: (22, 3) m; axis: (3,), the direction of along_m, of length 1.
    """
    found = motion.joints[-1].astype(np.float64)
    local = (found - found[0]) - (true - true[0])
    off = found[0] - true[0]
    along_m = float(off @ axis)
    return Sample(
        float(np.linalg.norm(off)),
        along_m,
        float(np.linalg.norm(off - along_m * axis)),
        sigma_m,
        1e3 * float(np.linalg.norm(local, axis=-1).mean()),
        float(np.linalg.norm((found - true)[WRISTS], axis=-1).mean()),
        source,
        contact,
    )
