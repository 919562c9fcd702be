"""VideoTimes: converts presentation times of a container to stamps and counts missing frames."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

# Frames closer than this, in periods of the mean rate, are uneven. If there are more of them than
# the larger of a share and a number, the rate varies, and gaps need not be lost frames.
EVEN = 0.5, 1.5
UNEVEN_SHARE, UNEVEN_FEW = 0.05, 3
# Intact recordings also drop a frame sometimes.
LONG_S = 0.2
# Containers count frames that they do not contain, an AVI for instance one that repeats the last.
END_TOLERANCE = 2
END_TOLERANCE_S = 1.0
PLACES_NAMED = 4


class Gap(NamedTuple):
    """Two frames [s], and the number between them that did not decode or are missing."""

    start_s: float
    stop_s: float
    undecoded: int
    missed: int


class VideoTimes:
    """Stamps of the frames of one video, in ns since the first, and the gaps.

    tick: the container's unit of time, s; rate: its mean frames per second.

    A video of constant rate has its frames at whole multiples of 1 / rate, which a container with
    a coarse unit (1 ms in Matroska) rounds; a time that fits such a multiple within one unit is
    that multiple. Any other time is the container's own.
    """

    def __init__(self, tick: Fraction, rate: Fraction) -> None:
        self.ended = False
        self._tick, self._rate = tick, rate
        self._expected: set[int] = set()
        self._hidden: set[int | None] = set()
        self._newest: int | None = None
        self._frames = 0
        self._damaged = 0
        self._uneven = 0
        self._origin = Fraction(0)
        self._last = Fraction(0)
        self._gaps: list[Gap] = []

    @property
    def awaited(self) -> bool:
        """Whether frames were read that have not been decoded yet."""
        return bool(self._expected)

    def expect(self, pts: int | None, shown: bool = True) -> None:
        """Record a coded frame that was read.

        pts: its time in ticks, None: unknown; shown: whether it is displayed itself.
        """
        if not shown:
            self._hidden.add(pts)
        elif pts is not None and (self._newest is None or pts > self._newest):
            self._expected.add(pts)

    def stamp_ns(self, pts: int | None, damaged: bool = False) -> int:
        """Stamp of the next decoded frame, later than that of the frame before.

        pts: its time in ticks, None: unknown; damaged: parts of it are reconstructed.
        """
        due = self._last + 1 / self._rate if self._frames else Fraction(0)
        time = due
        if pts is not None:
            own = pts * self._tick
            if not self._frames or own - self._origin <= self._last:
                # The first one, or joined recordings, of which the next starts at 0 again.
                self._origin = own - due
            time = self._on_grid(own - self._origin)
            self._note_gap(time, self._undecoded(pts))
        self._frames += 1
        self._damaged += damaged
        self._last = time
        return round(time * 10**9)

    def losses(self, promised: int, length_s: float) -> str:
        """The missing frames as a sentence without subject and full stop; empty if none.

        promised: frames according to the container, 0: unknown; length_s: likewise.
        """
        gaps = self._gaps
        if self._uneven > max(UNEVEN_FEW, UNEVEN_SHARE * self._frames):
            gaps = [gap._replace(missed=0) for gap in gaps if gap.undecoded]
        told = []
        lost = sum(max(gap.undecoded, gap.missed) for gap in gaps)
        if lost:
            places = [f"{gap.start_s:.2f} to {gap.stop_s:.2f} s" for gap in gaps]
            named = ", ".join(places[:PLACES_NAMED])
            if len(places) > PLACES_NAMED:
                named += f" and {len(places) - PLACES_NAMED} more places"
            told.append(f"{_frames(lost)} missing at {named}")
        if self._damaged:
            told.append(f"{_frames(self._damaged)} decoded with errors")
        if self.ended and (early := self._early(promised, length_s)):
            told.append(early)
        paused = lost and not (self._damaged or any(gap.undecoded for gap in gaps))
        head = "is damaged, or its recording was paused" if paused else "is damaged or cut off"
        return f"{head}: {'; '.join(told)}" if told else ""

    def _early(self, promised: int, length_s: float) -> str:
        """A text about a video that ends early; empty if it does not."""
        end_s = float(self._last + 1 / self._rate)
        known = self._frames + sum(gap.undecoded for gap in self._gaps) + len(self._hidden)
        unread = promised - known - len(self._expected) if promised else 0
        short_s = 0.0 if promised else length_s - end_s
        if not self._expected and unread <= END_TOLERANCE and short_s <= END_TOLERANCE_S:
            return ""
        whole = f" of {length_s:.2f} s" if length_s > end_s else ""
        count = f"{self._frames} of {promised}" if promised else f"{self._frames}"
        return f"it ends early, at {end_s:.2f} s{whole} with {count} frames"

    def _on_grid(self, time: Fraction) -> Fraction:
        grid = round(time * self._rate) / self._rate
        fits = abs(time - grid) < self._tick and (grid > self._last or not self._frames)
        return grid if fits else time

    def _undecoded(self, pts: int) -> int:
        """Number of frames before this one that are lost, because frames are decoded in order."""
        self._newest = pts
        passed = [expected for expected in self._expected if expected <= pts]
        self._expected.difference_update(passed)
        return sum(expected < pts for expected in passed)

    def _note_gap(self, time: Fraction, undecoded: int) -> None:
        apart = time - self._last if self._frames else Fraction(0)
        missed = max(0, round(apart * self._rate) - 1)
        self._uneven += not EVEN[0] <= apart * self._rate <= EVEN[1]
        if undecoded or (missed and apart >= LONG_S):
            self._gaps.append(Gap(float(self._last), float(time), undecoded, missed))


def _frames(count: int) -> str:
    return "1 frame is" if count == 1 else f"{count} frames are"
