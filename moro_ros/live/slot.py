"""NewestSlot: hands the newest item from a producer to a consumer thread, dropping older ones."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class NewestSlot(Generic[T]):
    """A queue with one place per kind of item, where a new item replaces the one before.

    Items are taken in the order in which they were placed. Safe between threads.
    late: whether the item taken last had to wait, since its taker was busy.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        # A dict keeps its keys in the order in which they were added.
        self._items: dict[str, T] = {}
        self._closed = False
        self.late = False

    def put(self, item: T, kind: str = "") -> bool:
        """Place an item; returns whether it replaced one of its kind that was never taken."""
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
        """Wake the consumer up for the last time."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
