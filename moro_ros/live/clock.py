"""Time: maps images of any rate, with jitter and gaps, to frames at the rate of the motion model.

The model's frames are on a grid that starts with the first image. An image within SNAP of a grid
point is that frame, and the grid slowly follows such images, so a camera with nearly the model's
rate needs nothing else. Any other image is a provisional frame at its own time: the newest of its
window, dropped with the next image. The grid's frames since the previous image are interpolated
between the two. So every image gets a result at its own time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from moro_ros.recover.sight import Sight

SNAP = 0.1  # frames; 3 ms at 30 Hz
# A network that uses pixels cannot interpolate: each image is the frame nearest to it.
SNAP_PIXELS = 0.5
# Share of a small offset by which the grid follows an image.
FOLLOW = 0.5
# Between images farther apart nothing is interpolated: the frames there are blind. A busy machine
# processes 10 images a second or fewer, and blind frames are less accurate than interpolated ones.
BRIDGE = 4.6  # frames; 7 Hz and its jitter
LEAST_STEP = 0.01  # frames; two images never have the same time


@dataclass(frozen=True, slots=True)
class Tick:
    """The time of one image, in frames of the model's rate.

    slots: the grid's frames that end with this image; now: its own time, the last of the slots or
    after them.
    """

    slots: range
    now: float

    @property
    def provisional(self) -> bool:
        """Whether the image lies between two frames of the grid."""
        return not (len(self.slots) and self.slots[-1] == self.now)


class FrameClock:
    """Maps the stamps of images to frames; fps: of the model; snap: see SNAP."""

    def __init__(self, fps: float, snap: float = SNAP) -> None:
        self.fps = fps
        self.snap = snap
        self._slot = -1
        self._stamp_ns = 0.0  # of the last slot
        self._now = 0.0

    def tick(self, stamp_ns: int) -> Tick:
        """Return the time of the next image; stamps must increase."""
        if self._slot < 0:
            self._slot, self._stamp_ns, self._now = 0, float(stamp_ns), 0.0
            return Tick(range(0, 1), 0.0)
        period_ns = 1e9 / self.fps
        time = self._slot + (stamp_ns - self._stamp_ns) / period_ns
        first, nearest = self._slot + 1, round(time)
        off = time - nearest
        if nearest >= first and abs(off) <= self.snap:
            follow = FOLLOW * off if abs(off) <= SNAP else 0.0
            self._stamp_ns += (nearest - self._slot + follow) * period_ns
            self._slot, self._now = nearest, float(nearest)
        else:
            last = max(math.floor(time), self._slot)
            self._stamp_ns += (last - self._slot) * period_ns
            self._slot, self._now = last, max(time, self._now + LEAST_STEP)
        return Tick(range(first, self._slot + 1), self._now)


def sight_between(before: Sight, after: Sight, time: float) -> Sight:
    """Return the interpolated observation between two images; nothing if they are far apart.

    The visibility of a keypoint is the lower one of the two images.
    """
    if time == after.time:
        return after
    distance = after.time - before.time
    if distance > BRIDGE:
        return Sight.nothing(time)
    share = np.float32((time - before.time) / distance)
    return Sight(
        time,
        0,
        before.points + share * (after.points - before.points),
        np.minimum(before.visibility, after.visibility),
        np.minimum(before.presence, after.presence),
    )
