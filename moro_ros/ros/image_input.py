"""The subscriptions to image and camera_info, and why they stay silent if they do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import (
    QoSProfile,
    ReliabilityPolicy,
    qos_policy_name_from_kind,
    qos_profile_sensor_data,
)
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from moro_ros.ros.bridge import AnyImage
from moro_ros.ros.compat import SubscriptionEventCallbacks
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.qos import create_subscription


class ImageInput:
    """Subscribes to image (or image/compressed) and camera_info.

    on_image, on_camera_info: called in the executor's thread. topic: full name of the images'.
    """

    def __init__(
        self,
        node: Node,
        options: NodeConfig,
        on_image: Callable[[AnyImage], None],
        on_camera_info: Callable[[CameraInfo], None],
    ) -> None:
        self._node = node
        self._reliable = options.image_reliability == "reliable"
        self._compressed = options.image_transport == "compressed"
        policy = ReliabilityPolicy.RELIABLE if self._reliable else ReliabilityPolicy.BEST_EFFORT
        qos = QoSProfile(depth=qos_profile_sensor_data.depth, reliability=policy)
        # The topic of image_transport: a remapped image takes its compressed form along.
        self.topic = node.resolve_topic_name("image") + ("/compressed" if self._compressed else "")
        self._mismatches: dict[str, str] = {}
        self._lost = 0
        kind = CompressedImage if self._compressed else Image
        events = SubscriptionEventCallbacks(
            incompatible_qos=self._on_incompatible, message_lost=self._on_lost
        )
        self._subscriptions = (
            create_subscription(node, kind, self.topic, on_image, qos, events),
            create_subscription(
                node, CameraInfo, "camera_info", on_camera_info, qos_profile_sensor_data
            ),
        )

    @property
    def problems(self) -> tuple[str, ...]:
        """Publishers that cannot be heard, in words, for the diagnostics; none if all is well."""
        return tuple(self._mismatches.values())

    @property
    def lost(self) -> int:
        """Images that the middleware says it lost on the way, ever."""
        return self._lost

    def why_quiet(self) -> str:
        """Why no image comes, as far as the graph of nodes tells, and the remedy."""
        publishers = self._node.get_publishers_info_by_topic(self.topic)
        if self._mismatches:
            return " ".join(self._mismatches.values())
        if not publishers:
            return f"nobody publishes {self.topic}. {self._near_topic()}"
        wanted = "sensor_msgs/msg/" + ("CompressedImage" if self._compressed else "Image")
        types = {info.topic_type for info in publishers}
        if wanted not in types:
            return f"{self.topic} carries {', '.join(sorted(types))}, not {wanted}."
        return f"the publisher of {self.topic} is silent."

    def destroy(self) -> None:
        """End the subscriptions."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _near_topic(self) -> str:
        """The remedy where nobody publishes: the other transport, or a remapping."""
        raw = self.topic.removesuffix("/compressed")
        other = raw if self._compressed else raw + "/compressed"
        if self._node.count_publishers(other):
            transport = "raw" if self._compressed else "compressed"
            return f"{other} is published: set image_transport to {transport}."
        return "Remap 'image' and 'camera_info' to the camera's topics."

    def _on_incompatible(self, event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        self._mismatches[policy] = self._explained(policy)
        self._node.get_logger().error(self._mismatches[policy])

    def _explained(self, policy: str) -> str:
        if policy == "RELIABILITY":
            return (
                f"The publisher of {self.topic} is best effort and this node asks for a reliable "
                "one, so that no image comes. Set image_reliability to best_effort."
            )
        return (
            f"The publisher of {self.topic} offers a QoS that this node cannot take ({policy}), so "
            "that no image comes. Publish images with the default policies or as sensor data."
        )

    def _on_lost(self, event: Any) -> None:
        self._lost = event.total_count
