"""moro_bag: plays a rosbag2 recording with its clock where `ros2 bag play` is not installed."""

from __future__ import annotations

import importlib
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node, NodeNameNonExistentError
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosbags.interfaces import Connection
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image

from moro_ros.config import fixed
from moro_ros.errors import ConfigError
from moro_ros.io.bag_reader import AnyReader, open_bag, read_messages
from moro_ros.ros import parameters
from moro_ros.ros.conversions import ns_to_stamp
from moro_ros.ros.serve import run_process
from moro_ros.ros.transport import wait_for_arrival

CLOCK = "/clock"
# Maximum period of /clock [s of the recording].
CLOCK_PERIOD_S = 0.01
DEPTH = 10
# Period of the log message about a node that is waited for [s].
REMIND_S = 10.0
# Maximum delay of a stop signal [s].
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class BagConfig:
    """The parameters of moro_bag."""

    bag: str = fixed("", "Folder or file of a rosbag2 recording (mcap or sqlite3)")
    speed: float = fixed(1.0, "Playback speed relative to the recording", low=0.01, high=100.0)
    loop: bool = fixed(False, "Restart at the end; the clock jumps back")
    clock: bool = fixed(True, "Publish the recording's time on /clock")
    wait_for_nodes: str = fixed(
        "", "Full names, comma-separated, of the nodes that must subscribe to the recording's "
        "images before playback starts. Empty disables it",
    )  # fmt: skip
    start_delay_s: float = fixed(
        2.0, "Pause before the first message, after the wait for nodes, for the discovery of "
        "subscribers",
        unit="s", low=0.0, high=600.0,
    )  # fmt: skip


class BagSource(parameters.StartValues, Node):
    """Publishes the messages of a recording unchanged; play() runs in the caller's thread."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__("moro_bag", automatically_declare_parameters_from_overrides=True)
        self._stop = stop
        self.config = parameters.declare(self, BagConfig)
        parameters.warn_of_unknown(self, BagConfig)
        self._time = self.create_publisher(Clock, CLOCK, DEPTH) if self.config.clock else None

    def play(self, reader: AnyReader) -> None:
        """Publish the recording, repeatedly with `loop`, until its end or a stop.

        Raises: ConfigError if no message type of the recording is installed, DataError if it is
        damaged.
        """
        publishers = dict(self._make_publishers(reader.connections))
        if not publishers:
            raise ConfigError(f"{self.config.bag} has no messages of an installed type.")
        connections = [c for c in reader.connections if c.id in publishers]
        duration_s = reader.duration * 1e-9
        self.get_logger().info(
            f"Playing {self.config.bag}: {len(publishers)} topics, {duration_s:.1f} s."
        )
        images = [p for p in publishers.values() if p.msg_type in (Image, CompressedImage)]
        for name in filter(None, map(str.strip, self.config.wait_for_nodes.split(","))):
            self._wait_for_node(name, images)
        self._stop.wait(self.config.start_delay_s)
        while not self._stop.is_set():
            self._play_once(reader, connections, publishers)
            if not self.config.loop:
                wait_for_arrival(publishers.values(), self._stop)
                return

    def _play_once(
        self, reader: AnyReader, connections: list[Connection], publishers: dict[int, Publisher]
    ) -> None:
        start_s = time.monotonic()
        for connection, stamp_ns, data in read_messages(reader, connections):
            due_s = (stamp_ns - reader.start_time) * 1e-9
            self._wait(reader.start_time, due_s, start_s)
            if self._stop.is_set():
                return
            publishers[connection.id].publish(data)

    def _wait_for_node(self, name: str, images: list[Publisher]) -> None:
        """Wait until a node subscribes to one of the image topics, without a timeout."""
        topics = ", ".join(sorted(publisher.topic_name for publisher in images)) or "no images"
        told_s = -REMIND_S
        while not self._stop.is_set():
            if any(self._is_received(publisher, name) for publisher in images):
                return
            if (other := self._image_topics(name)) and not other & {p.topic_name for p in images}:
                self.get_logger().warning(
                    f"{name} subscribes to {', '.join(sorted(other))}, but the recording has "
                    f"{topics}: start with image:=TOPIC and camera_info:=TOPIC as recorded."
                )
                return
            if time.monotonic() - told_s >= REMIND_S:
                told_s = time.monotonic()
                self.get_logger().info(f"Waiting until {name} is active and receives {topics}.")
            self._stop.wait(POLL_S)

    def _is_received(self, publisher: Publisher, name: str) -> bool:
        """Whether a node subscribes to a topic and is connected with this publisher."""
        found = self.get_subscriptions_info_by_topic(publisher.topic_name)
        names = {full_name(item.node_namespace, item.node_name) for item in found}
        return name in names and publisher.get_subscription_count() > 0

    def _image_topics(self, name: str) -> set[str]:
        """The image topics that a node subscribes to; none before it is active."""
        space, _, own = name.rpartition("/")
        try:
            found = self.get_subscriber_names_and_types_by_node(own, space or "/")
        except NodeNameNonExistentError:
            return set()
        kinds = {"sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"}
        return {topic for topic, types in found if kinds & set(types)}

    def _wait(self, first_ns: int, due_s: float, start_s: float) -> None:
        """Advance the clock to a time of the recording, s since its start."""
        while not self._stop.is_set():
            now_s = (time.monotonic() - start_s) * self.config.speed
            self._tell(first_ns + round(min(now_s, due_s) * 1e9))
            if now_s >= due_s:
                return
            ahead_s = min(due_s - now_s, CLOCK_PERIOD_S if self._time else POLL_S)
            time.sleep(ahead_s / self.config.speed)

    def _tell(self, now_ns: int) -> None:
        if self._time is not None:
            self._time.publish(Clock(clock=ns_to_stamp(now_ns)))

    def _make_publishers(self, connections: list[Connection]) -> Iterator[tuple[int, Publisher]]:
        for connection in connections:
            if connection.topic == CLOCK:
                continue
            msg_type = installed_type(connection.msgtype)
            if msg_type is None:
                self.get_logger().warning(
                    f"{connection.topic} is not played: {connection.msgtype} is not installed."
                )
                continue
            yield (
                connection.id,
                self.create_publisher(msg_type, connection.topic, offered_qos(connection)),
            )


def full_name(namespace: str, name: str) -> str:
    """The full name of a node."""
    return f"{namespace.rstrip('/')}/{name}"


def installed_type(name: str) -> Any:
    """The class of a message type such as sensor_msgs/msg/Image; None if it is not installed."""
    package, _, message = name.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), message, None)
    except ModuleNotFoundError:
        return None


def offered_qos(connection: Connection) -> QoSProfile:
    """Reliable, which matches every subscriber; latched if the recorded publisher was."""
    profiles = getattr(connection.ext, "offered_qos_profiles", None) or []
    latched = connection.topic == "/tf_static" or any(
        getattr(profile.durability, "name", "") == "TRANSIENT_LOCAL" for profile in profiles
    )
    durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
    return QoSProfile(depth=DEPTH, durability=durability)


def play(stop: threading.Event) -> int:
    """Play until the end or a stop."""
    source = BagSource(stop)
    with closing(open_bag(source.config.bag)) as reader:
        source.play(reader)
    source.get_logger().info("Done.")
    return 0


def main() -> None:
    """Entry point of moro_bag."""
    sys.exit(run_process("moro_bag", None, play))


if __name__ == "__main__":
    main()
