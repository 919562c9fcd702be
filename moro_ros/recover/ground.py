"""Motion seen from another frame than the camera's, and the ground that people stand on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from moro_ros.body.topology import CONTACT_JOINTS, JOINT_NAMES
from moro_ros.types import BodyMotion, SmplxParams

# How high CONTACT_JOINTS lie above the sole [m]: ankle, ball of the foot, of either side.
JOINT_HEIGHT_M = np.array([0.078, 0.027, 0.078, 0.027])
# A foot that surely stands: least contact probability, greatest speed [m/s].
CONTACT, STANDING_SPEED = 0.8, 0.25
# The newest contacts count; older ones are forgotten [contact points].
MEMORY = 2000
# Fewer contacts say nothing yet.
LEAST_CONTACTS = 20
# How far people's own axis may lean on average [rad], and the spread of one contact's height [m]:
# together they say from which stretch of ground on the contacts know the slope better.
LEAN, SPREAD_M = 0.06, 0.05
# A contact farther from the plane counts less, in proportion (Huber) [m].
ROBUST_M = 0.06
ROUNDS = 4


@dataclass(frozen=True, slots=True)
class GroundPlane:
    """The ground: a point p lies normal . p + offset [m] above it; normal (3,) is a unit vector."""

    normal: np.ndarray
    offset: float

    @staticmethod
    def below_camera(height_m: float, pitch_deg: float) -> GroundPlane:
        """Return the ground in the optical frame of a camera without roll.

        height_m: of the camera above the ground; pitch_deg: how far it looks down.
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
    # The pelvis lies at transl + its rest place, which does not turn with the frame.
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
            global_orient=(turn * Rotation.from_rotvec(smplx.global_orient)).as_rotvec(),
            body_pose=smplx.body_pose,
            transl=transl.astype(np.float32),
        ),
        vertices=None
        if motion.vertices is None
        else (motion.vertices @ rotation.T + translation).astype(np.float32),
    )


class GroundEstimator:
    """Learns the ground from where feet stand; the camera must not move.

    The people's own axis says roughly which way is up, the contacts say at what height the ground
    lies and, the wider they are spread, how it slopes. plane: None while unknown; kept: it is not
    learned any more.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything, as after the camera was moved."""
        self.plane: GroundPlane | None = None
        self.kept = False
        self._points = np.zeros((0, 3))
        self._up = np.zeros(3)
        self._new = 0

    def keep(self, plane: GroundPlane | None = None) -> GroundPlane | None:
        """Hold on to a plane, or to the one known now, until reset(); returns it."""
        if plane is not None:
            self.plane = plane
        self.kept = self.plane is not None
        return self.plane

    def add(self, motion: BodyMotion) -> None:
        """Take up the newest frame of one person, camera optical frame."""
        if self.kept:
            return
        joints = motion.joints[-1].astype(np.float64)
        feet = list(CONTACT_JOINTS)
        speed = np.linalg.norm(motion.velocity[-1, feet], axis=-1)
        stands = (
            (motion.contact[-1] > CONTACT) & motion.observed[-1, feet] & (speed < STANDING_SPEED)
        )
        if not stands.any():
            return
        axis = joints[JOINT_NAMES.index("neck")] - joints[feet].mean(axis=0)
        length = np.linalg.norm(axis)
        # Who sits or lies has feet on the ground too, but no upright axis.
        if length > 0.9:
            self._up += axis / length
        if not self._up.any():
            return
        up = self._up / np.linalg.norm(self._up)
        soles = joints[feet][stands] - JOINT_HEIGHT_M[stands, None] * up
        self._points = np.concatenate([self._points, soles])[-MEMORY:]
        self._new += len(soles)
        # A fit per tenth of new contacts is never far behind.
        if self._new >= max(LEAST_CONTACTS, 0.1 * len(self._points)):
            self.plane, self._new = fit_ground(self._points, up), 0


def fit_ground(points: np.ndarray, up: np.ndarray) -> GroundPlane:
    """Return the plane through contact points (N, 3) m whose normal is near up (3,).

    Robust ridge regression of the height along up on the two directions across it: without spread
    the slope stays that of up.
    """
    across = np.linalg.svd(up[None])[2][1:]  # (2, 3)
    center = np.median(points, axis=0)
    flat, height = (points - center) @ across.T, (points - center) @ up
    terms = np.concatenate([flat, np.ones((len(flat), 1))], axis=1)
    # Contacts of one standing foot are no independent witnesses: together they weigh as one per
    # stretch of ground, not one per image.
    ridge = np.diag([(SPREAD_M / LEAN) ** 2, (SPREAD_M / LEAN) ** 2, 1e-9])
    weight = np.ones(len(flat))
    for _ in range(ROUNDS):
        share = weight / weight.sum() * min(len(flat), LEAST_CONTACTS)
        normal = (terms * share[:, None]).T @ terms + ridge
        solution = np.linalg.solve(normal, (terms * share[:, None]).T @ height)
        weight = 1.0 / np.maximum(1.0, np.abs(height - terms @ solution) / ROBUST_M)
    # height = s . flat + c along up: the plane's normal leans against the slope.
    direction = up - solution[:2] @ across
    size = float(np.linalg.norm(direction))
    normal = direction / size
    return GroundPlane(normal, -float(normal @ center) - float(solution[2]) / size)
