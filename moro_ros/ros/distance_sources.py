"""The topics of people that moro_distance subscribes to, with the newest message of each."""

from __future__ import annotations

import math
import time

from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node

from moro_ros.errors import ConfigError
from moro_ros.msg import HumanCapsules
from moro_ros.ros.distance_messages import People
from moro_ros.ros.distance_options import check_topics


class PeopleSource:
    """One topic of people; for one thread.

    topic: its full name; people: of the newest message, None before the first; arrived_s: of that
    message, on the steady clock.
    """

    def __init__(self, node: Node, topic: str, number: int) -> None:
        """number: index of the topic in the parameter people_topics."""
        node.create_subscription(HumanCapsules, topic, self.take, 10)
        self.topic = node.resolve_topic_name(topic)
        self.people: People | None = None
        self.arrived_s = -math.inf
        self._node, self._number = node, number

    def take(self, message: HumanCapsules) -> None:
        """Store the newest people."""
        self.people, self.arrived_s = People.of(message, self._number), time.monotonic()

    def problem(self, now_s: float) -> str:
        """A text of why its people are not current at a time on the steady clock; else empty."""
        # A message lists the people in view of its camera; another camera's would replace them.
        if (publishers := self._node.count_publishers(self.topic)) > 1:
            return (
                f"{publishers} nodes publish on {self.topic}, so the camera of a message is "
                "unknown. Give each node its own topic and list all of them in the parameter "
                "people_topics"
            )
        if self.people is None or now_s - self.arrived_s >= self.people.ttl_s:
            return f"no current message on {self.topic}"
        return ""


def open_sources(node: Node, topics: tuple[str, ...]) -> list[PeopleSource]:
    """Subscribe to all topics of people; raises ConfigError for a bad or repeated name."""
    try:
        sources = [PeopleSource(node, topic, number) for number, topic in enumerate(topics)]
    except InvalidTopicNameException as error:
        raise ConfigError(
            f"people_topics: got {list(topics)}, expected names of topics such as "
            f"left/moro/capsules. {error}"
        ) from error
    check_topics([source.topic for source in sources])
    return sources
