"""Relay: what remains to be done for one image goes on in a thread while the next is looked at."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context


class Relay:
    """Does one piece of work at a time in a thread of its own, in the order they are handed over.

    Nothing queues up: who hands over waits for the piece before, so that what comes after it is as
    new as can be. For one caller at a time; the thread ends with the last reference to the relay.

    on_error: called in the relay's thread with the error of a piece of work, as soon as it fails.
    Without it the error is raised by whichever of `hand_over` and `rest` comes next.
    """

    def __init__(self, name: str, on_error: Callable[[Exception], None] | None = None) -> None:
        self._thread = ThreadPoolExecutor(1, name)
        self._on_error = on_error
        self._work: Future[None] | None = None

    def hand_over(self, work: Callable[[], None]) -> None:
        """Have a piece of work done, also where the one before has failed."""
        before = self._work
        if before is not None:
            wait([before])
        # A context variable says for which node something is logged.
        self._work = self._thread.submit(copy_context().run, self._do, work)
        if before is not None:
            before.result()

    def rest(self) -> None:
        """Wait until nothing is in work."""
        before, self._work = self._work, None
        if before is not None:
            before.result()

    def _do(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            if self._on_error is None:
                raise
            self._on_error(error)
