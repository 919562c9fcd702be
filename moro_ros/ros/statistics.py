"""NodeStatistics: counters of the images of a node, for several threads."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

# Number of the newest images whose latencies and stage times are kept.
WINDOW = 3000
EVENTS = (
    "received", "processed", "dropped", "idle", "disabled", "resets", "camera_moved",
    "ignored_people", "small_people", "pictures", "carried", "held", "ids_lost",
    "lost_in_transport", "unusable_poses", "unusable_transforms",
)  # fmt: skip


class Recent:
    """The newest WINDOW numbers, in an array of fixed size."""

    def __init__(self) -> None:
        self._values = np.full(WINDOW, np.nan)
        self._count = 0

    def append(self, value: float) -> None:
        """Add a number; it replaces the oldest."""
        self._values[self._count % WINDOW] = value
        self._count += 1

    def percentiles(self) -> dict[str, float | None]:
        """p50 and p95; None before the first number."""
        if not self._count:
            return {"p50": None, "p95": None}
        p50, p95 = np.percentile(self._values[: self._count], [50, 95])
        return {"p50": float(p50), "p95": float(p95)}


class NodeStatistics:
    """Counters since the start, and times of the newest WINDOW processed images."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._bad: Counter[str] = Counter()
        self._latencies = Recent()
        self._stages: defaultdict[str, Recent] = defaultdict(Recent)
        self._people_now = 0
        self._window_fill = 0.0
        self._ids_known: set[int] = set()
        self._ids_seen = 0
        self._start = time.monotonic()

    def count(self, event: str, times: int = 1) -> None:
        """Count one of the EVENTS."""
        with self._lock:
            self._counts[event] += times

    def bad_frame(self, reason: str) -> int:
        """Count an unusable frame; returns how often this reason occurred."""
        with self._lock:
            self._bad[reason] += 1
            return self._bad[reason]

    def processed(
        self,
        ids: Iterable[int],
        lost: Iterable[int],
        latency_s: float,
        stage_s: Mapping[str, float],
        window_fill: float = 0.0,
    ) -> None:
        """Count a processed image with the people in it, its latency and its time per stage.

        lost: ids that ended with it; ids are never reused. latency_s: NaN if it is unknown.
        window_fill: how full the windows are on average, 0 to 1.
        """
        with self._lock:
            self._counts["processed"] += 1
            self._window_fill = window_fill
            now, ended = set(ids), set(lost)
            self._people_now = len(now)
            self._ids_seen += len(now - self._ids_known)
            self._ids_known |= now
            self._end(ended)
            if not math.isnan(latency_s):
                self._latencies.append(latency_s)
            for name, seconds in stage_s.items():
                self._stages[name].append(seconds)

    def lost(self, ids: Iterable[int]) -> None:
        """Count ids that ended between two images; this ends all tracks in view."""
        with self._lock:
            self._people_now, self._window_fill = 0, 0.0
            self._end(set(ids))

    def _end(self, ids: set[int]) -> None:
        self._ids_known -= ids
        self._counts["ids_lost"] += len(ids)

    def snapshot(self) -> dict[str, Any]:
        """Everything as nested dicts of numbers, ready for JSON.

        received, processed, dropped (overwritten by a newer image), idle (nobody subscribed),
        disabled (by ~/enable), resets (of the windows), camera_moved, ignored_people (found beyond
        max_people), small_people (found while nobody was followed, detector.smallest_person),
        pictures (people who never moved, tracker.picture_s), carried (people not looked at for want
        of time, detector.look_share), held (poses held back, motion.max_speed_mps), unusable_poses
        (not finite, not published), unusable_transforms (of TF, not finite or without a rotation,
        left out), lost_in_transport (images that the middleware says it lost), bad: frames by
        reason; people: in view now, people_seen: ids so far, ids_lost: those whose track ended;
        window_fill: how full the windows are, 0 to 1; latency_s: image stamp -> publication, p50
        and p95; stages_s: p50 and p95 by stage; uptime_s. Times are null before the first image,
        and the latency where stamps are of another clock.
        """
        with self._lock:
            return {
                **{name: self._counts[name] for name in EVENTS},
                "bad": dict(self._bad),
                "people": self._people_now,
                "people_seen": self._ids_seen,
                "window_fill": self._window_fill,
                "latency_s": self._latencies.percentiles(),
                "stages_s": {name: recent.percentiles() for name, recent in self._stages.items()},
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
