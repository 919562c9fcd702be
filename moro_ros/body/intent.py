"""Cues of what a person is about to do, derived from the recent joints.

Lengths are in metres, speeds in m/s. The ground is not required, only the upward direction.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import IntEnum, IntFlag

import numpy as np

from moro_ros.body.posture import CAMERA_UP, FALL_SPEED_MPS
from moro_ros.body.topology import JOINT_NAMES
from moro_ros.types import BodyMotion

# Time for which a cue must persist before it is reported, and for which still hands must be still.
HOLD_NS, STILL_NS = 200_000_000, 400_000_000
# Maximum time between two images for a cue to persist.
GAP_NS = 500_000_000
# Minimum closing speed of an approaching person, and maximum distance of their predicted path.
APPROACH_MPS, MISS_M = 0.25, 0.8
# Minimum speed of a reaching hand relative to the pelvis, and maximum angle to the target.
REACH_MPS, REACH_COS = 0.2, math.cos(math.radians(40.0))
ATTENTION_RAD = math.radians(30.0)
# A hand that is held out: maximum speed, minimum distance in front of the shoulder in arm lengths,
# and minimum share of the palm's direction upwards or towards the robot.
STILL_MPS, HELD_OUT, PALM = 0.15, 0.45, 0.5
# Interval for the pelvis' vertical speed, and minimum speed of sitting down or standing up. In a
# bent leg the height of the hip above the ankle is less than this share of its length.
SPAN_NS, SIT_MPS, BENT = 200_000_000, 0.15, 0.93

_AT = {name: index for index, name in enumerate(JOINT_NAMES)}
_PELVIS, _HEAD = _AT["pelvis"], _AT["head"]
# Directions (3,) out of the left and the right palm; None if it was not seen.
Palms = tuple[np.ndarray | None, np.ndarray | None]
UNSEEN: Palms = (None, None)


class Hands(IntFlag):
    """Hands, as in HumanIntent.HAND_*."""

    NONE = 0
    LEFT = 1
    RIGHT = 2


class Transition(IntEnum):
    """HumanIntent.TRANSITION_*."""

    NONE = 0
    SITTING_DOWN = 1
    STANDING_UP = 2
    FALLING = 3


_SIDES = ((Hands.LEFT, "left"), (Hands.RIGHT, "right"))


@dataclass(frozen=True, slots=True)
class Intent:
    """The cues of one frame; numbers are NaN if the point that they refer to is unknown.

    closing_mps: horizontal speed towards the robot; approaching, attention, reaching, handover and
    transition as in HumanIntent; reach_m: from the nearer wrist to the target; attention_rad:
    between the front of the head and the direction to the robot.
    """

    closing_mps: float = math.nan
    approaching: bool = False
    reaching: Hands = Hands.NONE
    reach_m: float = math.nan
    attention_rad: float = math.nan
    attention: bool = False
    handover: Hands = Hands.NONE
    transition: Transition = Transition.NONE


class Lasting:
    """Whether a condition has held for some time without a break."""

    def __init__(self, hold_ns: int) -> None:
        self._hold_ns = hold_ns
        self._since_ns: int | None = None

    def update(self, holds: bool, stamp_ns: int) -> bool:
        """Update with one image."""
        if not holds:
            self._since_ns = None
        elif self._since_ns is None:
            self._since_ns = stamp_ns
        return self._since_ns is not None and stamp_ns - self._since_ns >= self._hold_ns


class IntentTracker:
    """Observes one person, image by image."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._stamp_ns: int | None = None
        self._approach, self._look = Lasting(HOLD_NS), Lasting(HOLD_NS)
        self._reach = {hand: Lasting(HOLD_NS) for hand, _ in _SIDES}
        self._offer = {hand: Lasting(STILL_NS) for hand, _ in _SIDES}
        self._places: deque[tuple[int, np.ndarray]] = deque()  # of the pelvis, over SPAN_NS

    def update(
        self,
        motion: BodyMotion,
        robot: np.ndarray | None,
        target: np.ndarray | None,
        up: np.ndarray = CAMERA_UP,
        palms: Palms = UNSEEN,
    ) -> Intent:
        """Add the newest frame of the person; a gap or a jump back in time restarts.

        robot, target: (3,) m in the frame of the motion, positions of the robot and of the target
        of hands, None while unknown; up: (3,) unit vector against gravity. palms: as seen in the
        image, because the recovered rotation of a forearm does not determine the palm.
        """
        stamp_ns = int(motion.stamps_ns[-1])
        if self._stamp_ns is not None and not 0 < stamp_ns - self._stamp_ns <= GAP_NS:
            self._forget()
        self._stamp_ns = stamp_ns
        joints, speeds = motion.joints[-1].astype(float), motion.velocity[-1].astype(float)
        rotations = motion.joint_rotations[-1].astype(float)
        closing, angle = math.nan, math.nan
        approaches = looks = False
        if robot is not None:
            closing, approaches = _approach(joints[_PELVIS], speeds[_PELVIS], robot, up)
            angle = _angle(rotations[_HEAD][:, 2], robot - joints[_HEAD])
            looks = angle < ATTENTION_RAD
        return Intent(
            closing_mps=closing,
            approaching=self._approach.update(approaches, stamp_ns),
            reaching=self._reaching(joints, speeds, target, stamp_ns),
            reach_m=_reach_m(joints, target),
            attention_rad=angle,
            attention=self._look.update(looks, stamp_ns),
            handover=self._offering(joints, rotations, speeds, robot, up, palms, stamp_ns),
            transition=self._transition(joints, up, stamp_ns, jumped=not speeds.any()),
        )

    def _reaching(
        self, joints: np.ndarray, speeds: np.ndarray, target: np.ndarray | None, stamp_ns: int
    ) -> Hands:
        found = Hands.NONE
        for hand, side in _SIDES:
            wrist = _AT[f"{side}_wrist"]
            speed = speeds[wrist] - speeds[_PELVIS]
            reaches = target is not None and _towards(speed, target - joints[wrist])
            if self._reach[hand].update(reaches, stamp_ns):
                found |= hand
        return found

    def _offering(
        self,
        joints: np.ndarray,
        rotations: np.ndarray,
        speeds: np.ndarray,
        robot: np.ndarray | None,
        up: np.ndarray,
        palms: Palms,
        stamp_ns: int,
    ) -> Hands:
        found = Hands.NONE
        for (hand, side), palm in zip(_SIDES, palms, strict=True):
            wrist = _AT[f"{side}_wrist"]
            open_to = palm is not None and float(palm @ up) > PALM
            if palm is not None and robot is not None and not open_to:
                open_to = _angle(palm, robot - joints[wrist]) < math.acos(PALM)
            still = float(np.linalg.norm(speeds[wrist] - speeds[_PELVIS])) < STILL_MPS
            offers = open_to and still and _held_out(joints, rotations, side, up)
            if self._offer[hand].update(offers, stamp_ns):
                found |= hand
        return found

    def _transition(
        self, joints: np.ndarray, up: np.ndarray, stamp_ns: int, jumped: bool
    ) -> Transition:
        # Positions are kept, not heights, which jump when the ground becomes known. jumped: no
        # motion leads from the last position to this one.
        if jumped:
            self._places.clear()
        self._places.append((stamp_ns, joints[_PELVIS]))
        while len(self._places) > 2 and stamp_ns - self._places[1][0] >= SPAN_NS:
            self._places.popleft()
        before_ns, before = self._places[0]
        if stamp_ns - before_ns < SPAN_NS:
            return Transition.NONE
        speed = float((joints[_PELVIS] - before) @ up) / ((stamp_ns - before_ns) * 1e-9)
        if speed < -FALL_SPEED_MPS:
            return Transition.FALLING
        if _leg_share(joints, up) > BENT or abs(speed) < SIT_MPS:
            return Transition.NONE
        return Transition.STANDING_UP if speed > 0.0 else Transition.SITTING_DOWN


def _approach(
    place: np.ndarray, speed: np.ndarray, robot: np.ndarray, up: np.ndarray
) -> tuple[float, bool]:
    """Horizontal speed towards the robot, and whether the path leads there."""
    to_robot, course = (v - (v @ up) * up for v in (robot - place, speed))
    distance = max(float(np.linalg.norm(to_robot)), 1e-9)
    closing = float(course @ to_robot) / distance
    if closing < APPROACH_MPS:
        return closing, False
    along = course / np.linalg.norm(course)
    miss = float(np.linalg.norm(to_robot - (to_robot @ along) * along))
    return closing, miss < MISS_M


def _towards(speed: np.ndarray, way: np.ndarray) -> bool:
    """Whether a hand moves towards a position."""
    size, distance = float(np.linalg.norm(speed)), float(np.linalg.norm(way))
    return size > REACH_MPS and float(speed @ way) > REACH_COS * size * distance


def _reach_m(joints: np.ndarray, target: np.ndarray | None) -> float:
    if target is None:
        return math.nan
    wrists = joints[[_AT["left_wrist"], _AT["right_wrist"]]]
    return float(np.linalg.norm(wrists - target, axis=1).min())


def _held_out(joints: np.ndarray, rotations: np.ndarray, side: str, up: np.ndarray) -> bool:
    """Whether a hand is in front of the trunk, below the head, and not hanging down."""
    shoulder, elbow, wrist = (joints[_AT[f"{side}_{n}"]] for n in ("shoulder", "elbow", "wrist"))
    arm = float(np.linalg.norm(elbow - shoulder) + np.linalg.norm(wrist - elbow))
    front = rotations[_AT["spine3"]][:, 2]
    before = float((wrist - shoulder) @ front) > HELD_OUT * arm
    level = joints[_PELVIS] @ up < wrist @ up < joints[_HEAD] @ up
    return bool(before and level)


def _leg_share(joints: np.ndarray, up: np.ndarray) -> float:
    """Height of the hips above the ankles, in lengths of the leg; of the straighter leg."""
    shares = []
    for side in ("left", "right"):
        hip, knee, ankle = (joints[_AT[f"{side}_{name}"]] for name in ("hip", "knee", "ankle"))
        length = float(np.linalg.norm(knee - hip) + np.linalg.norm(ankle - knee))
        shares.append(float((hip - ankle) @ up) / max(length, 1e-9))
    return max(shares)


def _angle(one: np.ndarray, other: np.ndarray) -> float:
    size = max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-9)
    return math.acos(min(1.0, max(-1.0, float(one @ other) / size)))
