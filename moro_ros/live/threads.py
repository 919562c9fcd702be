"""Hand-over between threads: the newest item for a consumer, and a worker for one job at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Generic, TypeVar

T = TypeVar("T")


class NewestSlot(Generic[T]):
    """A queue with one slot per kind of item, in which a new item replaces the one before.

    Items are taken in the order in which they were placed. Safe between threads.
    late: whether the last item had to wait because the consumer was busy.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        # A dict keeps its keys in the order in which they were added.
        self._items: dict[str, T] = {}
        self._closed = False
        self.late = False

    def put(self, item: T, kind: str = "") -> bool:
        """Put an item; returns whether it replaced one of its kind that was never taken."""
        with self._condition:
            overwritten = self._items.pop(kind, None) is not None
            self._items[kind] = item
            self._condition.notify()
            return overwritten

    def take(self) -> T | None:
        """Wait for an item and take it; None once the slot is closed."""
        with self._condition:
            self.late = bool(self._items)
            self._condition.wait_for(lambda: self._items or self._closed)
            if self._closed:
                return None
            return self._items.pop(next(iter(self._items)))

    def close(self) -> None:
        """Close the queue and wake the consumer."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()


class Relay:
    """Runs one job at a time in a separate thread, in the order of the calls.

    There is no queue: `hand_over` waits for the previous job, so later jobs use the newest data.
    For one caller at a time; the thread ends with the last reference to the relay.

    on_error: called in the relay's thread with the error of a job as soon as it fails. Without it,
    the next call of `hand_over` or `rest` raises the error.
    """

    def __init__(self, name: str, on_error: Callable[[Exception], None] | None = None) -> None:
        self._thread = ThreadPoolExecutor(1, name)
        self._on_error = on_error
        self._work: Future[None] | None = None

    def hand_over(self, work: Callable[[], None]) -> None:
        """Run a job, even if the one before has failed."""
        before = self._work
        if before is not None:
            wait([before])
        # A context variable holds the node for which messages are logged.
        self._work = self._thread.submit(copy_context().run, self._do, work)
        if before is not None:
            before.result()

    def rest(self) -> None:
        """Wait until no job is running."""
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
