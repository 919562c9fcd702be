"""Motion in other frames than the camera's, and the ground that people stand on."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from moro_ros.body.topology import CONTACT_JOINTS, JOINT_NAMES, PARENTS
from moro_ros.recover.one_floor import sizes_on_one_floor
from moro_ros.types import BodyMotion, Place, SmplxParams

# Soles of shoes are 0 to 0.04 m thick; bodies are barefoot.
SHOES_M = 0.02
# Height of CONTACT_JOINTS above the ground [m]: ankle, ball of the foot, on each side.
JOINT_HEIGHT_M = np.array([0.078, 0.027, 0.078, 0.027]) + SHOES_M
# A standing foot: minimum contact probability, maximum speed [m/s].
CONTACT, STANDING_SPEED = 0.8, 0.25
# Number of contacts that are used [contact points], and of people whom they are from: the newest.
MEMORY, MOST_PEOPLE = 2000, 32
# Minimum number of contacts, and of each of several people: nearly a second on one foot. Fewer may
# be errors, and a person who seems to stand too high would make children of all others.
LEAST_CONTACTS, LEAST_OF_EACH = 20, 50
# Mean lean of people's own axis [rad], and the spread of one contact's height [m]: together they
# define from which extent of ground on the contacts determine the slope better.
LEAN, SPREAD_M = 0.06, 0.05
# A contact farther from the plane has proportionally less weight (Huber) [m].
ROBUST_M = 0.06
# One beyond GAP_M is on another level, such as a step; levels are searched in windows of LEVEL_M.
GAP_M, LEVEL_M = 0.08, 0.12
# Minimum share of the contacts on another level that is reported.
TOLD_SHARE = 0.1
ROUNDS = 8
# Maximum tilt of the ground by contacts against people's axis [rad].
MOST_TILT = math.radians(12.0)
# For a standing person, the minimum distance from ankles to neck, relative to the bones between: it
# is 0.94 upright, 0.92 in a stride, 0.88 on a bar stool, 0.72 on a chair.
UPRIGHT = 0.9
# Number of images of upright people for a rough direction; a single one may lean by 10 degrees.
LEAST_UPRIGHT = 20
# A straight person who leans by more than this against the others is lying [rad].
LYING = math.radians(30.0)
# Relative sigma of the distance of a person that only the network estimates.
PERSON_SIGMA = 0.12
# Relative sigma of the camera's height above a ground confirmed by a user, and the maximum of a
# learned one that is trusted: with a set stature it is 0.05 to 0.062, with the network's own
# estimate 0.09 and more.
GIVEN_SIGMA, LEARNED_SIGMA = 0.01, 0.065

# A floor less than this far below the camera is wrong, or gives no information about sizes.
LEAST_HEIGHT_M = 0.05
# One farther below is an error, such as millimetres for metres.
MOST_HEIGHT_M = 20.0

NECK, ANKLES = JOINT_NAMES.index("neck"), [CONTACT_JOINTS[0], CONTACT_JOINTS[2]]


@dataclass(frozen=True, slots=True)
class GroundPlane:
    """The ground: a point p is normal . p + offset [m] above it; normal (3,) is a unit vector."""

    normal: np.ndarray
    offset: float

    @staticmethod
    def below_camera(height_m: float, pitch_deg: float) -> GroundPlane:
        """Return the ground in the optical frame of a camera without roll.

        height_m: of the camera above the ground; pitch_deg: downward pitch.
        """
        pitch = np.radians(pitch_deg)
        return GroundPlane(np.array([0.0, -np.cos(pitch), -np.sin(pitch)]), height_m)

    def heights(self, points: np.ndarray) -> np.ndarray:
        """Return the heights (...) m of points (..., 3) m of the same frame."""
        return points @ self.normal + self.offset

    def moved(self, rotation: np.ndarray, translation: np.ndarray) -> GroundPlane:
        """Return the plane in a frame where points are rotation p + translation."""
        normal = rotation @ self.normal
        return GroundPlane(normal, self.offset - float(normal @ translation))


def moved(motion: BodyMotion, rotation: np.ndarray, translation: np.ndarray) -> BodyMotion:
    """Return a motion in a frame where points are rotation p + translation.

    rotation: (3, 3); translation: (3,) m.
    """
    smplx = motion.smplx
    turn = Rotation.from_matrix(rotation)
    # The pelvis is at transl + its rest position, which does not rotate with the frame.
    pelvis = motion.joints[:, 0]
    transl = pelvis @ rotation.T + translation - pelvis + smplx.transl
    return replace(
        motion,
        joints=(motion.joints @ rotation.T + translation).astype(np.float32),
        joint_rotations=(rotation @ motion.joint_rotations).astype(np.float32),
        velocity=(motion.velocity @ rotation.T).astype(np.float32),
        covariance=(rotation @ motion.covariance @ rotation.T).astype(np.float32),
        smplx=SmplxParams(
            betas=smplx.betas,
            global_orient=(turn * Rotation.from_rotvec(smplx.global_orient))
            .as_rotvec()
            .astype(np.float32),
            body_pose=smplx.body_pose,
            transl=transl.astype(np.float32),
        ),
        vertices=None
        if motion.vertices is None
        else (motion.vertices @ rotation.T + translation).astype(np.float32),
    )


class GroundEstimator:
    """Estimates the ground from standing feet; the camera must not move.

    The axis of people gives a rough upward direction. The contacts give the height of the ground
    and, with a larger extent, its slope. Contacts are weighted by the certainty of their person's
    distance. Several people stand on one floor: this determines their sizes relative to each other.

    plane: None while unknown; sigma: of the camera's height above it, relative, infinite while
    unknown; step_m: how much higher another level is on which people stand, 0 for none; kept: it is
    not estimated any more; people: number of people who determine its height.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything, for instance after the camera was moved."""
        self.plane: GroundPlane | None = None
        self.sigma = math.inf
        self.step_m = 0.0
        self.kept = False
        self.people = 0
        # Points [m] and sigma, (N, 4), by track id; those of the newest contact last.
        self._contacts: dict[int, np.ndarray] = {}
        self._up, self._upright = np.zeros(3), 0
        self._new = 0

    def keep(self, plane: GroundPlane | None = None) -> GroundPlane | None:
        """Keep a user's plane, or the current one, until reset(); returns it."""
        if plane is not None:
            self.plane, self.sigma, self.step_m = plane, GIVEN_SIGMA, 0.0
        self.kept = self.plane is not None
        return self.plane

    def trusted(self) -> tuple[GroundPlane | None, float, bool]:
        """Return the arguments of Placing.set_floor: the ground on which people are placed.

        It is given by a user, or estimated from more than one person's distance by the network. The
        network is given it only if a user confirmed it and it does not depend on its own output.
        """
        sure = self.sigma <= LEARNED_SIGMA
        shared = self.people > 1 and self.plane is not None and self.plane.offset > LEAST_HEIGHT_M
        if self.kept or sure or shared:
            return self.plane, self.sigma, self.kept and sure
        return None, 0.0, False

    def add(self, motion: BodyMotion) -> None:
        """Add the newest frame of one person, camera optical frame."""
        self.add_pose(
            joints=motion.joints[-1],
            velocity=motion.velocity[-1],
            contact=motion.contact[-1],
            observed=motion.observed[-1],
            place=motion.place,
            track_id=motion.track_id,
        )

    def add_pose(
        self,
        joints: np.ndarray,
        velocity: np.ndarray,
        contact: np.ndarray,
        observed: np.ndarray,
        place: Place | None = None,
        track_id: int = 0,
    ) -> None:
        """Add one frame of one person, as the fields of BodyMotion without the axis F."""
        if self.kept:
            return
        joints = joints.astype(np.float64)
        feet = list(CONTACT_JOINTS)
        # A sitting person has feet on the ground too, but no upright axis.
        if observed[[NECK, *ANKLES]].all() and (axis := upright_axis(joints)) is not None:
            along = float(axis @ self._up) / max(float(np.linalg.norm(self._up)), 1e-9)
            if self._upright < LEAST_UPRIGHT or along > math.cos(LYING):
                self._up += axis
                self._upright += 1
        speed = np.linalg.norm(velocity[feet], axis=-1)
        stands = (contact > CONTACT) & observed[feet] & (speed < STANDING_SPEED)
        if not stands.any() or self._upright < LEAST_UPRIGHT:
            return
        up = self._up / np.linalg.norm(self._up)
        soles = joints[feet][stands] - JOINT_HEIGHT_M[stands, None] * up
        sigma = PERSON_SIGMA
        if place is not None:
            # The floor must not be estimated from itself.
            soles, sigma = soles * place.floor_free, place.floor_free_sigma
        self._remember(track_id, np.insert(soles, 3, sigma, axis=1))
        self._new += len(soles)
        # A fit after every 10 % of new contacts is recent enough.
        if self._new >= max(LEAST_CONTACTS, 0.1 * sum(map(len, self._contacts.values()))):
            self._fit(up)
            self._new = 0

    def _remember(self, track_id: int, contacts: np.ndarray) -> None:
        """Add a person's contacts (N, 4); the oldest of whoever has the most are forgotten.

        So somebody who stands for a minute does not replace those who stood before.
        """
        before = self._contacts.pop(track_id, np.zeros((0, 4)))
        self._contacts[track_id] = np.concatenate([before, contacts])
        if len(self._contacts) > MOST_PEOPLE:
            del self._contacts[next(iter(self._contacts))]
        excess = sum(map(len, self._contacts.values())) - MEMORY
        if excess > 0:
            most = max(self._contacts, key=lambda i: len(self._contacts[i]))
            self._contacts[most] = self._contacts[most][excess:]

    def _fit(self, up: np.ndarray) -> None:
        contacts = np.concatenate(list(self._contacts.values()))
        sigmas = contacts[:, 3]
        sizes, height_sigma = self._sizes(up)
        points = np.concatenate([c[:, :3] * sizes[i] for i, c in self._contacts.items()])
        found = fit_ground(points, up, (sigmas.min() / sigmas) ** 2)
        if height_sigma is None:
            # All contacts of a person share the error of the distance, so many are no more certain
            # than one.
            height_sigma = float(np.average(sigmas**2, weights=found.weight)) ** 0.5
        self.plane, self.step_m = found.plane, found.step_m
        self.sigma = math.hypot(height_sigma, found.sigma_m / max(abs(found.plane.offset), 1e-3))

    def _sizes(self, up: np.ndarray) -> tuple[dict[int, float], float | None]:
        """Return sizes_on_one_floor by track id; a single person's is 1, and sigma None.

        Only the level on which a person stands longest counts, so one on two levels stays on two.
        """
        sizes = dict.fromkeys(self._contacts, 1.0)
        standing = {i: c for i, c in self._contacts.items() if len(c) >= LEAST_OF_EACH}
        self.people = len(standing)
        if self.people < 2:
            return sizes, None
        normal = up if self.plane is None else self.plane.normal
        logs, sigmas = np.zeros(self.people), np.zeros(self.people)
        for number, contacts in enumerate(standing.values()):
            trust = contacts[:, 3] ** -2
            logs[number] = math.log(max(level(-contacts[:, :3] @ normal, trust), LEAST_HEIGHT_M))
            sigmas[number] = float(np.average(contacts[:, 3] ** 2, weights=trust)) ** 0.5
        found, sigma = sizes_on_one_floor(logs, sigmas, sigmas <= LEARNED_SIGMA)
        return sizes | dict(zip(standing, found.tolist(), strict=True)), sigma


def upright_axis(joints: np.ndarray) -> np.ndarray | None:
    """Return the direction (3,) from ankles to neck of joints (22, 3); None unless they stand."""
    axis = joints[NECK] - joints[ANKLES].mean(axis=0)
    bones = bone_length(joints, NECK) + np.mean([bone_length(joints, ankle) for ankle in ANKLES])
    length = float(np.linalg.norm(axis))
    return axis / length if length > UPRIGHT * bones else None


def bone_length(joints: np.ndarray, joint: int) -> float:
    """Return the length of all bones from the pelvis to a joint; joints: (22, 3)."""
    total = 0.0
    while (parent := PARENTS[joint]) >= 0:
        total += float(np.linalg.norm(joints[joint] - joints[parent]))
        joint = parent
    return total


@dataclass(frozen=True, slots=True)
class GroundFit:
    """A plane through contacts: sigma_m of its height where they are; step_m to another level.

    weight: (N,), of each contact; 0 for those on other levels.
    """

    plane: GroundPlane
    sigma_m: float
    step_m: float
    weight: np.ndarray


def fit_ground(points: np.ndarray, up: np.ndarray, trust: np.ndarray | None = None) -> GroundFit:
    """Return the plane through contact points (N, 3) m whose normal is near up (3,).

    trust: (N,), weight of each point; by default equal.

    Robust ridge regression of the height along up on the two directions across it: without extent
    the slope stays that of up. Feet on steps and stairs are not a slope: the level on which people
    stand longest is the ground, and only this level determines the slope.
    """
    across = np.linalg.svd(up[None])[2][1:]  # (2, 3)
    center = np.median(points, axis=0)
    flat, height = (points - center) @ across.T, (points - center) @ up
    terms = np.concatenate([flat, np.ones((len(flat), 1))], axis=1)
    # Contacts of one standing foot are not independent: they have one weight per area of ground,
    # not one per image.
    ridge = np.diag([(SPREAD_M / LEAN) ** 2, (SPREAD_M / LEAN) ** 2, 1e-9])
    trust = np.ones(len(flat)) if trust is None else trust
    solution = np.array([0.0, 0.0, level(height, trust)])
    weight, normal = level_weight(height - solution[2], trust), ridge
    for _ in range(ROUNDS):
        share = weight / weight.sum() * min(len(flat), LEAST_CONTACTS)
        normal = (terms * share[:, None]).T @ terms + ridge
        solution = np.linalg.solve(normal, (terms * share[:, None]).T @ height)
        steep = float(np.linalg.norm(solution[:2])) / math.tan(MOST_TILT)
        if steep > 1.0:
            solution[:2] /= steep
            solution[2] = np.average(height - flat @ solution[:2], weights=share)
        next_weight = level_weight(height - terms @ solution, trust)
        if not next_weight.any():
            break
        weight = next_weight
    # height = s . flat + c along up: the plane's normal leans against the slope.
    direction = up - solution[:2] @ across
    size = float(np.linalg.norm(direction))
    plane = GroundPlane(
        direction / size, -float(direction @ center) / size - float(solution[2]) / size
    )
    off = height - terms @ solution
    spread = max(SPREAD_M, float(np.average(off**2, weights=weight)) ** 0.5)
    error = np.einsum("ni,ij,nj->n", terms, np.linalg.inv(normal), terms)
    sigma_m = spread * float(np.average(error, weights=weight)) ** 0.5
    return GroundFit(plane, sigma_m, other_level(off), weight)


def level(height: np.ndarray, trust: np.ndarray) -> float:
    """Return the height with the most trust (N,) around it, of heights (N,) m."""
    order = np.argsort(height)
    ordered, total = height[order], np.append(0.0, np.cumsum(trust[order]))
    ends = np.searchsorted(ordered, ordered + LEVEL_M, side="right")
    first = int(np.argmax(total[ends] - total[:-1]))
    return float(np.median(ordered[first : ends[first]]))


def level_weight(off: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """Return the weights (N,) of contacts at distances off (N,) m from a level."""
    return np.where(np.abs(off) < GAP_M, trust / np.maximum(1.0, np.abs(off) / ROBUST_M), 0.0)


def other_level(off: np.ndarray) -> float:
    """Return the height [m] of a second level on which feet stand; 0 for none.

    off: (N,) m, of all contacts above the ground.
    """
    others = off[np.abs(off) >= GAP_M]
    if not len(others):
        return 0.0
    height = level(others, np.ones(len(others)))
    count = int((np.abs(others - height) < 0.5 * LEVEL_M).sum())
    return height if count >= max(LEAST_CONTACTS, TOLD_SHARE * len(off)) else 0.0
