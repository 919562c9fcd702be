"""Faults of single images: the reasons why an image is unusable, and their counters."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable

from rclpy.impl.rcutils_logger import RcutilsLogger

from moro_ros.errors import MoroError
from moro_ros.ros.statistics import NodeStatistics

# A fault is logged when it first occurs, then at most once per period [s].
LOG_PERIOD_S = 5.0

# Reasons as they appear in the diagnostics (bad.<reason>); image_data.py and camera_check.py have
# others.
NO_CAMERA_INFO = "no_camera_info"
CAMERA_SIZE = "camera_info_size"
REPEATED_STAMP = "repeated_stamp"
OUT_OF_ORDER = "out_of_order"


class FaultLog:
    """Counts and logs faults of images; may be called from any thread.

    on_failure: called after an unexpected error. newest: text of the newest fault.
    """

    def __init__(
        self, statistics: NodeStatistics, logger: RcutilsLogger, on_failure: Callable[[], None]
    ) -> None:
        self.newest = ""
        self._statistics = statistics
        self._logger = logger
        self._on_failure = on_failure
        self._logged_s: dict[str, float] = {}

    def take(self, error: Exception) -> None:
        """Record the error of one image. A MoroError is counted; any other error ends the node."""
        if not isinstance(error, MoroError):
            words = "".join(traceback.format_exception(error))
            self._logger.fatal(f"Unexpected error, stopping:\n{words}")
            self._on_failure()
            return
        reason = error.reason
        times = self._statistics.bad_frame(reason)
        self.newest = str(error)
        now = time.monotonic()
        if now - self._logged_s.get(reason, -math.inf) >= LOG_PERIOD_S:
            self._logged_s[reason] = now
            self._logger.warning(f"Image skipped ({reason}, {times} so far): {error}")
