"""Registered depth images: the subscriptions."""

from __future__ import annotations

import threading

from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image

from moro_ros.io.depth_messages import DepthQueue, Receiver, hand_over
from moro_ros.io.transform_tree import TransformTree
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.silence import Silence


class DepthInput:
    """Keeps the newest depth images until the images that they belong to are processed.

    topic, info_topic: full names.
    """

    def __init__(self, node: Node, topic: str, info_topic: str) -> None:
        self.topic, self.info_topic = depth_topics(node, topic, info_topic)
        self._lock = threading.Lock()
        self._queue = DepthQueue()
        self._info: CameraInfo | None = None
        self._silence = Silence(node, "depth image", self.topic)
        qos = qos_profile_sensor_data
        self._subscriptions = [
            node.create_subscription(Image, self.topic, self._on_image, qos),
            node.create_subscription(CameraInfo, self.info_topic, self._on_info, qos),
        ]

    @property
    def silence(self) -> str:
        """A text if no depth images are received; else empty."""
        return self._silence.text

    def deliver(
        self, memory: Receiver, tree: TransformTree, camera_frame: str, stamp_ns: int
    ) -> None:
        """Return the depth images nearest to the image of a stamp and to those before it.

        tree, camera_frame: see depth_image.
        """
        with self._lock:
            messages, info = self._queue.take(stamp_ns), self._info
        hand_over(messages, info, tree, camera_frame, memory)

    def destroy(self, node: Node) -> None:
        """End the subscriptions."""
        for subscription in self._subscriptions:
            node.destroy_subscription(subscription)

    def _on_image(self, message: Image) -> None:
        self._silence.end()
        with self._lock:
            self._queue.add(message)

    def _on_info(self, message: CameraInfo) -> None:
        with self._lock:
            self._info = message


def depth_topics(node: Node, topic: str, info_topic: str) -> tuple[str, str]:
    """The full names of the topics of depth images and their camera_info, empty: beside them."""
    topic = node.resolve_topic_name(topic)
    beside = f"{topic.rpartition('/')[0]}/camera_info"
    return topic, node.resolve_topic_name(info_topic) if info_topic else beside


def depth_input(node: Node, options: NodeConfig) -> DepthInput | None:
    """The input that the options request."""
    if not options.depth_topic:
        return None
    return DepthInput(node, options.depth_topic, options.depth_info_topic)
