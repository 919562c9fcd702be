"""TrackState: the recent past of one person on the host, at the rate of the motion model."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from torch import Tensor

from moro_ros.live.clock import Tick, sight_between
from moro_ros.network.inputs import PersonBoxes
from moro_ros.recover.recovery import Decoded, DecodedFrame
from moro_ros.recover.sight import Sight
from moro_ros.recover.steady_pose import ShapeLock, SteadyPose

SAME = 1e-6  # frames; times closer than this are equal
SMOOTHING = 8.0  # frames to either side that a frame's smoothed codes may depend on


class TrackState:
    """A ring of `size` frames of one person, with one more slot for the provisional frame.

    gain: of the running poses, see SteadyPose; lag: age of the oldest image described, in frames.
    born, newest: first and last frame of the grid; fresh: the first frame of the newest image; now:
    time of the newest image, in frames.
    """

    def __init__(self, size: int, gain: float, lag: int) -> None:
        self.size = size
        self.fresh = 0
        self._lag = lag
        self.born = 0
        self.newest = -1
        self.now = 0.0
        self.box: PersonBoxes | None = None
        self.boxes = np.ones((size + 1, 3), np.float32)
        self.sights: deque[Sight] = deque()
        self.decoded: dict[str, np.ndarray] = {}
        self.steady = SteadyPose(gain)
        self.refined = SteadyPose(gain)
        self.shape_lock = ShapeLock()
        # Time and stamp by running pose, not by lag, because both poses may have the same lag.
        self.described: dict[SteadyPose, tuple[float, int]] = {}

    def keep_shape(self, betas: Tensor | None) -> None:
        """Lock a shape (10,), or None: follow the images until it settles again."""
        self.steady.shape = self.refined.shape = betas
        self.shape_lock = ShapeLock()

    def settle_shape(self, stamp_ns: int, seen: bool, settle_s: float) -> None:
        """Lock the shape when it has settled; see ShapeLock.update."""
        if self.steady.shape is None and self.steady.last is not None:
            betas = self.steady.last.betas
            if (settled := self.shape_lock.update(betas, stamp_ns, seen, settle_s)) is not None:
                self.keep_shape(settled)

    def __len__(self) -> int:
        """Frames of the grid in the window."""
        return min(self.newest - self.born + 1, self.size)

    @property
    def oldest(self) -> int:
        """The oldest frame of the grid in the window."""
        return max(self.born, self.newest - self.size + 1)

    @property
    def provisional(self) -> bool:
        """Whether the newest image lies between two frames of the grid."""
        return self.now != self.newest

    def observed(self, tick: Tick, sight: Sight, longest: int) -> list[Sight]:
        """Return the observation of each new frame of an image, the image's own last.

        sight: of the image; longest: maximum number of frames filled in after a gap. The first
        image of a person has no past, so it is the only new frame.
        """
        slots = tick.slots
        if not self.sights:
            slots = range(slots.stop - (not tick.provisional), slots.stop)
            self.born = slots.start
            before = sight
        else:
            before = self.sights[-1]
            slots = slots[-longest:]
            if slots.start > self.newest + 1:
                self.born = slots.start
        self.fresh, self.newest, self.now = slots.start, slots.stop - 1, tick.now
        seen = [sight_between(before, sight, float(slot)) for slot in slots]
        return [*seen, sight] if tick.provisional else seen

    def see(self, sight: Sight) -> None:
        """Store the observation of the newest image until that image is described."""
        self.sights.append(sight)
        while len(self.sights) > 1 and self.sights[1].time < self.now - self._lag - 1.0:
            self.sights.popleft()

    def place(self, time: float) -> int:
        """The slot in the ring of a frame of the grid, or of the provisional frame."""
        slot = math.floor(time)
        return slot % self.size if slot == time else self.size

    def places(self, times: np.ndarray) -> np.ndarray:
        """The slots in the ring of times (k,), (k,) int64."""
        slots = np.floor(times)
        return np.where(slots == times, slots % self.size, self.size).astype(np.int64)

    def frames(self, first: float) -> np.ndarray:
        """Times of the frames from `first` on, (k,) float64, the provisional one last."""
        start = max(self.oldest, math.ceil(max(first, -1.0) - SAME))
        times = np.arange(start, self.newest + 1, dtype=np.float64)
        return np.append(times, self.now) if self.provisional else times

    def keep(self, times: np.ndarray, values: dict[str, np.ndarray]) -> None:
        """Store the decoding of frames at times (k,): arrays (k, ...) by name."""
        if not self.decoded:
            self.decoded = {
                name: np.zeros((self.size + 1, *value.shape[1:]), value.dtype)
                for name, value in values.items()
            }
        places = self.places(times)
        for name, value in values.items():
            self.decoded[name][places] = value

    def around(self, time: float) -> tuple[float, float, float] | None:
        """The frames on either side of a time and the share of the later one; None if forgotten."""
        if abs(time - self.now) < SAME:
            return self.now, self.now, 0.0
        low = float(math.floor(time + SAME))
        if low < self.oldest or time > self.now:
            return None
        if abs(time - low) < SAME:
            return low, low, 0.0
        high = low + 1.0 if low + 1.0 <= self.newest else self.now
        return low, high, (time - low) / (high - low)

    def seen_at(self, lag: float) -> Sight | None:
        """The image `lag` frames ago; None if the person was not tracked yet."""
        latest = self.now - lag + 0.5 * (lag > 0)
        return next((sight for sight in reversed(self.sights) if sight.time <= latest), None)

    def decoded_at(self, time: float, before: float | None) -> Decoded | None:
        """The decoding around a time and the one described before it; None if forgotten."""
        wanted = [self.around(at) for at in (before, time) if at is not None]
        if wanted[-1] is None:
            return None
        pairs = [pair for pair in wanted if pair is not None]
        times = sorted({edge for low, high, _ in pairs for edge in (low, high)})
        betas = self.decoded.get("betas")
        if betas is not None:
            betas = betas[self.places(self.frames(-np.inf))].mean(0)
        return Decoded(
            tuple(self._frame(at) for at in times),
            tuple((times.index(low), times.index(high), share) for low, high, share in pairs),
            betas,
        )

    def _frame(self, time: float) -> DecodedFrame:
        values, place = self.decoded, self.place(time)
        around = self.frames(time - SMOOTHING)
        around = around[around <= time + SMOOTHING]
        rotations = values.get("body_rotations")
        return DecodedFrame(
            values["rotation"][place],
            values["translation"][place],
            values["contact"][place],
            values["confidence"][place],
            values["ids"][place],
            None if rotations is None else rotations[place],
            values["codes"][self.places(around)],
            int(np.flatnonzero(around == time)[0]),
        )
