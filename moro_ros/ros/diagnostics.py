"""The /diagnostics message of a node: its statistics as values, and a level with a reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from moro_ros.ros.statistics import flatten


def diagnostic_array(
    name: str, statistics: Mapping[str, Any], level: bytes, message: str, stamp: Time
) -> DiagnosticArray:
    """One status whose values are the flattened statistics, each value as JSON."""
    status = DiagnosticStatus(name=name, level=level, message=message)
    status.hardware_id = str(statistics.get("model", ""))
    status.values = [
        KeyValue(key=key, value=value if isinstance(value, str) else json.dumps(value))
        for key, value in flatten(statistics).items()
    ]
    array = DiagnosticArray(status=[status])
    array.header.stamp = stamp
    return array


class HealthMonitor:
    """Judges a node by what changed in its statistics since the last judgement."""

    def __init__(self) -> None:
        self._before: dict[str, Any] = {}

    def judge(
        self, statistics: Mapping[str, Any], quiet_s: float | None, fault: str
    ) -> tuple[bytes, str]:
        """Level and message for /diagnostics.

        quiet_s: seconds without an image where that is too long, else None; fault: the newest
        fault in words.
        """
        flat = flatten(statistics)
        before, self._before = self._before, flat

        def grown(name: str) -> bool:
            return flat.get(name, 0) > before.get(name, 0)

        bad = any(grown(name) for name in flat if name.startswith("bad."))
        if quiet_s is not None:
            return DiagnosticStatus.WARN, f"No image for {quiet_s:.1f} s."
        if bad and not grown("processed"):
            return DiagnosticStatus.ERROR, f"No image is usable: {fault}"
        if bad:
            return DiagnosticStatus.WARN, f"Some images are not usable: {fault}"
        if grown("idle"):
            return DiagnosticStatus.OK, "Idle: nobody subscribes to the outputs."
        if grown("processed"):
            return DiagnosticStatus.OK, f"{flat['people']} people in view."
        return DiagnosticStatus.OK, "Waiting for images."
