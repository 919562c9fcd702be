"""The /diagnostics message of a node: its statistics as values, and a level with a reason."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from moro_ros.ros.statistics import flatten

ACTIVE = "active"


def diagnostic_array(
    name: str, statistics: Mapping[str, Any], level: bytes, message: str, stamp: Time
) -> DiagnosticArray:
    """One status whose values are the flattened statistics, as JSON or as plain text."""
    status = DiagnosticStatus(name=name, level=level, message=message)
    status.hardware_id = str(statistics.get("model", ""))
    status.values = [
        KeyValue(key=key, value=value if isinstance(value, str) else json.dumps(value))
        for key, value in flatten(statistics).items()
    ]
    array = DiagnosticArray(status=[status])
    array.header.stamp = stamp
    return array


def memory() -> dict[str, int]:
    """Memory of this process in bytes: resident, and on the GPU if it uses one."""
    found = {}
    statm = Path("/proc/self/statm")
    if statm.exists():
        pages = int(statm.read_text(encoding="ascii").split()[1])
        found["memory_bytes"] = pages * os.sysconf("SC_PAGE_SIZE")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        found["gpu_memory_bytes"] = int(torch.cuda.memory_reserved())
    return found


class Rates:
    """Rates of growing counters between two calls."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._before: tuple[float, dict[str, int]] | None = None
        self._names = names

    def since(self, statistics: Mapping[str, Any], now_s: float) -> dict[str, float]:
        """<name>_hz of each counter since the last call; 0 at the first."""
        counts = {name: int(statistics[name]) for name in self._names}
        before_s, before = self._before or (now_s, counts)
        self._before = now_s, counts
        elapsed_s = now_s - before_s
        return {
            f"{name}_hz": (counts[name] - before[name]) / elapsed_s if elapsed_s > 0.0 else 0.0
            for name in self._names
        }


@dataclass(frozen=True, slots=True)
class Condition:
    """The condition of a node except for its counters.

    state: of the life cycle; quiet_s: seconds without an image if that is too long, else None;
    fault: text of the newest fault; qos_problems: texts about incompatible publishers;
    warnings: texts about problems with the received images.
    """

    state: str = ACTIVE
    enabled: bool = True
    quiet_s: float | None = None
    fault: str = ""
    qos_problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class HealthMonitor:
    """Derives the level from a node's condition and the changes since the last call."""

    def __init__(self) -> None:
        self._before: dict[str, Any] = {}

    def judge(self, statistics: Mapping[str, Any], condition: Condition) -> tuple[bytes, str]:
        """Level and message for /diagnostics."""
        flat = flatten(statistics)
        before, self._before = self._before, flat

        def grown(name: str) -> bool:
            return flat.get(name, 0) > before.get(name, 0)

        bad = any(grown(name) for name in flat if name.startswith("bad."))
        if condition.state != ACTIVE:
            return DiagnosticStatus.OK, f"{condition.state.capitalize()}."
        if condition.qos_problems:
            return DiagnosticStatus.ERROR, " ".join(condition.qos_problems)
        if condition.quiet_s is not None:
            quiet = f"No image for {condition.quiet_s:.1f} s."
            return DiagnosticStatus.WARN, " ".join((quiet, *condition.warnings))
        if bad and not grown("processed"):
            return DiagnosticStatus.ERROR, f"No image is usable: {condition.fault}"
        if bad:
            return DiagnosticStatus.WARN, f"Some images are not usable: {condition.fault}"
        if condition.warnings:
            return DiagnosticStatus.WARN, " ".join(condition.warnings)
        if grown("camera_moved"):
            return DiagnosticStatus.WARN, "The camera was moved; tracking restarts."
        if grown("unusable_poses"):
            return DiagnosticStatus.WARN, "Poses that are not finite were not published."
        if grown("unusable_transforms"):
            text = "Transforms of TF that are not finite were ignored; the log names the frames."
            return DiagnosticStatus.WARN, text
        if not condition.enabled:
            return DiagnosticStatus.OK, "Disabled by ~/enable."
        if grown("idle"):
            return DiagnosticStatus.OK, "Idle: the outputs have no subscribers."
        if grown("processed"):
            return DiagnosticStatus.OK, f"{flat['people']} people in view."
        return DiagnosticStatus.OK, "Waiting for images."
