"""NewestSlot: hands the newest item from a producer to a consumer thread, dropping older ones."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class NewestSlot(Generic[T]):
    """A queue of one place whose item is overwritten; safe between threads.

    late: whether the item taken last had to wait, since its taker was busy.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: T | None = None
        self._closed = False
        self.late = False

    def put(self, item: T) -> bool:
        """Place an item; returns whether one that was never taken has been overwritten."""
        with self._condition:
            overwritten = self._item is not None
            self._item = item
            self._condition.notify()
            return overwritten

    def take(self) -> T | None:
        """Wait for an item and take it; None once the slot is closed."""
        with self._condition:
            self.late = self._item is not None
            self._condition.wait_for(lambda: self._item is not None or self._closed)
            if self._closed:
                return None
            item, self._item = self._item, None
            return item

    def close(self) -> None:
        """Wake the consumer up for the last time."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
