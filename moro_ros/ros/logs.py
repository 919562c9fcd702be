"""What the library logs, said through the node's logger (console, file and /rosout)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from rclpy.impl.rcutils_logger import RcutilsLogger

# Of the node that this thread works for, where a process has several.
_speaker: ContextVar[RcutilsLogger] = ContextVar("moro_speaker")


class RosLogHandler(logging.Handler):
    """Hands log records of the package on to a ROS logger."""

    def __init__(self, logger: RcutilsLogger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Say one record at the ROS severity that is next below its level."""
        text, logger = record.getMessage(), _speaker.get(self._logger)
        # rclpy ties each line of code to one severity: hence four lines.
        if record.levelno >= logging.ERROR:
            logger.error(text)
        elif record.levelno >= logging.WARNING:
            logger.warning(text)
        elif record.levelno >= logging.INFO:
            logger.info(text)
        else:
            logger.debug(text)


def forward_library_logs(logger: RcutilsLogger) -> None:
    """Say everything from INFO up that the package logs through `logger`, and only there."""
    library = logging.getLogger("moro_ros")
    library.handlers = [RosLogHandler(logger)]
    library.setLevel(logging.INFO)
    library.propagate = False


@contextmanager
def speaking_as(logger: RcutilsLogger) -> Iterator[None]:
    """Log what the package logs in this block, and in this thread, through one node's logger."""
    token = _speaker.set(logger)
    try:
        yield
    finally:
        _speaker.reset(token)
