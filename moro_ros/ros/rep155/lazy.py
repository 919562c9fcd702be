"""Topics that are created on demand, can be destroyed again, and count messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from moro_ros.ros.compat import PublisherEventCallbacks

# The QoS that libhri requests (SystemDefaultsQoS, reliable), which RViz can read too.
STREAM = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


# Period of the check: counting subscribers of a missing topic is as slow as publishing.
LOOK_NS = 500_000_000
# Maximum wait for subscribers to receive the last messages of a topic.
RECEIPT = Duration(seconds=0.1)


class Demand:
    """Whether a person's topics are requested and have to be created.

    Each topic name that ever had a publisher costs Fast DDS about 280 bytes for the life of the
    process (its registry of payload pools by topic name), and each publisher costs milliseconds.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._listed = self._due = False
        self._looked_ns: int | None = None

    def image(self, stamp_ns: int, listed: bool) -> None:
        """Register the next image; listed: a list of ids has a subscriber."""
        self._listed = listed
        self._due = self._looked_ns is None or abs(stamp_ns - self._looked_ns) >= LOOK_NS
        if self._due:
            self._looked_ns = stamp_ns

    def wants(self, names: Iterable[str]) -> bool:
        """Whether these topics have subscribers, or may get some because the ids are read."""
        count = self._node.count_subscribers
        return self._listed or (self._due and any(count(name) for name in names))


class Topic:
    """One publisher; made: number of messages created so far."""

    def __init__(self, node: Node, msg_type: Any, name: str, qos: QoSProfile = STREAM) -> None:
        self._node = node
        # Without rclpy's own callbacks the executor does not use it, so it can be created and
        # destroyed in the thread that processes images.
        events = PublisherEventCallbacks(use_default_callbacks=False)
        self._publisher = node.create_publisher(msg_type, name, qos, event_callbacks=events)
        self.name = name
        self.made = 0

    def count(self) -> int:
        """Number of subscribers."""
        return self._publisher.get_subscription_count()

    def watched(self) -> bool:
        """Whether there is a subscriber."""
        return self.count() > 0

    def send(self, make: Callable[[], Any]) -> None:
        """Create and publish a message if there is a subscriber; None is not published."""
        if self.watched():
            self.put(make())

    def put(self, message: Any) -> None:
        """Publish a message, for later subscribers too if the topic is latched."""
        if message is not None:
            self._publisher.publish(message)
            self.made += 1

    def wait_received(self) -> None:
        """Wait until the subscribers have received all messages, for RECEIPT at most."""
        self._publisher.wait_for_all_acked(RECEIPT)

    def close(self) -> None:
        """Remove the topic from the ROS graph."""
        self._node.destroy_publisher(self._publisher)
