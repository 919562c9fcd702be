"""Silence: notices that nothing is received on an input topic that a parameter names."""

from __future__ import annotations

import time

from rclpy.node import Node

# Time without messages after which a warning is issued [s].
SILENT_S = 5.0


class Silence:
    """The time since the newest message of a topic; may be used from several threads.

    what: what a message contains; topic: its full name.
    """

    def __init__(self, node: Node, what: str, topic: str) -> None:
        self._node, self._what, self._topic = node, what, topic
        self.received_s = time.monotonic()

    def end(self) -> None:
        """Record the arrival of a message."""
        self.received_s = time.monotonic()

    @property
    def text(self) -> str:
        """A text if nothing is received; else empty."""
        quiet_s = time.monotonic() - self.received_s
        if quiet_s < SILENT_S:
            return ""
        count = self._node.count_publishers(self._topic)
        many = {0: "no publisher", 1: "1 publisher"}.get(count, f"{count} publishers")
        return f"No {self._what} on {self._topic} for {quiet_s:.0f} s ({many})."
