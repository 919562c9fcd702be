"""Worker: the thread that looks at the newest image, over and over."""

from __future__ import annotations

import math
import threading
import time
import traceback
from collections.abc import Callable

from rclpy.impl.rcutils_logger import RcutilsLogger

from moro_ros.errors import MoroError
from moro_ros.inference.slot import NewestSlot
from moro_ros.ros import faults
from moro_ros.ros.bridge import AnyImage
from moro_ros.ros.statistics import NodeStatistics

# A fault is logged when it first occurs, and then at most this often.
FAULT_LOG_PERIOD_S = 5.0


class Worker:
    """Takes the newest image and processes it in a thread of its own until it is stopped.

    process: called with each image taken and whether it had to wait, this thread being busy; a
    MoroError of it is counted, logged and survived.
    on_failure: called once after any other error, which ends the thread.
    busy: held while an image is in work; whoever else touches what process uses has to hold it.
    last_fault: the newest fault in words.
    """

    def __init__(
        self,
        process: Callable[[AnyImage, bool], None],
        statistics: NodeStatistics,
        logger: RcutilsLogger,
        on_failure: Callable[[], None],
    ) -> None:
        self.busy = threading.Lock()
        self.last_fault = ""
        self._process = process
        self._statistics = statistics
        self._logger = logger
        self._on_failure = on_failure
        self._fault_logged_s: dict[str, float] = {}
        self._slot: NewestSlot[AnyImage] = NewestSlot()
        self._thread = threading.Thread(target=self._work, name="moro_worker", daemon=True)
        self._thread.start()

    def put(self, image: AnyImage) -> None:
        """Hand over an image; one that was not taken yet is dropped for it."""
        if self._slot.put(image):
            self._statistics.count("dropped")

    def stop(self) -> None:
        """Finish the image in work; the one that waits, if any, is dropped."""
        self._slot.close()
        self._thread.join()

    def _work(self) -> None:
        while (image := self._slot.take()) is not None:
            try:
                with self.busy:
                    self._process(image, self._slot.late)
            except MoroError as error:
                self._report(error)
            except Exception:
                self._logger.fatal(f"Unexpected error, stopping:\n{traceback.format_exc()}")
                self._on_failure()
                return

    def _report(self, error: MoroError) -> None:
        reason = faults.reason_of(error)
        times = self._statistics.bad_frame(reason)
        self.last_fault = str(error)
        now = time.monotonic()
        if now - self._fault_logged_s.get(reason, -math.inf) >= FAULT_LOG_PERIOD_S:
            self._fault_logged_s[reason] = now
            self._logger.warning(f"Image skipped ({reason}, {times} so far): {error}")
