"""The REP-155 topics as one of the outputs of moro_node."""

from __future__ import annotations

import threading

from rclpy.node import Node

from moro_ros.body.posture import CAMERA_UP
from moro_ros.ros.outputs.base import Output, Scene
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.rep155.describer import Describer
from moro_ros.ros.rep155.publisher import HumansPublisher


class BodiesOutput(Output):
    """/humans/bodies and /humans/persons.

    It handles every processed image, so that a body's topics can be discovered. Messages are
    created only for subscribers.
    """

    def __init__(
        self, node: Node, options: NodeConfig, describer: Describer, tf_listeners: int
    ) -> None:
        self._publisher = HumansPublisher(node, options.humans, describer, tf_listeners)
        # due() is called while the image before is being published.
        self._lock = threading.Lock()

    @property
    def tf_listeners(self) -> int:
        """Number of its own subscriptions to /tf."""
        return self._publisher.tf_listeners

    def watched(self, options: NodeConfig) -> bool:
        """Whether any of the topics has a subscriber."""
        with self._lock:
            return self._publisher.watched()

    def publish(self, scene: Scene, options: NodeConfig) -> None:
        """Publish the result of one image."""
        up = CAMERA_UP if scene.ground is None else scene.ground.normal
        image = scene.image if options.publish_images else None
        with self._lock:
            self._publisher.publish(scene.result, scene.header, image, up, scene.final)

    def made(self) -> dict[str, int]:
        """Number of messages created so far, by topic, of people in view."""
        with self._lock:
            return self._publisher.made()

    def destroy(self, node: Node) -> None:
        """Destroy all publishers."""
        with self._lock:
            self._publisher.close()

    def clear(self) -> None:
        """Destroy the topics of all people, for instance when images are not processed any more."""
        with self._lock:
            self._publisher.clear()
