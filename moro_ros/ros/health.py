"""Health: publishes the state of a node on /diagnostics and logs it, periodically."""

from __future__ import annotations

import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType, ROSClock

from moro_ros.ros.base_node import BaseNode
from moro_ros.ros.diagnostics import Condition, HealthMonitor, Rates, diagnostic_array, memory
from moro_ros.ros.outputs.registry import Outputs
from moro_ros.ros.qos import create_publisher
from moro_ros.ros.stamps import foreign_clock

DIAGNOSTICS_PERIOD_S = 1.0


class Health:
    """Publishes /diagnostics at 1 Hz in every state, and logs statistics while the node is active.

    It uses the steady clock, because a simulated one may stop or jump.
    """

    def __init__(self, node: BaseNode) -> None:
        self._node = node
        self._health = HealthMonitor()
        self._rates = Rates(("received", "processed"))
        self._publisher = create_publisher(node, DiagnosticArray, "/diagnostics", 10)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        node.create_timer(DIAGNOSTICS_PERIOD_S, self._diagnose, clock=steady)
        node.create_timer(DIAGNOSTICS_PERIOD_S, self._report, clock=steady)
        self._last_image_s = self._reported_s = time.monotonic()
        self._checked_s = self._last_image_s
        self._quiet = False
        self._flowing = False
        self._reported = 0
        self._stamp_clock = ""
        self._said: set[str] = set()

    def start(self) -> None:
        """Start to wait for images."""
        self._last_image_s, self._quiet, self._flowing = time.monotonic(), False, False

    def image_came(self, stamp_ns: int) -> None:
        """Record the arrival of an image with a stamp."""
        now_s, clock = time.monotonic(), self._node.get_clock()
        simulated = isinstance(clock, ROSClock) and clock.ros_time_is_active
        self._stamp_clock = foreign_clock(stamp_ns, clock.now().nanoseconds, simulated)
        if self._quiet:
            self._node.get_logger().info(
                f"Images are received again after {now_s - self._last_image_s:.1f} s."
            )
        self._quiet, self._flowing, self._last_image_s = False, True, now_s

    def summary(self) -> str:
        """The counters so far as a sentence."""
        now = self._node.counters.snapshot()
        text = (
            f"{now['received']} images received, {now['processed']} processed, "
            f"{now['dropped']} dropped, {sum(now['bad'].values())} bad; {now['people']} people in "
            f"view, {now['people_seen']} so far"
        )
        latency = now["latency_s"]
        if latency["p50"] is not None:
            p50, p95 = latency["p50"] * 1e3, latency["p95"] * 1e3
            text += f"; latency p50 {p50:.0f} ms, p95 {p95:.0f} ms"
        return text + "."

    def _diagnose(self) -> None:
        node = self._node
        now_s = time.monotonic()
        pause_s = now_s - self._last_image_s
        if node.input is not None:
            node.input.tend()
        self._tell_pause(now_s)
        quiet = node.input is not None and pause_s > node.options.image_timeout_s
        if quiet and not self._quiet and node.input is not None:
            self._quiet = True
            node.get_logger().warning(f"No image for {pause_s:.1f} s: {node.input.why_quiet()}")
        warnings = self._warnings()
        self._say(warnings)
        # The placement itself logs these.
        unplaced = () if node.outputs is None else node.outputs.placement.problems
        statistics = node.statistics()
        statistics |= self._rates.since(statistics, now_s) | self._state() | memory()
        condition = Condition(
            state=node.state,
            enabled=node.enabled,
            quiet_s=pause_s if quiet else None,
            fault=node.faults.newest,
            qos_problems=() if node.input is None else node.input.problems,
            warnings=(*warnings.values(), *unplaced),
        )
        level, message = self._health.judge(statistics, condition)
        name = f"{node.get_fully_qualified_name()}: human motion"
        stamp = node.get_clock().now().to_msg()
        self._publisher.publish(diagnostic_array(name, statistics, level, message, stamp))

    def _tell_pause(self, now_s: float) -> None:
        """Report all people as lost once if no image arrives for motion.max_gap_s."""
        # After a long callback, images may be waiting: they are received before the next call.
        delayed = now_s - self._checked_s > 1.5 * DIAGNOSTICS_PERIOD_S
        self._checked_s = now_s
        pause_s = now_s - self._last_image_s
        if self._flowing and not delayed and pause_s > self._node.config.motion.max_gap_s:
            self._flowing = False
            if self._node.worker is not None:
                self._node.worker.images_stopped()

    def _state(self) -> dict[str, Any]:
        """The condition except for counters: state, calibration, QoS, topics."""
        node = self._node
        perception = node.perception
        return {
            "state": node.state,
            "enabled": node.enabled,
            "calibration": "none" if perception is None else perception.calibration,
            "ground": "" if node.outputs is None else ground_state(node.outputs),
            "depth": "" if perception is None else perception.depth,
            "floor_ignored": "" if perception is None else perception.ignored_floor,
            "qos": " ".join(node.input.problems) if node.input is not None else "",
            "stamp_clock": "" if node.input is None else self._stamp_clock,
        }

    def _warnings(self) -> dict[str, str]:
        """Texts of problems with the input while images are processed, by kind."""
        node = self._node
        found: dict[str, str] = {}
        if node.input is None or node.perception is None:
            return found
        if loss := node.input.loss:
            found["loss"] = loss
        if flapping := node.perception.flapping:
            names = node.input.info_publishers
            many = f" It is published by {', '.join(names)}." if len(names) > 1 else ""
            found["flapping"] = flapping + many
        if boxless := node.perception.boxes_problem:
            found["boxes"] = boxless
        for kind, problem in node.perception.depth_problems.items():
            found[f"depth {kind}"] = f"Depth is not used: {problem}"
        if ignored := node.perception.ignored_floor:
            found["floor"] = ignored
        if wrong := node.perception.wrong_statures:
            found["stature"] = wrong
        if self._stamp_clock:
            found["clock"] = (
                f"The images' stamps are not from this node's clock but seem to be from "
                f"{self._stamp_clock}. The latency and the age of the people are unknown. "
                "Configure the driver to stamp images with ROS time."
            )
        return found

    def _say(self, warnings: dict[str, str]) -> None:
        """Log each kind of warning once when it appears."""
        for kind in warnings.keys() - self._said:
            self._node.get_logger().warning(warnings[kind])
        self._said = set(warnings)

    def _report(self) -> None:
        now_s, period_s = time.monotonic(), self._node.options.log_period_s
        # A timer that fires slightly early must not wait for its next period.
        if now_s - self._reported_s < period_s - 0.5 * DIAGNOSTICS_PERIOD_S:
            return
        processed = self._node.counters.snapshot()["processed"]
        if processed != self._reported:
            rate_hz = (processed - self._reported) / (now_s - self._reported_s)
            self._node.get_logger().info(f"{rate_hz:.1f} Hz; {self.summary()}")
        self._reported, self._reported_s = processed, now_s


def ground_state(outputs: Outputs) -> str:
    """A text of the source of the ground."""
    if outputs.placement.ground_frame:
        return f"TF frame {outputs.placement.ground_frame}"
    if outputs.ground.plane is None:
        return "unknown"
    words = "kept" if outputs.ground.kept else "learned"
    if step_m := outputs.ground.step_m:
        words += f"; feet stand at two heights, {abs(step_m):.2f} m apart"
    return words
