"""Worker: the thread that processes the newest image, over and over."""

from __future__ import annotations

import threading
from collections.abc import Callable

from rclpy.impl.rcutils_logger import RcutilsLogger

from moro_ros.errors import MoroError
from moro_ros.live.slot import NewestSlot
from moro_ros.ros.bridge import AnyImage
from moro_ros.ros.faults import FaultLog
from moro_ros.ros.logs import speaking_as
from moro_ros.ros.statistics import NodeStatistics


class Worker:
    """Takes the newest image and processes it in a thread of its own until it is stopped.

    process: called with each image taken and whether it had to wait, this thread being busy.
    pause: called once for each call of `images_stopped`, in its turn between the images.
    Errors of both go to `faults`; a MoroError is survived, any other ends the thread.
    logger: of the node; the library's log messages go to it meanwhile.
    busy: held while either works; whoever else touches what they use has to hold it.
    """

    def __init__(
        self,
        process: Callable[[AnyImage, bool], None],
        pause: Callable[[], None],
        statistics: NodeStatistics,
        faults: FaultLog,
        logger: RcutilsLogger,
    ) -> None:
        self.busy = threading.Lock()
        self._process, self._pause = process, pause
        self._statistics = statistics
        self._faults = faults
        self._logger = logger
        self._slot: NewestSlot[AnyImage | Callable[[], None]] = NewestSlot()
        self._thread = threading.Thread(target=self._work, name="moro_worker", daemon=True)
        self._thread.start()

    def put(self, image: AnyImage) -> None:
        """Hand over an image; one that was not taken yet is dropped for it."""
        if self._slot.put(image):
            self._statistics.count("dropped")

    def images_stopped(self) -> None:
        """Have `pause` called after the images handed over so far and before any later one."""
        self._slot.put(self._pause, "pause")

    def stop(self) -> None:
        """Finish the image in work; the one that waits, if any, is dropped."""
        self._slot.close()
        self._thread.join()

    def _work(self) -> None:
        while (item := self._slot.take()) is not None:
            try:
                with self.busy, speaking_as(self._logger):
                    if callable(item):
                        item()
                    else:
                        self._process(item, self._slot.late)
            except Exception as error:
                self._faults.take(error)
                if not isinstance(error, MoroError):
                    return
