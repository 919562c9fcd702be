"""The library's log records reach the ROS logger."""

from __future__ import annotations

import logging

from moro_ros.ros.logs import forward_library_logs


class Listener:
    """Stands where a ROS logger would, and keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def __getattr__(self, severity: str):
        return lambda text: self.said.append((severity, text))


def test_records_keep_their_text_and_severity() -> None:
    listener = Listener()
    library = logging.getLogger("moro_ros")
    before = library.handlers, library.level, library.propagate
    try:
        forward_library_logs(listener)  # type: ignore[arg-type]
        logger = logging.getLogger("moro_ros.inference.pipeline")
        logger.debug("quiet")
        logger.info("model %s", "m")
        logger.warning("careful")
        logger.error("broken")
    finally:
        library.handlers, library.level, library.propagate = before
    assert listener.said == [("info", "model m"), ("warning", "careful"), ("error", "broken")]
