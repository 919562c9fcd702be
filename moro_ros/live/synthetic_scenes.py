"""Scripted motion of simulated people for planners, RViz and continuous integration."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from moro_ros.body.topology import JOINT_NAMES, NUM_JOINTS
from moro_ros.types import KEYPOINTS

CAMERA_HEIGHT = 1.0  # m above the floor, looking level
TABLE_PERIOD_S = 8.0  # the table hides the walker's legs for half of it
LEGS = tuple(i for i, name in enumerate(KEYPOINTS) if "knee" in name or "ankle" in name)
FEET = tuple(i for i, name in enumerate(KEYPOINTS) if "heel" in name or "foot" in name)

# Rotation vectors (22, 3) of the joints, pelvis (3,) m in the camera frame, hidden keypoints.
Moment = tuple[np.ndarray, np.ndarray, tuple[int, ...]]


def bend(pose: np.ndarray, joint: str, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> None:
    """Set one joint's rotation vector in a pose (22, 3)."""
    pose[JOINT_NAMES.index(joint)] = (x, y, z)


def facing(heading: float) -> np.ndarray:
    """Rotation vector of an upright body in the camera frame; heading 0 looks at the camera."""
    upright = np.diag([1.0, -1.0, -1.0])
    turn, _ = cv2.Rodrigues(np.array([0.0, heading, 0.0]))
    vector, _ = cv2.Rodrigues(upright @ turn)
    return vector.ravel()


def walker(seconds: float) -> Moment:
    """A person walking on a circle 3.6 m away, 0.5 m/s, sometimes behind a table."""
    pose, radius = np.zeros((NUM_JOINTS, 3)), 0.6
    angle = seconds * 0.5 / radius
    step = math.sin(2 * math.pi * 0.9 * seconds)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        bend(pose, f"{side}_hip", x=-0.4 * sign * step)
        bend(pose, f"{side}_knee", x=0.15 + 0.5 * max(0.0, sign * step))
        bend(pose, f"{side}_shoulder", x=0.35 * sign * step, z=-1.25 * sign)
        bend(pose, f"{side}_elbow", y=-0.35 * sign)
    # The camera's x and z axes span the floor; a body with heading h walks along (sin h, -cos h).
    pelvis = np.array([0.3 + radius * math.cos(angle), CAMERA_HEIGHT - 0.93, 3.6])
    pelvis[2] += radius * math.sin(angle)
    pose[0] = facing(math.pi - angle)
    hidden = LEGS + FEET if seconds % TABLE_PERIOD_S < TABLE_PERIOD_S / 2 else ()
    return pose, pelvis, hidden


def sitter(seconds: float) -> Moment:
    """A person sitting 3 m away who reaches out with the right arm; a tray hides the feet."""
    pose = np.zeros((NUM_JOINTS, 3))
    reach = 0.5 - 0.5 * math.cos(2 * math.pi * seconds / 5.0)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        bend(pose, f"{side}_hip", x=-1.5)
        bend(pose, f"{side}_knee", x=1.5)
        bend(pose, f"{side}_shoulder", z=-1.2 * sign)
        bend(pose, f"{side}_elbow", y=-0.9 * sign)
    bend(pose, "right_shoulder", y=1.3 * reach, z=1.2 - 1.0 * reach)
    bend(pose, "right_elbow", y=0.9 - 0.8 * reach)
    bend(pose, "spine2", x=0.2 * reach)
    pose[0] = facing(0.35)
    return pose, np.array([-0.9, CAMERA_HEIGHT - 0.55, 3.0]), FEET


# Poses are bent from the T-pose: x to the person's left, y up, z to the front.
LEFT, RIGHT = (1, 0, 0), (-1, 0, 0)
HIPS = tuple(i for i, name in enumerate(KEYPOINTS) if "hip" in name)
STANDING_M, SITTING_M = 0.93, 0.55  # height of the pelvis


@dataclass(frozen=True, slots=True)
class Key:
    """A pose at a time: rotation vectors (22, 3), and the position and height of the pelvis.

    seconds: time; place: x to the right and z away from the camera, and height above the floor, m.
    """

    seconds: float
    pose: np.ndarray
    place: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Script:
    """Moves from key to key with a bell-shaped speed, repeatedly; hidden: keypoints."""

    keys: Sequence[Key]
    hidden: tuple[int, ...] = ()
    _turns: list[np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        turns = [
            (Rotation.from_rotvec(a.pose).inv() * Rotation.from_rotvec(b.pose)).as_rotvec()
            for a, b in itertools.pairwise(self.keys)
        ]
        object.__setattr__(self, "_turns", turns)

    def __call__(self, seconds: float) -> Moment:
        """The state of the scene at a time."""
        now = seconds % self.keys[-1].seconds
        number = max(i for i, key in enumerate(self.keys[:-1]) if key.seconds <= now)
        start, end = self.keys[number], self.keys[number + 1]
        part = (now - start.seconds) / (end.seconds - start.seconds)
        share = part**3 * (10 - 15 * part + 6 * part**2)
        turn = Rotation.from_rotvec(self._turns[number] * share)
        pose = (Rotation.from_rotvec(start.pose) * turn).as_rotvec()
        x, z, height = np.add(start.place, share * np.subtract(end.place, start.place))
        return pose, np.array([x, CAMERA_HEIGHT - height, z]), self.hidden


def arc(start: Sequence[float], end: Sequence[float]) -> Rotation:
    """The shortest rotation from one direction to another."""
    a, b = np.array(start, float), np.array(end, float)
    axis = np.cross(a, b)
    angle = math.atan2(float(np.linalg.norm(axis)), float(a @ b))
    if np.linalg.norm(axis) < 1e-9:
        axis = np.cross(a, np.eye(3)[np.abs(a).argmin()])  # any axis across
    return Rotation.from_rotvec(axis / np.linalg.norm(axis) * angle)


def arm(
    pose: np.ndarray,
    side: str,
    upper: Sequence[float],
    fore: Sequence[float],
    palm: Sequence[float] | None = None,
) -> None:
    """Point one arm of a pose: directions of the upper arm and the forearm in the chest's axes.

    palm: direction that the palm faces as far as the forearm allows; None: given by the arm.
    """
    rest = LEFT if side == "left" else RIGHT
    shoulder = arc(rest, upper)
    elbow = arc(rest, shoulder.inv().apply(fore))
    bend(pose, f"{side}_shoulder", *shoulder.as_rotvec())
    bend(pose, f"{side}_elbow", *elbow.as_rotvec())
    roll = 0.0
    if palm is not None:
        # In the axes of the forearm, along x; the palm faces down in the T-pose.
        _, y, z = (shoulder * elbow).inv().apply(palm)
        roll = math.atan2(-z, -y)
    bend(pose, f"{side}_wrist", x=roll)


def person(heading: float, seated: bool = False) -> np.ndarray:
    """A pose (22, 3) with hanging arms; heading 0 looks at the camera."""
    pose = np.zeros((NUM_JOINTS, 3))
    pose[0] = facing(heading)
    for side, out in (("left", 0.15), ("right", -0.15)):
        arm(pose, side, (out, -1, 0), (out, -1, 0.2))
        if seated:
            bend(pose, f"{side}_hip", x=-1.5)
            bend(pose, f"{side}_knee", x=1.5)
    return pose


def changed(pose: np.ndarray, **arms: tuple[Sequence[float], ...]) -> np.ndarray:
    """A copy of a pose with other arms: left or right = (upper, fore) or (upper, fore, palm)."""
    copy = pose.copy()
    for side, directions in arms.items():
        arm(copy, side, *directions)
    return copy


def walk_by(seconds: float) -> Moment:
    """A person walking past the camera at 3 m, to the right and back, 0.9 m/s."""
    reach, speed = 1.3, 0.9
    way = (seconds * speed) % (4 * reach)
    right = way < 2 * reach
    x = way - reach if right else 3 * reach - way
    pose, _, _ = walker(seconds)
    # A body with heading h walks along (sin h, -cos h) in the camera's x and z.
    pose[0] = facing(math.pi / 2 if right else -math.pi / 2)
    return pose, np.array([x, CAMERA_HEIGHT - STANDING_M, 3.0]), ()


def _reach() -> Script:
    """A person at a table who takes a cup in front of them, drinks, and puts it back."""
    still = changed(person(0.2), left=((0.2, -1, 0), (0, -0.3, 1)))
    out = changed(still, right=((-0.15, -0.9, 0.5), (0.1, -0.1, 1)))
    lips = changed(still, right=((-0.4, -0.8, 0.7), (0.6, 0.75, -0.1)))
    place = (0.1, 2.4, STANDING_M)
    poses = ((0, still), (1.5, still), (2.5, out), (3.2, out), (4.5, lips), (5.5, lips), (6.8, out))
    keys = [Key(t, pose, place) for t, pose in (*poses, (7.4, out), (8.5, still))]
    return Script(keys, hidden=LEGS + FEET)


def _eat() -> Script:
    """A person sitting at a table and eating with the right hand; the table hides the legs."""
    still = changed(
        person(0.0, seated=True),
        left=((0.3, -0.9, 0.4), (-0.3, 0.0, 1)),
        right=((-0.3, -0.9, 0.4), (0.1, -0.1, 1)),
    )
    lips = changed(still, right=((-0.4, -0.8, 0.7), (0.6, 0.75, -0.1)))
    bend(lips, "neck", x=0.15)
    place = (0.0, 2.2, SITTING_M)
    times = ((0, still), (1.0, still), (2.2, lips), (2.8, lips), (4.0, still))
    return Script([Key(t, pose, place) for t, pose in times], hidden=LEGS + FEET + HIPS)


def _handover() -> Script:
    """A person holding out the right hand, palm up, for three seconds."""
    still = person(0.0)
    out = changed(still, right=((-0.2, -0.8, 0.6), (0.0, 0.05, 1), (0, 1, 0)))
    place = (0.0, 2.4, STANDING_M)
    times = ((0, still), (1.5, still), (2.7, out), (5.7, out), (7.0, still))
    return Script([Key(t, pose, place) for t, pose in times])


def _dressing() -> Script:
    """A sitting person who holds out one arm after the other, as for a sleeve."""
    still = person(0.0, seated=True)
    left = changed(still, left=((0.7, -0.1, 0.7), (0.5, 0.0, 1)))
    right = changed(still, right=((-0.7, -0.1, 0.7), (-0.5, 0.0, 1)))
    place = (0.0, 2.4, SITTING_M)
    times = (
        (0, still), (1.0, still), (2.2, left), (5.0, left), (6.2, still), (7.2, right),
        (10.0, right), (11.2, still),
    )  # fmt: skip
    return Script([Key(t, pose, place) for t, pose in times])


def _fall() -> Script:
    """A standing person who falls on their back, lies for four seconds and gets up slowly."""
    still = person(0.0)
    lying, squat = still.copy(), still.copy()
    # The head to the camera's right, the front upwards.
    lying[0] = Rotation.from_matrix([[0, 1, 0], [0, 0, -1], [-1, 0, 0]]).as_rotvec()
    for leg in ("left", "right"):
        bend(lying, f"{leg}_hip", x=-0.4)
        bend(lying, f"{leg}_knee", x=0.6)
        bend(squat, f"{leg}_hip", x=-1.6)
        bend(squat, f"{leg}_knee", x=2.0)
    up, down = (-0.3, 3.2, STANDING_M), (0.2, 3.2, 0.12)
    keys = (
        Key(0, still, up), Key(3.0, still, up), Key(3.8, lying, down), Key(7.8, lying, down),
        Key(9.8, squat, (0.0, 3.2, 0.5)), Key(11.3, still, up),
    )  # fmt: skip
    return Script(keys)


# The scenes and their people: the values of the option synthetic_scene.
SCENES: dict[str, tuple[Callable[[float], Moment], ...]] = {
    "room": (walker, sitter),
    "walk_by": (walk_by,),
    "reach": (_reach(),),
    "eat": (_eat(),),
    "handover": (_handover(),),
    "dressing": (_dressing(),),
    "fall": (_fall(),),
}
