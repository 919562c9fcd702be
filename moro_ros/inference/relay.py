"""Relay: what remains to be done for one image goes on in a thread while the next is looked at."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait


class Relay:
    """Does one piece of work at a time in a thread of its own, in the order they are handed over.

    Nothing queues up: who hands over waits for the piece before, so that what comes after it is as
    new as can be. For one caller at a time; the thread ends with the last reference to the relay.
    """

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, name)
        self._work: Future[None] | None = None

    def hand_over(self, work: Callable[[], None]) -> None:
        """Have a piece of work done; raises what went wrong in the one before."""
        before = self._work
        self.rest()
        self._work = self._thread.submit(work)
        if before is not None:
            before.result()

    def rest(self) -> None:
        """Wait until nothing is in work."""
        if self._work is not None:
            wait([self._work])
