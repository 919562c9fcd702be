"""OutlierGate: holds back a measured pose that is physically unreachable from the one before."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.recover.ground import moved
from moro_ros.types import BodyMotion

# Maximum number of consecutive poses held back; a pose that persists is not an outlier.
MOST_HELD = 2
# Maximum speed of a joint relative to the pelvis over the pelvis' own: a kick, a throw.
LIMBS = 2.0
# Maximum difference of two measured places of a body at rest, m.
NOISE_M = 0.05
# The depth of the pelvis is compared with those of the newest images (Hampel: this many spreads
# from the median), from LEAST_DEPTHS images on.
DEPTHS, LEAST_DEPTHS, SPREADS = 7, 5, 3.0
# Standard deviation over the median absolute deviation of a normal distribution.
MAD_TO_SIGMA = 1.4826
# Maximum acceleration of a body at rest: the push-off of a jump, m/s^2.
ACCELERATION = 20.0
# People do not turn upside down out of sight: while the hips are not seen, a trunk that turned by
# more than this from its last direction is held back for this long, in s.
OVERTURNED, OVERTURNED_S = np.deg2rad(100.0), 0.5
PELVIS, NECK = JOINT_NAMES.index("pelvis"), JOINT_NAMES.index("neck")


class OutlierGate:
    """Checks the successive poses of one person; holding: whether the newest one was held back.

    Images in which the person was not seen are not checked.
    """

    def __init__(self) -> None:
        self._published: BodyMotion | None = None
        self._measured: tuple[np.ndarray, int] | None = None  # joints and stamp, last accepted
        self._trunk: np.ndarray | None = None  # towards the neck, of the last accepted pose
        self._depths: deque[tuple[float, int]] = deque(maxlen=DEPTHS)  # and their stamps
        self._held = 0
        self._jumped = False

    @property
    def holding(self) -> bool:
        """Whether the newest pose was held back."""
        return self._held > 0

    def refuses(self, motion: BodyMotion, max_speed_mps: float) -> bool:
        """Whether to hold back a pose (F = 1), once per pose; max_speed_mps: of the pelvis, 0: off.

        It is checked over the time since the last accepted pose.
        """
        if not motion.finite:
            return False  # the stream drops it and restarts the person, so it is not hidden here
        if max_speed_mps <= 0.0 or not motion.keypoints_seen[-1]:
            # The motion continues from the pose that was held back, not from the published one.
            self._jumped = self.holding
            return False
        self._jumped = self._measured is not None and not self._reached(motion, max_speed_mps)
        return (self._jumped and self._held < MOST_HELD) or self._overturned(motion)

    def _overturned(self, motion: BodyMotion) -> bool:
        """Whether a trunk turned over although its lower end was not seen."""
        if self._trunk is None or self._measured is None or motion.observed[-1, PELVIS]:
            return False
        seconds = (int(motion.stamps_ns[-1]) - self._measured[1]) * 1e-9
        along = float(_trunk(motion) @ self._trunk)
        turned = along < np.cos(OVERTURNED) * float(np.linalg.norm(self._trunk))
        self._jumped |= turned
        return turned and seconds <= OVERTURNED_S

    def _follow_trunk(self, motion: BodyMotion) -> None:
        """Update the accepted trunk: immediately if its hips are seen, else slowly."""
        now = _trunk(motion)
        if (
            self._trunk is None
            or self._measured is None
            or motion.observed[-1, PELVIS]
            or self._jumped
        ):
            self._trunk = now
            return
        seconds = (int(motion.stamps_ns[-1]) - self._measured[1]) * 1e-9
        self._trunk = self._trunk + -np.expm1(-seconds / OVERTURNED_S) * (now - self._trunk)

    def _reached(self, motion: BodyMotion, max_speed_mps: float) -> bool:
        assert self._measured is not None
        joints, stamp_ns = motion.joints[-1].astype(np.float64), int(motion.stamps_ns[-1])
        seconds = (stamp_ns - self._measured[1]) * 1e-9
        moves = joints - self._measured[0]
        reach = max_speed_mps * seconds
        limbs = np.linalg.norm(moves[1:] - moves[0], axis=-1).max()
        return bool(
            np.linalg.norm(moves[0]) <= reach + NOISE_M
            and limbs <= LIMBS * reach + NOISE_M
            and not self._depth_stands_out(float(joints[0, 2]), stamp_ns)
        )

    def _depth_stands_out(self, depth: float, stamp_ns: int) -> bool:
        """Hampel's test of a depth that the newest ones do not lead to either."""
        if len(self._depths) < LEAST_DEPTHS:
            return False
        depths, stamps_ns = (np.array(column) for column in zip(*self._depths))
        middle = float(np.median(depths))
        spread = MAD_TO_SIGMA * float(np.median(np.abs(depths - middle)))
        seconds = (stamp_ns - float(np.median(stamps_ns))) * 1e-9
        from_rest = NOISE_M + 0.5 * ACCELERATION * seconds**2
        if abs(depth - middle) <= max(SPREADS * spread, from_rest):
            return False
        # A person who starts to move after a turn leaves the median, but accelerates gradually.
        early, late = stamps_ns[-2], stamps_ns[-1]
        step = (stamp_ns - late) * 1e-9
        predicted = depths[-1] + (depths[-1] - depths[-2]) * (stamp_ns - late) / (late - early)
        return bool(abs(depth - predicted) > 2.0 * NOISE_M + ACCELERATION * step**2)

    def hold(self, motion: BodyMotion) -> BodyMotion:
        """Return the pose published in place of a refused one (F = 1), and count it.

        It is the last published pose, moved by the velocity of its pelvis. None of its joints
        counts as observed.
        """
        last = self._published
        assert last is not None  # the first pose is never refused
        self._held += 1
        seconds = float(motion.stamps_ns[-1] - last.stamps_ns[-1]) * 1e-9
        shift = last.velocity[-1, 0] * seconds
        there = moved(last, np.eye(3), shift)
        return replace(
            there,
            stamps_ns=motion.stamps_ns,
            velocity=np.broadcast_to(last.velocity[:, :1], last.velocity.shape),
            confidence=np.minimum(last.confidence, motion.confidence),
            observed=np.zeros_like(motion.observed),
            vertices=None if motion.vertices is None else there.vertices,
            keypoints_seen=motion.keypoints_seen,
            held=np.ones_like(motion.held),
        )

    def accept(self, motion: BodyMotion) -> bool:
        """Accept a pose (F = 1) published as measured; False if it does not continue the last.

        That is the case for one that persisted until it was published: no velocity leads to it.
        """
        self._held = 0
        if self._jumped:
            self._depths.clear()
        if motion.keypoints_seen[-1]:
            joints, stamp_ns = motion.joints[-1].astype(np.float64), int(motion.stamps_ns[-1])
            self._follow_trunk(motion)
            self._measured = joints, stamp_ns
            self._depths.append((float(joints[0, 2]), stamp_ns))
        return not self._jumped

    def publish(self, motion: BodyMotion) -> BodyMotion:
        """Store the published pose with its velocity, as the replacement of a later pose."""
        self._published = motion
        return motion


def _trunk(motion: BodyMotion) -> np.ndarray:
    """The unit vector (3,) from the newest pelvis to the neck."""
    trunk = (motion.joints[-1, NECK] - motion.joints[-1, PELVIS]).astype(np.float64)
    return trunk / max(float(np.linalg.norm(trunk)), 1e-9)
