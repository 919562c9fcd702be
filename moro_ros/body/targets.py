"""Points on a body that an assistive robot moves to: mouth, eyes, palms, shoulders, lap etc.

A target is computed from the recovered joints. If its own landmarks are seen in the image, it is
moved onto them at the depth of the recovered body.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from moro_ros.body.anatomy import Anatomy
from moro_ros.body.hand_pose import HandPose, fit_hand
from moro_ros.body.posture import Posture
from moro_ros.body.topology import JOINT_NAMES
from moro_ros.geometry.lens import normalised_points
from moro_ros.types import DETAILS, BodyMotion, Camera, Keypoints

# Minimum visibility of a seen landmark.
VISIBLE = 0.5
# Landmarks farther [m] from the target on the recovered body belong to something else.
FARTHEST_M = 0.15
# A face that looks away from the camera by more than 100 degrees does not show its mouth.
TURNED_AWAY = -0.17
_JOINT = {name: index for index, name in enumerate(JOINT_NAMES)}
_DETAIL = {name: index for index, name in enumerate(DETAILS)}
SIDES = ("left", "right")
# The left and the right hand, None: not seen.
Hands = tuple[HandPose | None, HandPose | None]
UNSEEN: Hands = (None, None)


class Kind(IntEnum):
    """The kind of a target, numbered as in HumanTarget.msg."""

    MOUTH = 0
    EYES = 1
    LEFT_PALM = 2
    RIGHT_PALM = 3
    LEFT_SHOULDER = 4
    RIGHT_SHOULDER = 5
    LEFT_ELBOW = 6
    RIGHT_ELBOW = 7
    LAP = 8
    SEAT = 9

    @property
    def frame(self) -> str:
        """The name of its TF frame, before the id of the body."""
        return f"{self.name.lower()}_target"


class Grade(IntEnum):
    """The state of a target, numbered as in HumanTarget.msg."""

    OBSERVED = 0
    INFERRED = 1
    STALE = 2


@dataclass(frozen=True, slots=True)
class Target:
    """One target on one person, in the frame of the motion (the camera optical frame).

    position: (3,) m. rotation: (3, 3); its x axis points out of the body, against the direction
    from which a robot comes (HumanTarget.msg has all axes). velocity: (3,) m/s.
    covariance: (3, 3) m^2, zero: unknown; sigma_m: standard deviation in its least certain
    direction. skin_m: distance from the position to the skin. grip: of a palm, from 0 (open hand)
    to 1 (closed); grip_score: probability that it is a hand; both NaN if unknown.
    """

    kind: Kind
    grade: Grade
    position: np.ndarray
    rotation: np.ndarray
    velocity: np.ndarray
    covariance: np.ndarray
    sigma_m: float
    skin_m: float = 0.0
    grip: float = math.nan
    grip_score: float = math.nan


class _Body:
    """The newest frame of a motion."""

    def __init__(self, motion: BodyMotion) -> None:
        self.joints = motion.joints[-1].astype(np.float64)
        self.rotations = motion.joint_rotations[-1].astype(np.float64)
        self._velocity = motion.velocity[-1]
        self._covariance = motion.covariance[-1].astype(np.float64)
        self._observed = motion.observed[-1]
        self.stale = bool(motion.held[-1]) or not motion.keypoints_seen[-1]

    def middle(self, *names: str) -> np.ndarray:
        """The mean position (3,) of some joints."""
        return self.joints[[_JOINT[name] for name in names]].mean(axis=0)

    def target(
        self,
        kind: Kind,
        position: np.ndarray,
        rotation: np.ndarray,
        *carriers: str,
        seen: bool | None = None,
        skin_m: float = 0.0,
    ) -> Target:
        """A target that some joints carry; seen: whether it was, None: whether all of them were."""
        rows = [_JOINT[name] for name in carriers]
        seen = bool(self._observed[rows].all()) if seen is None else seen
        grade = Grade.STALE if self.stale else Grade.OBSERVED if seen else Grade.INFERRED
        variances = np.linalg.eigvalsh(self._covariance[rows])[:, -1]
        least_certain = int(variances.argmax())
        return Target(
            kind,
            grade,
            position,
            rotation,
            self._velocity[rows].mean(axis=0),
            self._covariance[rows[least_certain]],
            float(np.sqrt(max(variances[least_certain], 0.0))),
            skin_m,
        )


class _Landmarks:
    """Landmarks of face and hands on the normalised image plane."""

    def __init__(self, details: Keypoints | None, camera: Camera) -> None:
        self._seen = np.zeros(len(DETAILS), bool)
        self._plane = np.zeros((len(DETAILS), 2))
        if details is not None:
            self._plane, sound = normalised_points(details.points_px, camera)
            self._seen = sound & (details.visibility >= VISIBLE)

    def of(self, *names: str) -> np.ndarray | None:
        """The positions (N, 2) of some landmarks; None unless all are seen."""
        rows = [_DETAIL[name] for name in names]
        return self._plane[rows] if self._seen[rows].all() else None

    def onto_ray(self, place: np.ndarray, *names: str) -> tuple[np.ndarray, bool]:
        """A position (3,) m moved at its depth to seen landmarks, and whether they are seen."""
        points = self.of(*names)
        if points is None or place[2] <= 0.0:
            return place, False
        there = np.append(points.mean(axis=0), 1.0) * place[2]
        if np.linalg.norm(there - place) > FARTHEST_M:
            return place, False
        return there, True


def find_targets(
    motion: BodyMotion,
    details: Keypoints | None,
    camera: Camera,
    anatomy: Anatomy,
    posture: Posture,
    up: np.ndarray,
    hands: Hands = UNSEEN,
) -> list[Target]:
    """Return the targets of the newest frame of one person.

    details: landmarks of face and hands of the same image, None if there are none; anatomy: of the
    person's shape; up: (3,) unit vector against gravity in the camera optical frame; hands: those
    whose fingers are seen in the same image. Mouth, eyes and palms are missing if the body model
    has neither eyes nor fingers; lap and seat are missing unless the person sits.
    """
    body, landmarks = _Body(motion), _Landmarks(details, camera)
    targets: list[Target] = []
    if anatomy.face is not None:
        targets += _face(body, landmarks, anatomy)
    if anatomy.hands is not None:
        for side, hand in zip(SIDES, hands, strict=True):
            palm = _palm(body, landmarks, anatomy, side)
            targets.append(palm if hand is None else _seen_palm(palm, hand, anatomy, body.stale))
    targets += _arms(body, anatomy)
    if posture == Posture.SITTING:
        targets += _below(body, anatomy, up)
    return targets


def _face(body: _Body, landmarks: _Landmarks, anatomy: Anatomy) -> list[Target]:
    assert anatomy.face is not None
    turn, origin = body.rotations[_JOINT["head"]], body.joints[_JOINT["head"]]
    left, up, front = turn.T
    rotation = np.stack([front, left, up], axis=1)
    targets = []
    for kind, place, name in (
        (Kind.MOUTH, anatomy.face.mouth, "mouth"),
        (Kind.EYES, anatomy.face.eyes, "eye"),
    ):
        expected = origin + turn @ place
        position, seen = landmarks.onto_ray(expected, f"left_{name}", f"right_{name}")
        facing = float(front @ -expected) / float(np.linalg.norm(expected))
        if facing < TURNED_AWAY:
            position, seen = expected, False
        targets.append(body.target(kind, position, rotation, "head", seen=seen))
    return targets


def _palm(body: _Body, landmarks: _Landmarks, anatomy: Anatomy, side: str) -> Target:
    assert anatomy.hands is not None
    hand, wrist = anatomy.hands[SIDES.index(side)], f"{side}_wrist"
    origin, turn = body.joints[_JOINT[wrist]], body.rotations[_JOINT[wrist]]
    points = landmarks.of(*(f"{side}_{finger}" for finger in ("pinky", "index", "thumb")))
    fitted = None if points is None else fit_hand(hand.knuckles, origin, turn, points)
    turn = turn if fitted is None else fitted
    kind = Kind.LEFT_PALM if side == "left" else Kind.RIGHT_PALM
    place, rotation = origin + turn @ hand.palm, turn @ hand.axes
    return body.target(kind, place, rotation, wrist, seen=fitted is not None)


def _seen_palm(palm: Target, hand: HandPose, anatomy: Anatomy, stale: bool) -> Target:
    """A palm moved to where the hand is seen."""
    assert anatomy.hands is not None
    axes = anatomy.hands[palm.kind - Kind.LEFT_PALM].axes
    return replace(
        palm,
        grade=Grade.STALE if stale else Grade.OBSERVED,
        position=hand.palm,
        rotation=hand.turn @ axes,
        grip=hand.grip,
        grip_score=hand.score,
    )


def _arms(body: _Body, anatomy: Anatomy) -> list[Target]:
    targets = []
    chest_up = body.rotations[_JOINT["spine3"]][:, 1]
    for side in SIDES:
        shoulder, elbow, wrist = f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist"
        for kind, joint, end, skin_m in (
            (Kind[f"{side}_shoulder".upper()], shoulder, elbow, anatomy.upper_arm_m),
            (Kind[f"{side}_elbow".upper()], elbow, wrist, anatomy.forearm_m),
        ):
            position = body.middle(joint)
            rotation = axes_along(body.middle(end) - position, chest_up)
            targets.append(body.target(kind, position, rotation, joint, skin_m=skin_m))
    return targets


def _below(body: _Body, anatomy: Anatomy, up: np.ndarray) -> list[Target]:
    hips, knees = ("left_hip", "right_hip"), ("left_knee", "right_knee")
    start, end = body.middle(*hips), body.middle(*knees)
    # x is across the thighs and as far up as possible, z to the knees; of the seat x is up.
    lap = axes_along(end - start, up)[:, [2, 1, 0]] * (1, -1, 1)
    seat = axes_along(up, end - start)
    place = (start + end) / 2 + lap[:, 0] * anatomy.thigh_m
    return [
        body.target(Kind.LAP, place, lap, *hips, *knees),
        body.target(Kind.SEAT, start - up * anatomy.thigh_m, seat, *hips),
    ]


def axes_along(x: np.ndarray, towards: np.ndarray) -> np.ndarray:
    """Return axes (3, 3) as columns: x along a vector (3,), z as near as possible to another."""
    first = x / max(float(np.linalg.norm(x)), 1e-9)
    third = towards - (towards @ first) * first
    if np.linalg.norm(third) < 1e-3:  # they are parallel: any direction across will do
        third = np.cross(first, np.eye(3)[np.abs(first).argmin()])
    third = third / np.linalg.norm(third)
    return np.stack([first, np.cross(third, first), third], axis=1)
