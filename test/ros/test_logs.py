"""The library's log records reach the ROS logger."""

from __future__ import annotations

import logging

from moro_ros.ros.logs import forward_library_logs, speaking_as


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
        logger = logging.getLogger("moro_ros.live.pipeline")
        logger.debug("quiet")
        logger.info("model %s", "m")
        logger.warning("careful")
        logger.error("broken")
    finally:
        library.handlers, library.level, library.propagate = before
    assert listener.said == [("info", "model m"), ("warning", "careful"), ("error", "broken")]


def test_what_is_logged_for_a_node_of_several_goes_through_its_own_logger() -> None:
    first, last = Listener(), Listener()
    library = logging.getLogger("moro_ros")
    before = library.handlers, library.level, library.propagate
    try:
        for listener in (first, last):
            forward_library_logs(listener)  # type: ignore[arg-type]
        with speaking_as(first):  # type: ignore[arg-type]
            library.info("mine")
        library.info("anybody's")
    finally:
        library.handlers, library.level, library.propagate = before
    assert first.said == [("info", "mine")] and last.said == [("info", "anybody's")]
