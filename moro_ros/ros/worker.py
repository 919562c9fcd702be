"""Worker: the thread that looks at the newest image, over and over."""

from __future__ import annotations

import threading
from collections.abc import Callable

from moro_ros.errors import MoroError
from moro_ros.inference.slot import NewestSlot
from moro_ros.ros.bridge import AnyImage
from moro_ros.ros.faults import FaultLog
from moro_ros.ros.statistics import NodeStatistics


class Worker:
    """Takes the newest image and processes it in a thread of its own until it is stopped.

    process: called with each image taken and whether it had to wait, this thread being busy. Its
    errors go to `faults`; a MoroError is survived, any other ends the thread.
    busy: held while an image is in work; whoever else touches what process uses has to hold it.
    """

    def __init__(
        self,
        process: Callable[[AnyImage, bool], None],
        statistics: NodeStatistics,
        faults: FaultLog,
    ) -> None:
        self.busy = threading.Lock()
        self._process = process
        self._statistics = statistics
        self._faults = faults
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
            except Exception as error:
                self._faults.take(error)
                if not isinstance(error, MoroError):
                    return
