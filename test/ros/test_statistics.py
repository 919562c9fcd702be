"""Counting and judging: slot, statistics and diagnostics."""

from __future__ import annotations

import json
import mmap

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus

from moro_ros.ros.diagnostics import Condition, HealthMonitor, Rates, diagnostic_array, memory
from moro_ros.ros.statistics import NodeStatistics, flatten


def test_snapshot_counts_and_gives_percentiles() -> None:
    statistics = NodeStatistics()
    empty = statistics.snapshot()
    assert empty["latency_s"] == {"p50": None, "p95": None} and empty["bad"] == {}
    for i in range(101):
        statistics.count("received")
        statistics.processed([1, 2] if i % 2 else [2, 5], [], i / 100, {"motion_s": i / 1000})
    assert [statistics.bad_frame("x"), statistics.bad_frame("x")] == [1, 2]
    now = statistics.snapshot()
    assert (now["received"], now["processed"], now["bad"]) == (101, 101, {"x": 2})
    assert (now["people"], now["people_seen"]) == (2, 3)
    assert now["latency_s"] == pytest.approx({"p50": 0.5, "p95": 0.95})
    assert now["stages_s"]["motion_s"]["p95"] == pytest.approx(0.095)
    assert json.loads(json.dumps(now)) == now


def test_diagnostics_carry_the_statistics_as_json_values() -> None:
    statistics = NodeStatistics()
    statistics.processed([1], [], 0.25, {"motion_s": 0.125})
    values = statistics.snapshot() | {"model": "fake"}
    array = diagnostic_array("n", values, DiagnosticStatus.OK, "fine", Time(sec=5))
    read = {item.key: item.value for item in array.status[0].values}
    assert read["model"] == "fake" == array.status[0].hardware_id
    assert json.loads(read["stages_s.motion_s.p50"]) == 0.125
    assert set(read) == set(flatten(values))


def test_health_is_judged_by_what_changed() -> None:
    statistics, monitor = NodeStatistics(), HealthMonitor()

    def judge(quiet_s: float | None = None) -> tuple[bytes, str]:
        return monitor.judge(statistics.snapshot(), Condition(quiet_s=quiet_s, fault="the fault"))

    assert judge() == (DiagnosticStatus.OK, "Waiting for images.")
    statistics.processed([1], [], 0.1, {})
    assert judge() == (DiagnosticStatus.OK, "1 people in view.")
    statistics.bad_frame("x")
    assert judge()[0] == DiagnosticStatus.ERROR
    statistics.bad_frame("x")
    statistics.processed([1], [], 0.1, {})
    level, message = judge()
    assert level == DiagnosticStatus.WARN and "the fault" in message
    statistics.count("idle")
    assert "no subscribers" in judge()[1]
    assert judge(3.0) == (DiagnosticStatus.WARN, "No image for 3.0 s.")
    assert judge() == (DiagnosticStatus.OK, "Waiting for images.")
    assert np.isfinite(statistics.snapshot()["uptime_s"])


def test_conditions_that_are_no_counters_are_judged() -> None:
    statistics, monitor = NodeStatistics(), HealthMonitor()

    def judge(**condition: object) -> tuple[bytes, str]:
        return monitor.judge(statistics.snapshot(), Condition(**condition))  # type: ignore[arg-type]

    assert judge(state="inactive", quiet_s=9.0) == (DiagnosticStatus.OK, "Inactive.")
    assert judge(qos_problems=("deaf",), quiet_s=9.0) == (DiagnosticStatus.ERROR, "deaf")
    assert judge(enabled=False) == (DiagnosticStatus.OK, "Disabled by ~/enable.")
    statistics.count("camera_moved")
    assert judge()[0] == DiagnosticStatus.WARN
    assert judge() == (DiagnosticStatus.OK, "Waiting for images.")


def test_rates_are_of_the_time_between_two_looks() -> None:
    rates = Rates(("received",))
    assert rates.since({"received": 7}, 10.0) == {"received_hz": 0.0}
    assert rates.since({"received": 67}, 12.0) == {"received_hz": 30.0}
    assert rates.since({"received": 67}, 12.0) == {"received_hz": 0.0}


def test_memory_is_that_of_this_process() -> None:
    # Memory of the system's own, for the process may have some left over from before.
    before = memory()["memory_bytes"]
    with mmap.mmap(-1, 64_000_000) as block:
        block.write(b"x" * len(block))
        assert memory()["memory_bytes"] - before > 0.9 * len(block)
