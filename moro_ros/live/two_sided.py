"""Two-sided decoding of recorded images: a pose is decoded with the frames before and after it."""

from __future__ import annotations

import math
from dataclasses import replace

from moro_ros.config import MotionConfig
from moro_ros.live.motion_stream import MoRoStream
from moro_ros.recover.steady_pose import SteadyPose
from moro_ros.types import BodyMotion, Frame

# Frames after a pose that its decoding uses.
AFTER = 16


def two_sided(motion: MotionConfig) -> MotionConfig:
    """Return the configuration of a stream for TwoSided."""
    return replace(motion, mode="window", look_ahead=0, refined_lag=AFTER)


class TwoSided:
    """Describes every image of each person once, in order, AFTER frames later.

    At the end of a track there are fewer frames after a pose. Call `before` before each push of the
    stream and once with None at the end, and `after` after each push.
    """

    def __init__(self, stream: MoRoStream) -> None:
        self._stream = stream
        self._steady: dict[int, SteadyPose] = {}

    def before(self, frame: Frame | None) -> list[BodyMotion]:
        """Return the last poses of all people that the stream forgets with this frame.

        None: there are no more frames, so all tracks end.
        """
        present = {person.track_id for person in frame.people} if frame is not None else set()
        if frame is not None and self._stream.last_stamp_ns is not None:
            gap_ns = frame.stamp_ns - self._stream.last_stamp_ns
            if gap_ns < 0 or gap_ns > self._stream.motion.max_gap_s * 1e9:
                present = set()
        found = []
        for track_id in sorted(set(self._stream.tracks) - present):
            found += self._describe(track_id, 0.0)
            self._steady.pop(track_id, None)
        return found

    def after(self) -> list[BodyMotion]:
        """Return the poses that now have enough frames after them."""
        return [
            m for track_id in sorted(self._stream.tracks) for m in self._describe(track_id, AFTER)
        ]

    def _describe(self, track_id: int, least: float) -> list[BodyMotion]:
        """Describe the images of a person that are old enough and not described yet."""
        track = self._stream.tracks[track_id]
        steady = self._steady.setdefault(track_id, SteadyPose(self._stream.motion.gain))
        done = track.described.get(steady, (-math.inf, -1))[0]
        seen = [s for s in track.sights if done < s.time <= track.now - least]
        found = (self._stream.describe_seen(track_id, one, steady) for one in seen)
        return [motion for motion in found if motion is not None and motion.finite]
