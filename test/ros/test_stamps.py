"""Images out of order are left out, a time that jumps back is one; other clocks are named."""

from __future__ import annotations

import math
import time

import pytest
from rclpy.clock import Clock, ClockType

from moro_ros.errors import ImageError
from moro_ros.ros import faults
from moro_ros.ros.conversions import ns_to_stamp
from moro_ros.ros.stamps import LATE_IN_ROW, StampOrder, foreign_clock, latency_s

MS = 1_000_000
START = 1_700_000_000 * 1000 * MS


def test_an_image_a_little_late_is_left_out_and_the_newest_stays_the_newest() -> None:
    order = StampOrder()
    assert order.jump(START, 1.0) == order.jump(START + 100 * MS, 1.0) == 0.0
    for late in (60 * MS, 0, 99 * MS):
        with pytest.raises(ImageError, match="older than one received before") as error:
            order.jump(START + late, 1.0)
        assert error.value.reason == faults.OUT_OF_ORDER
    with pytest.raises(ImageError, match="have the stamp") as error:
        order.jump(START + 100 * MS, 1.0)
    assert error.value.reason == faults.REPEATED_STAMP
    assert order.jump(START + 101 * MS, 1.0) == 0.0


def test_a_loop_is_a_jump_and_so_is_a_short_one_that_does_not_end() -> None:
    order = StampOrder()
    order.jump(START, 1.0)
    assert order.jump(START - 5000 * MS, 1.0) == pytest.approx(5.0)
    assert order.jump(START - 4900 * MS, 1.0) == 0.0
    # A clip of half a second that loops would be silent for ever.
    taken = []
    for i in range(3 * LATE_IN_ROW):
        try:
            taken.append(order.jump(START - (5300 - 20 * i) * MS, 1.0))
        except ImageError:
            assert not taken
    assert taken[0] == pytest.approx(0.4 - 0.02 * (LATE_IN_ROW - 1))
    assert taken[1:] == [0.0] * (2 * LATE_IN_ROW)


def test_one_image_in_eight_out_of_order_never_restarts() -> None:
    order, dropped = StampOrder(), 0
    for i in range(80):
        late = 75 if i % 8 == 7 else 0
        try:
            assert order.jump(START + (33 * i - late) * MS, 1.0) == 0.0
        except ImageError:
            dropped += 1
    assert dropped == 10


def clock_named(stamp_ns: int, simulated: bool = False, now_ns: int | None = None) -> str:
    return foreign_clock(stamp_ns, time.time_ns() if now_ns is None else now_ns, simulated)


def test_the_clock_of_a_stamp_is_named() -> None:
    now_ns = time.time_ns()
    assert clock_named(now_ns) == clock_named(now_ns - 20_000 * MS) == ""
    assert "CLOCK_MONOTONIC" in clock_named(time.monotonic_ns())
    assert "1.0 s" not in clock_named(now_ns + 500 * MS)
    assert "90.0 s ahead: synchronise" in clock_named(now_ns + 90_000 * MS, now_ns=now_ns)
    assert "starts with the device" in clock_named(10**9 * 3_000_000)
    assert "a recording's, of 2023-11-14 22:13 UTC" in clock_named(START)
    assert "the system clock, while" in clock_named(now_ns, True, 5 * 10**9)
    assert "no /clock was received" in clock_named(now_ns, True, 0)
    assert clock_named(7 * 10**9, True, 7 * 10**9 + 30 * MS) == ""


def test_the_latency_of_another_clock_is_unknown() -> None:
    clock = Clock(clock_type=ClockType.SYSTEM_TIME)
    late = latency_s(ns_to_stamp(time.time_ns() - 250 * MS), clock)
    assert 0.25 <= late < 10.0
    assert math.isnan(latency_s(ns_to_stamp(time.monotonic_ns()), clock))
    assert math.isnan(latency_s(ns_to_stamp(time.time_ns() + 3_600_000 * MS), clock))
