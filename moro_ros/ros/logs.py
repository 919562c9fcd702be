"""What the library logs, said through the node's logger (console, file and /rosout)."""

from __future__ import annotations

import logging

from rclpy.impl.rcutils_logger import RcutilsLogger


class RosLogHandler(logging.Handler):
    """Hands log records of the package on to a ROS logger."""

    def __init__(self, logger: RcutilsLogger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Say one record at the ROS severity that is next below its level."""
        text = record.getMessage()
        # rclpy ties each line of code to one severity: hence four lines.
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        elif record.levelno >= logging.INFO:
            self._logger.info(text)
        else:
            self._logger.debug(text)


def forward_library_logs(logger: RcutilsLogger) -> None:
    """Say everything from INFO up that the package logs through `logger`, and only there."""
    library = logging.getLogger("moro_ros")
    library.handlers = [RosLogHandler(logger)]
    library.setLevel(logging.INFO)
    library.propagate = False
