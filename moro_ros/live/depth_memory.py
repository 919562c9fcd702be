"""Matches depth images, which may be late, lost, at another rate or wrong, with images."""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from moro_ros.errors import DepthError
from moro_ros.geometry.depth_image import MATCH_S, DepthImage
from moro_ros.recover.depth_pose import DepthMeter
from moro_ros.recover.floor import SHORTEST_M, TALLEST_M
from moro_ros.recover.followed_step import FollowedStep
from moro_ros.recover.place import Clue, Unplaced
from moro_ros.recover.steady_pose import BodyPose

# Time for which poses are kept, so that a late depth image finds its own.
POSES_S = 1.0
# Maximum speed of people between the two stamps, m/s.
SPEED_MPS = 1.0
# Time for which depth images wait for their image, in addition to the output delay [s], and their
# maximum number: 90 Hz with a delay of 2 s.
WAITING_S, WAITING = 0.5, 225
# Additional time for which compared ones are kept for a second description: an interval of a slow
# camera [s].
KEPT_AGAIN_S = 0.2
# Consecutive depth images without an image, or without the people, and consecutive images whose
# depth image did not wait long enough, before a problem is reported.
UNMATCHED, UNSEEN, MISSED = 30, 30, 30
# Time for which a fit starts from the previous one, and a posture is followed [s].
FOLLOWING_S = 0.5
# Time constants with which a person follows the measured posture, whose noise would otherwise be
# seen in the velocities, and with which an older one is forgotten [s].
POSTURE_S, KEPT_S = 0.4, 1.0
# A clue this many sigma from the one before is not used unless it persists for as long as the clues
# before agreed, at most for DOUBTED_S [s]: a post in front of a person may be taken for them.
OUTLYING, DOUBTED_S = 3.0, 0.3
# Bulk is the mean of up to MOST_BULKS depth images, and of SLENDER in which it is zero; its limit.
MOST_BULKS, SLENDER, MOST_BULK = 100, 3, 0.4


@dataclass(slots=True)
class DepthTrack:
    """The recent poses of one person without depth, and what depth measured.

    found: the last clue that was used, and its stamp; agreed_ns: since when the clues agree;
    doubted_ns: since when newer ones do not, None: they do; posture: the correction to the measured
    one; bent_ns: stamp of the last depth image that measured it. FOLLOWING_S later it begins to
    return to the network's, with the time constant KEPT_S; bulk: how much wider than the body model
    the person is, as a share of its radii, the mean of `bulks` depth images.
    """

    poses: deque[Unplaced] = field(default_factory=deque)
    looked_ns: int = -1
    found: tuple[Clue, int] | None = None
    agreed_ns: int = -1
    doubted_ns: int | None = None
    posture: FollowedStep = field(default_factory=lambda: FollowedStep(POSTURE_S))
    bent_ns: int = -1
    bulk: float = 0.0
    bulks: int = 0

    def doubts(self, clue: Clue, stamp_ns: int) -> bool:
        """Return whether a clue contradicts the one before too suddenly; else it is the new one."""
        if self.found is None or stamp_ns - self.found[1] > FOLLOWING_S * 1e9:
            self.agreed_ns = stamp_ns
        elif contradict(clue, self.found[0]):
            if self.doubted_ns is None:
                self.doubted_ns = stamp_ns
            agreed_s = (self.found[1] - self.agreed_ns) * 1e-9
            if (stamp_ns - self.doubted_ns) * 1e-9 < min(agreed_s, DOUBTED_S):
                return True
            self.agreed_ns = stamp_ns
        self.found, self.doubted_ns = (clue, stamp_ns), None
        return False

    def widen(self, bulk: float) -> None:
        """Add how much wider than the body model a depth image shows the person."""
        self.bulks = min(self.bulks + 1, MOST_BULKS)
        self.bulk += (bulk - self.bulk) / (self.bulks + SLENDER)
        self.bulk = min(max(self.bulk, -MOST_BULK), MOST_BULK)

    def add(self, posed: Unplaced) -> None:
        """Keep a pose."""
        self.poses.append(posed)
        while posed.stamp_ns - self.poses[0].stamp_ns > POSES_S * 1e9:
            self.poses.popleft()

    def corrected(self, posed: Unplaced) -> BodyPose:
        """Return a pose (F = 1), the newest or an earlier one again, in the measured posture."""
        before_ns = self.posture.newest_ns
        if before_ns is not None and posed.stamp_ns - self.bent_ns > FOLLOWING_S * 1e9:
            passed_s = max(posed.stamp_ns - before_ns, 0) * 1e-9
            self.posture.target = self.posture.target * math.exp(-passed_s / KEPT_S)
        return self.posture.corrected(posed.pose, posed.stamp_ns)


def contradict(first: Clue, second: Clue) -> bool:
    """Return whether two clues of nearly the same time are not of the same distance."""
    allowed = OUTLYING * math.hypot(first.sigma, second.sigma)
    return abs(first.log_scale - second.log_scale) > allowed


class DepthMemory:
    """Receives depth images in one thread and compares them with people's poses in another.

    lag_s: age of the images whose people are compared (motion.look_ahead); again_s: of those that
    are described a second time, None: none are; problems: texts of what is wrong with the depth
    images, by kind; empty if there are none.
    """

    def __init__(self, meter: DepthMeter, lag_s: float = 0.0) -> None:
        self.lag_s = lag_s
        self.again_s: float | None = None
        self._meter = meter
        self._kept: deque[DepthImage] = deque()
        self._lock = threading.Lock()
        self._waiting: deque[DepthImage] = deque()
        self._refused: dict[str, str] = {}
        self._unmatched = self._unseen = self._missed = 0
        self._unseen_ns = -1  # stamp of the last one without a person
        self._dropped_ns: deque[int] = deque(maxlen=WAITING)  # stamps of those that waited too long
        self._stamps_ns: deque[int] = deque(maxlen=256)
        self.used = 0

    def offer(self, depth: DepthImage) -> None:
        """Add a depth image, from any thread."""
        with self._lock:
            self._refused.clear()
            self._waiting.append(depth)
            kept_ns = (self.lag_s + WAITING_S) * 1e9
            while (
                abs(depth.stamp_ns - self._waiting[0].stamp_ns) > kept_ns
                or len(self._waiting) > WAITING
            ):
                self._dropped_ns.append(self._waiting.popleft().stamp_ns)

    def refuse(self, error: DepthError) -> None:
        """Record a depth image that cannot be used, from any thread."""
        with self._lock:
            self._refused = {error.reason: str(error)}

    @property
    def problems(self) -> dict[str, str]:
        """Texts of the problems, by kind."""
        with self._lock:
            found = dict(self._refused)
        if self._unmatched >= UNMATCHED:
            found["stamps"] = (
                f"None of the last {self._unmatched} depth images was taken within "
                f"{1e3 * MATCH_S:.0f} ms of an image. Both must be stamped with the same clock."
            )
        if self._missed >= MISSED:
            found["late"] = (
                f"The depth images of the last {self._missed} images with people were dropped: "
                f"they wait for {self.lag_s + WAITING_S:.1f} s, but these images were processed "
                "later. Lower the rate of the camera or use a faster preset."
            )
        if self._unseen >= UNSEEN:
            found["contradiction"] = (
                f"The last {self._unseen} depth images do not show the people of the images. "
                "Check that the depth is from this camera, and TF between the two."
            )
        return found

    def image_came(self, stamp_ns: int) -> list[DepthImage]:
        """Return the depth images that can be compared now, oldest first; once per image.

        stamp_ns: of the image whose people are compared, which is lag_s older than the newest one.
        """
        with self._lock:
            self._stamps_ns.append(stamp_ns)
            stamps = np.array(self._stamps_ns)
            own_s = self._own_s(stamps)
            # One that is ahead of all images is from another clock.
            ahead_s = [(d.stamp_ns - stamp_ns) * 1e-9 for d in self._waiting]
            foreign_s = self.lag_s + POSES_S
            ready = [d for d, s in zip(self._waiting, ahead_s) if s <= own_s or s > foreign_s]
            for depth in ready:
                self._waiting.remove(depth)
            missed = any(abs(d - stamp_ns) <= MATCH_S * 1e9 for d in self._dropped_ns)
        matched = []
        for depth in ready:
            near = np.abs(stamps - depth.stamp_ns).min() <= MATCH_S * 1e9
            self._unmatched = 0 if near else self._unmatched + 1
            if near:
                matched.append(depth)
        if matched or missed:
            self._missed = 0 if matched else self._missed + 1
        matched = sorted(matched, key=lambda depth: depth.stamp_ns)
        self._keep(matched, stamp_ns)
        return matched

    def _own_s(self, stamps: np.ndarray) -> float:
        """How far ahead of its image a depth image may be; farther, it may be the next one's [s].

        stamps: (N,) ns, of the recent images.
        """
        if len(stamps) < 2:
            return MATCH_S
        return min(MATCH_S, 0.5e-9 * float(np.median(np.abs(np.diff(stamps)))))

    def _keep(self, matched: list[DepthImage], stamp_ns: int) -> None:
        """Keep depth images that were compared until their image is described again."""
        if self.again_s is None:
            self._kept.clear()
            return
        kept_ns = (self.again_s - self.lag_s + KEPT_AGAIN_S) * 1e9
        while self._kept and abs(stamp_ns - self._kept[0].stamp_ns) > kept_ns:
            self._kept.popleft()
        self._kept.extend(matched)

    def kept(self, stamp_ns: int) -> list[DepthImage]:
        """Return the kept depth images up to an image that is described a second time."""
        last_ns = stamp_ns + self._own_s(np.array(self._stamps_ns)) * 1e9
        return [depth for depth in self._kept if depth.stamp_ns <= last_ns]

    def clues(
        self, track: DepthTrack, ready: list[DepthImage], again: bool = False
    ) -> list[tuple[Clue, int]]:
        """Return the depth measurements of one person with their times; oldest first.

        The measured posture is set in the track. again: of a second description, which is not
        counted.
        """
        found = []
        for depth in ready:
            if depth.stamp_ns <= track.looked_ns or not track.poses:
                continue
            posed = min(track.poses, key=lambda one: abs(one.stamp_ns - depth.stamp_ns))
            apart_s = abs(posed.stamp_ns - depth.stamp_ns) * 1e-9
            if apart_s > MATCH_S or not posed.observed.any():
                continue
            track.looked_ns = depth.stamp_ns
            near = self._near(track, depth)
            measured = self._meter.measure(posed, depth, near, track.bulk)
            if measured is None or not self._plausible(measured.clue, posed):
                if not again and self._unseen_ns != depth.stamp_ns:
                    self._unseen, self._unseen_ns = self._unseen + 1, depth.stamp_ns
                continue
            if not again:
                self._unseen = 0
            clue = measured.clue
            if track.doubts(clue, depth.stamp_ns):
                continue
            self.used += not again
            if measured.posture is not None:
                track.posture.target = measured.posture
                track.bent_ns = depth.stamp_ns
            if measured.bulk is not None:
                track.widen(measured.bulk)
            moved_by = SPEED_MPS * apart_s / float(posed.pose.translation.norm())
            sigma = float(np.hypot(clue.sigma, moved_by))
            found.append((Clue(clue.log_scale, sigma), depth.stamp_ns))
        return found

    def _near(self, track: DepthTrack, depth: DepthImage) -> float | None:
        """The scale to start from: the last one, if it is recent."""
        if track.found is None or depth.stamp_ns - track.found[1] > FOLLOWING_S * 1e9:
            return None
        return track.found[0].log_scale

    def _plausible(self, clue: Clue, posed: Unplaced) -> bool:
        return SHORTEST_M < posed.stature_m * np.exp(clue.log_scale) < TALLEST_M
