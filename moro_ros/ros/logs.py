"""Forwards the library's log records to the node's logger (console, file and /rosout)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from rclpy.impl.rcutils_logger import RcutilsLogger

# The logger of the node that this thread belongs to, if a process has several nodes.
_speaker: ContextVar[RcutilsLogger] = ContextVar("moro_speaker")


class RosLogHandler(logging.Handler):
    """Forwards log records of the package to a ROS logger."""

    def __init__(self, logger: RcutilsLogger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record at the ROS severity at or below its level."""
        text, logger = record.getMessage(), _speaker.get(self._logger)
        # rclpy allows one severity per line of code, so there are four lines.
        if record.levelno >= logging.ERROR:
            logger.error(text)
        elif record.levelno >= logging.WARNING:
            logger.warning(text)
        elif record.levelno >= logging.INFO:
            logger.info(text)
        else:
            logger.debug(text)


def forward_library_logs(logger: RcutilsLogger) -> None:
    """Forward all records of the package from INFO up to `logger` only."""
    library = logging.getLogger("moro_ros")
    library.handlers = [RosLogHandler(logger)]
    library.setLevel(logging.INFO)
    library.propagate = False


@contextmanager
def speaking_as(logger: RcutilsLogger) -> Iterator[None]:
    """Forward the package's records of this block and thread to one node's logger."""
    token = _speaker.set(logger)
    try:
        yield
    finally:
        _speaker.reset(token)
