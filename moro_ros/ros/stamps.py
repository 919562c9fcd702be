"""The stamps of images: their order and their clock."""

from __future__ import annotations

import math
import time
from datetime import datetime, timezone

from builtin_interfaces.msg import Time
from rclpy.clock import Clock

from moro_ros.errors import ImageError
from moro_ros.ros import faults
from moro_ros.ros.conversions import stamp_to_ns

# After this many consecutive images older than the newest one, the clock was set back or a short
# recording loops: the images are not out of order.
LATE_IN_ROW = 10
# Stamps farther in the past or future [s] are from another clock; no image takes this long.
OLDEST_S = 60.0
# The message published when images stop describes the last image. Its stamp is this much later,
# so that readers that skip repeated stamps still use it.
AFTER_LAST_NS = 1
# The clocks of two unsynchronised machines usually differ by less than this.
AHEAD_S = 1.0


class StampOrder:
    """Distinguishes images out of order from a jump back in time; one instance per stream."""

    def __init__(self) -> None:
        self._newest_ns: int | None = None
        self._late = 0

    def jump(self, stamp_ns: int, max_gap_s: float) -> float:
        """Check the stamp of the next image; returns the seconds that time jumped back, else 0.

        An image that is up to max_gap_s older than the newest is out of order.
        Raises: ImageError for an image out of order, and for one that repeats the newest stamp.
        """
        newest_ns = stamp_ns if self._newest_ns is None else self._newest_ns
        back_s = (newest_ns - stamp_ns) * 1e-9
        if stamp_ns == self._newest_ns:
            raise ImageError(
                f"Two images have the stamp {stamp_ns * 1e-9:.6f} s. The driver must stamp every "
                "image with its acquisition time.",
                faults.REPEATED_STAMP,
            )
        if 0.0 < back_s <= max_gap_s and self._late + 1 < LATE_IN_ROW:
            self._late += 1
            raise ImageError(
                f"The image is {back_s:.3f} s older than one received before it. It is ignored; "
                "a driver should publish images in the order of their stamps.",
                faults.OUT_OF_ORDER,
            )
        self._newest_ns, self._late = stamp_ns, 0
        return max(0.0, back_s)


def latency_s(stamp: Time, clock: Clock) -> float:
    """Time since a stamp, s; NaN if the stamp is from another clock."""
    late_s = (clock.now().nanoseconds - stamp_to_ns(stamp)) * 1e-9
    return late_s if -AHEAD_S <= late_s <= OLDEST_S else math.nan


def foreign_clock(stamp_ns: int, now_ns: int, simulated: bool) -> str:
    """A text of the clock that a stamp seems to be from; empty for the clock of the node.

    now_ns: of the node's clock; simulated: whether that is /clock (use_sim_time).
    """
    if near(stamp_ns, now_ns):
        return ""
    if simulated and now_ns == 0:
        return "another clock: use_sim_time is set, but no /clock was received yet"
    clocks = {
        "the system clock, while this node uses /clock (use_sim_time)":
            time.time_ns(),
        "the time since boot (CLOCK_MONOTONIC)": time.monotonic_ns(),
    }  # fmt: skip
    if hasattr(time, "CLOCK_BOOTTIME"):  # Linux
        boot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        clocks["the time since boot (CLOCK_BOOTTIME)"] = boot_ns
    for name, clock_ns in clocks.items():
        if near(stamp_ns, clock_ns):
            return name
    off_s = (now_ns - stamp_ns) * 1e-9
    if off_s < 0.0:
        return f"a clock that is {-off_s:.1f} s ahead: synchronise the computers (chrony)"
    day = datetime.fromtimestamp(stamp_ns * 1e-9, timezone.utc)
    if day.year == 1970:
        return "a clock that starts with the device or the simulation instead of in 1970"
    return f"a recording's, of {day:%Y-%m-%d %H:%M} UTC: play it with /clock and use_sim_time"


def near(stamp_ns: int, clock_ns: int) -> bool:
    """Whether a stamp can be from a clock that reads clock_ns."""
    return -AHEAD_S <= (clock_ns - stamp_ns) * 1e-9 <= OLDEST_S
