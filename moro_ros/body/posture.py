"""Posture and gesture of a person, derived from the joints.

Numbered as in hri_msgs (BodyPosture, Gesture). Lengths are relative to the person's leg (hip to
ankle) for postures and to the trunk (pelvis to neck) for gestures.
"""

from __future__ import annotations

import math
from collections import deque
from enum import IntEnum

import numpy as np

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.types import BodyMotion

# The trunk of a falling person moves down at 1.3 m/s and more (Bourke et al. 2008, vertical
# velocity profiles), unlike when sitting or lying down on purpose; here averaged over SPAN_NS.
FALL_SPEED_MPS, SPAN_NS = 1.2, 200_000_000
# Maximum speed of a pelvis in a fall: a faster one is another person's or wrong.
FASTEST_MPS = 6.0
# Maximum height of the pelvis when lying on the ground, not on a bed, m.
LYING_HEIGHT_M = 0.45
# Maximum time after the fall until the posture is lying.
SETTLE_NS = 1_500_000_000
# Time for which a fall is reported while the person is lying.
TOLD_NS = 3_000_000_000
# Maximum time between two measurements for a speed.
GAP_NS = 500_000_000


class FallDetector:
    """Observes one person, image by image; fallen: whether the person has just fallen.

    A fall is detected from the pelvis' height and the posture.
    """

    def __init__(self) -> None:
        self.fallen = False
        self._heights: deque[tuple[int, float]] = deque()  # stamp and height over SPAN_NS
        self._dropped_ns: int | None = None
        self._fell_ns = 0

    def update(self, height_m: float, posture: Posture, stamp_ns: int) -> bool:
        """Add the measurement of one image; returns fallen.

        height_m: of the pelvis above the ground; stamp_ns: a jump back in time restarts.
        """
        if self._heights and self._broken(height_m, stamp_ns):
            self._heights.clear()
            self._dropped_ns = None
        self._heights.append((stamp_ns, height_m))
        while len(self._heights) > 2 and stamp_ns - self._heights[1][0] >= SPAN_NS:
            self._heights.popleft()
        elapsed_ns = stamp_ns - self._heights[0][0]
        drop_m = self._heights[0][1] - height_m
        if elapsed_ns >= SPAN_NS and drop_m > FALL_SPEED_MPS * elapsed_ns * 1e-9:
            self._dropped_ns = stamp_ns
        lies = posture == Posture.LAYING and height_m < LYING_HEIGHT_M
        if self.fallen:
            self.fallen = lies and 0 <= stamp_ns - self._fell_ns < TOLD_NS
        elif lies and self._dropped_ns is not None:
            self.fallen = stamp_ns - self._dropped_ns < SETTLE_NS
            self._fell_ns, self._dropped_ns = stamp_ns, None
        return self.fallen

    def _broken(self, height_m: float, stamp_ns: int) -> bool:
        """Whether the newest image does not continue those before."""
        before_ns, before_m = self._heights[-1]
        elapsed_ns = stamp_ns - before_ns
        leap = abs(height_m - before_m) > FASTEST_MPS * max(elapsed_ns, 0) * 1e-9 + 0.05
        return elapsed_ns <= 0 or elapsed_ns > GAP_NS or leap


# Upwards in the optical frame of a level camera; a known ground is more accurate.
CAMERA_UP = np.array([0.0, -1.0, 0.0])
# Time for which a new posture must persist before it is reported.
POSTURE_HOLD_NS = 300_000_000
# Waving: minimum number of turns of the raised forearm, minimum swing, and maximum time.
WAVE_NS, WAVE_TURNS, WAVE_SWING = 2_000_000_000, 3, math.radians(12.0)
_AT = {name: index for index, name in enumerate(JOINT_NAMES)}
_LEGS = [index for index, name in enumerate(JOINT_NAMES) if name.endswith(("knee", "ankle"))]


class Posture(IntEnum):
    """hri_msgs/BodyPosture."""

    OTHER = 0
    STANDING = 1
    SITTING = 2
    CROUCHING = 3
    LAYING = 4


class Gesture(IntEnum):
    """hri_msgs/Gesture. HANDS_ON_FACE: one hand or both."""

    OTHER = 0
    HANDS_ON_FACE = 1
    ARMS_CROSSED = 2
    LEFT_HAND_RAISED = 3
    RIGHT_HAND_RAISED = 4
    BOTH_HANDS_RAISED = 5
    WAVING = 6


def posture_of(
    joints: np.ndarray, up: np.ndarray = CAMERA_UP, observed: np.ndarray | None = None
) -> Posture:
    """The posture of one frame.

    joints: (22, 3) m; up: (3,) unit vector against gravity, in the frame of the joints; observed:
    (22,) bool, the joints that were seen, None: all. With an upright trunk and no leg that was seen
    it is OTHER: hidden legs are inferred as straight, also those of a person at a table.
    """
    hips, knees, ankles = (
        (joints[_AT[f"left_{name}"]] + joints[_AT[f"right_{name}"]]) / 2
        for name in ("hip", "knee", "ankle")
    )
    thigh, shank = _bone(joints, "hip", "knee"), _bone(joints, "knee", "ankle")
    leg = thigh + shank
    trunk = joints[_AT["neck"]] - joints[_AT["pelvis"]]
    upright = float(trunk @ up) / max(float(np.linalg.norm(trunk)), 1e-9)
    height = float((hips - ankles) @ up) / leg  # of the hips above the ankles
    if upright < 0.5:
        # A person bending down has a level trunk too, but high hips.
        return Posture.LAYING if abs(upright) < 0.5 and height < 0.5 else Posture.OTHER
    if observed is not None and not observed[_LEGS].any():
        return Posture.OTHER
    # One leg carries a person who walks, runs or climbs; the other may be drawn up.
    carrying = max(_reach(joints, side, up) for side in ("left", "right")) / leg
    if carrying > 0.82:
        return Posture.STANDING
    # Thighs of a sitting person point forward: the knees are in front of the hips, not below.
    drop = float((hips - knees) @ up) / thigh
    center = hips + 0.5 * trunk
    away = center - ankles
    away = away - (away @ up) * up
    balanced = float(np.linalg.norm(away)) < 0.22 * leg
    bent = _bend(joints) > math.radians(75.0)
    if bent and balanced and drop < 0.8 and height > 0.15:
        return Posture.CROUCHING
    # Hips are near the height of the ankles only on the floor.
    if drop < 0.6 and (not balanced or height <= 0.15):
        return Posture.SITTING
    return Posture.OTHER


def gesture_of(joints: np.ndarray, head_rotation: np.ndarray) -> Gesture:
    """The gesture of one frame; waving is only detected over time (Behaviour).

    joints: (22, 3) m; head_rotation: (3, 3) of the head's part frame (x left, y up, z front).
    """
    trunk = float(np.linalg.norm(joints[_AT["neck"]] - joints[_AT["pelvis"]]))
    axes = _chest_axes(joints)
    head = joints[_AT["head"]]
    wrists = {side: joints[_AT[f"{side}_wrist"]] for side in ("left", "right")}
    # The wrist of a hand on the face is a hand's length from it.
    face = head + head_rotation @ np.array([0.0, 0.08, 0.16]) * trunk
    touching = {s: bool(np.linalg.norm(wrist - face) < 0.36 * trunk) for s, wrist in wrists.items()}
    left_raised, right_raised = (
        bool((wrists[s] - head) @ axes[2] > 0.02 * trunk) and not touching[s] for s in wrists
    )
    if left_raised and right_raised:
        return Gesture.BOTH_HANDS_RAISED
    if left_raised or right_raised:
        return Gesture.LEFT_HAND_RAISED if left_raised else Gesture.RIGHT_HAND_RAISED
    if any(touching.values()):
        return Gesture.HANDS_ON_FACE
    middle = (joints[_AT["left_shoulder"]] + joints[_AT["right_shoulder"]]) / 2
    front, left, high = (
        {side: float((wrist - middle) @ axis) / trunk for side, wrist in wrists.items()}
        for axis in axes
    )
    crossed = left["left"] < -0.02 and left["right"] > 0.02
    before = all(front[side] > 0.1 and -0.9 < high[side] < 0.1 for side in wrists)
    return Gesture.ARMS_CROSSED if crossed and before else Gesture.OTHER


class Behaviour:
    """Posture and gesture of one person over time, with persistent postures and waving.

    posture, gesture: the newest.
    """

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self.posture = Posture.OTHER
        self.gesture = Gesture.OTHER
        self._stamp_ns: int | None = None
        self._candidate: tuple[Posture, int] | None = None
        self._swings: dict[str, deque[tuple[int, float]]] = {
            side: deque() for side in ("left", "right")
        }

    def update(self, motion: BodyMotion, up: np.ndarray = CAMERA_UP) -> tuple[Posture, Gesture]:
        """Add the newest frame of the person; a jump back in time (bag loop) restarts.

        up: (3,) unit vector against gravity, in the frame of the motion.
        """
        stamp_ns = int(motion.stamps_ns[-1])
        if self._stamp_ns is not None and stamp_ns < self._stamp_ns:
            self._forget()
        joints = motion.joints[-1].astype(np.float64)
        self._settle(posture_of(joints, up, motion.observed[-1]), stamp_ns)
        rotation = motion.joint_rotations[-1, _AT["head"]].astype(np.float64)
        waving = [self._waves(joints, side, stamp_ns) for side in self._swings]
        self.gesture = Gesture.WAVING if any(waving) else gesture_of(joints, rotation)
        self._stamp_ns = stamp_ns
        return self.posture, self.gesture

    def _settle(self, posture: Posture, stamp_ns: int) -> None:
        if self._stamp_ns is None or posture == self.posture:
            self.posture, self._candidate = posture, None
        elif self._candidate is None or self._candidate[0] != posture:
            self._candidate = posture, stamp_ns
        elif stamp_ns - self._candidate[1] >= POSTURE_HOLD_NS:
            self.posture, self._candidate = posture, None

    def _waves(self, joints: np.ndarray, side: str, stamp_ns: int) -> bool:
        """Whether a raised forearm swings from side to side."""
        front, left, high = _chest_axes(joints)
        forearm = joints[_AT[f"{side}_wrist"]] - joints[_AT[f"{side}_elbow"]]
        sideways, upwards = float(forearm @ left), float(forearm @ high)
        swings = self._swings[side]
        above = joints[_AT[f"{side}_wrist"]] - joints[_AT[f"{side}_shoulder"]]
        if upwards < 0.3 * float(np.linalg.norm(forearm)) or float(above @ high) < 0.0:
            swings.clear()
            return False
        swings.append((stamp_ns, math.atan2(sideways, math.hypot(upwards, float(forearm @ front)))))
        while stamp_ns - swings[0][0] > WAVE_NS:
            swings.popleft()
        return _turns([angle for _, angle in swings]) >= WAVE_TURNS


def _turns(angles: list[float]) -> int:
    """Number of times a series reverses by more than WAVE_SWING."""
    turns, direction = 0, 0
    low = high = angles[0]
    for angle in angles:
        low, high = min(low, angle), max(high, angle)
        if direction <= 0 and angle - low > WAVE_SWING:
            turns, direction, high = turns + (direction < 0), 1, angle
        elif direction >= 0 and high - angle > WAVE_SWING:
            turns, direction, low = turns + (direction > 0), -1, angle
    return turns


def _chest_axes(joints: np.ndarray) -> np.ndarray:
    """Front, left and upwards along the trunk, (3, 3), one a row."""
    high = joints[_AT["neck"]] - joints[_AT["pelvis"]]
    high = high / max(float(np.linalg.norm(high)), 1e-9)
    left = joints[_AT["left_shoulder"]] - joints[_AT["right_shoulder"]]
    left = left - (left @ high) * high
    left = left / max(float(np.linalg.norm(left)), 1e-9)
    return np.stack([np.cross(left, high), left, high])


def _bone(joints: np.ndarray, near: str, far: str) -> float:
    """Mean length of a bone of both sides, m."""
    bones = [joints[_AT[f"{s}_{far}"]] - joints[_AT[f"{s}_{near}"]] for s in ("left", "right")]
    return max(float(np.linalg.norm(bones, axis=1).mean()), 1e-9)


def _reach(joints: np.ndarray, side: str, up: np.ndarray) -> float:
    """Height of a hip above its ankle, m."""
    return float((joints[_AT[f"{side}_hip"]] - joints[_AT[f"{side}_ankle"]]) @ up)


def _bend(joints: np.ndarray) -> float:
    """Mean bend of the knees, rad."""
    bends = []
    for side in ("left", "right"):
        hip, knee, ankle = (joints[_AT[f"{side}_{name}"]] for name in ("hip", "knee", "ankle"))
        thigh, shank = knee - hip, ankle - knee
        lengths = max(float(np.linalg.norm(thigh) * np.linalg.norm(shank)), 1e-9)
        bends.append(math.acos(min(1.0, max(-1.0, float(thigh @ shank) / lengths))))
    return sum(bends) / 2
