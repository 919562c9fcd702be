"""Interruption: Ctrl-C and SIGTERM in a long computation whose results so far are worth keeping."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any


class Interruption:
    """In a with block the first signal is only noted; the next raises KeyboardInterrupt at once.

    patience: how many signals are only noted. number: the signal that came last, 0: none so far.
    Signal handlers belong to the main thread, and so does this.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self, patience: int = 1) -> None:
        self.number = 0
        self._patience = patience
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        self._before = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def status(self) -> int:
        """The exit status by which a shell knows the signal; 0: none came."""
        return 128 + self.number if self.number else 0

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.number = number
        self._patience -= 1
        if self._patience < 0:
            raise KeyboardInterrupt
