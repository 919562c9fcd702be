"""Topics that are created for whoever wants them, can be dropped again, and count messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from moro_ros.ros.compat import PublisherEventCallbacks

# What libhri asks for (SystemDefaultsQoS, reliable) and what RViz, too, can read.
STREAM = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


# Asking whether somebody subscribes to a topic that does not exist takes as long as publishing.
LOOK_NS = 500_000_000


class Demand:
    """Whether somebody wants the topics of a person, which have to be created for that.

    Each name under which a publisher was ever created costs Fast DDS some 280 bytes for the life of
    the process (its registry of payload pools by topic name), and each publisher milliseconds.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._listed = self._due = False
        self._looked_ns: int | None = None

    def image(self, stamp_ns: int, listed: bool) -> None:
        """Take note of the next image; listed: somebody subscribes to a list of ids."""
        self._listed = listed
        self._due = self._looked_ns is None or abs(stamp_ns - self._looked_ns) >= LOOK_NS
        if self._due:
            self._looked_ns = stamp_ns

    def wants(self, names: Iterable[str]) -> bool:
        """Whether somebody who has the ids may subscribe to these topics, or somebody does."""
        count = self._node.count_subscribers
        return self._listed or (self._due and any(count(name) for name in names))


class Topic:
    """One publisher; made: how many messages were made so far."""

    def __init__(self, node: Node, msg_type: Any, name: str, qos: QoSProfile = STREAM) -> None:
        self._node = node
        # Without rclpy's own callbacks nothing of it waits in the executor, so that it can be
        # made and dropped from the thread that works on images.
        events = PublisherEventCallbacks(use_default_callbacks=False)
        self._publisher = node.create_publisher(msg_type, name, qos, event_callbacks=events)
        self.name = name
        self.made = 0

    def count(self) -> int:
        """How many subscribe."""
        return self._publisher.get_subscription_count()

    def watched(self) -> bool:
        """Whether somebody subscribes."""
        return self.count() > 0

    def send(self, make: Callable[[], Any]) -> None:
        """Make and publish a message if somebody subscribes; None is not published."""
        if self.watched():
            self.put(make())

    def put(self, message: Any) -> None:
        """Publish a message, for later subscribers too if the topic is latched."""
        if message is not None:
            self._publisher.publish(message)
            self.made += 1

    def close(self) -> None:
        """Take the topic out of the ROS graph."""
        self._node.destroy_publisher(self._publisher)
