"""NodeStatistics: what happened to the images of a node, counted by several threads."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

import numpy as np

# Latencies and stage times are kept for so many of the newest images.
WINDOW = 3000


class NodeStatistics:
    """Counters since the start, and times of the newest WINDOW processed images."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._bad: Counter[str] = Counter()
        self._latencies: deque[float] = deque(maxlen=WINDOW)
        self._stages: dict[str, deque[float]] = {}
        self._people_now = 0
        self._ids_seen: set[int] = set()
        self._start = time.monotonic()

    def count(self, event: str, times: int = 1) -> None:
        """Count received, dropped, idle, resets or ignored_people."""
        with self._lock:
            self._counts[event] += times

    def bad_frame(self, reason: str) -> int:
        """Count a frame that could not be used; returns how often this reason occurred."""
        with self._lock:
            self._bad[reason] += 1
            return self._bad[reason]

    def processed(self, ids: list[int], latency_s: float, stage_s: Mapping[str, float]) -> None:
        """Count a processed image with the people in it, its latency and its time per stage."""
        with self._lock:
            self._counts["processed"] += 1
            self._people_now = len(ids)
            self._ids_seen.update(ids)
            self._latencies.append(latency_s)
            for name, seconds in stage_s.items():
                self._stages.setdefault(name, deque(maxlen=WINDOW)).append(seconds)

    def snapshot(self) -> dict[str, Any]:
        """Everything as nested dicts of numbers, ready for JSON.

        received, processed, dropped (overwritten by a newer image), idle (nobody subscribed),
        resets (of the windows), ignored_people (found beyond max_people), bad: frames by reason;
        people: in view now, people_seen: ids so far; latency_s: image stamp -> publication, p50
        and p95; stages_s: p50 and p95 by stage; uptime_s. Times are null before the first image.
        """
        with self._lock:
            names = ("received", "processed", "dropped", "idle", "resets", "ignored_people")
            return {
                **{name: self._counts[name] for name in names},
                "bad": dict(self._bad),
                "people": self._people_now,
                "people_seen": len(self._ids_seen),
                "latency_s": _percentiles(self._latencies),
                "stages_s": {name: _percentiles(v) for name, v in self._stages.items()},
                "uptime_s": time.monotonic() - self._start,
            }


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one dict with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _percentiles(values: deque[float]) -> dict[str, float | None]:
    if not values:
        return {"p50": None, "p95": None}
    p50, p95 = np.percentile(np.array(values), [50, 95])
    return {"p50": float(p50), "p95": float(p95)}
