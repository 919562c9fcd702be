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

    It follows every image that is looked at for anybody, so that a body's topics are there to be
    found; what goes out on them is made for subscribers alone.
    """

    def __init__(
        self, node: Node, options: NodeConfig, describer: Describer, tf_listeners: int
    ) -> None:
        self._publisher = HumansPublisher(node, options.humans, describer, tf_listeners)
        # Whether an image is wanted is asked while the one before it is published.
        self._lock = threading.Lock()

    @property
    def tf_listeners(self) -> int:
        """How many subscriptions to /tf it holds itself."""
        return self._publisher.tf_listeners

    def watched(self, options: NodeConfig) -> bool:
        """Whether somebody subscribes to any of the topics."""
        with self._lock:
            return self._publisher.watched()

    def publish(self, scene: Scene, options: NodeConfig) -> None:
        """Publish what one image gave."""
        up = CAMERA_UP if scene.ground is None else scene.ground.normal
        image = scene.image if options.publish_images else None
        with self._lock:
            self._publisher.publish(scene.result, scene.header, image, up)

    def made(self) -> dict[str, int]:
        """How many messages were made so far, by topic, of those who are in view."""
        with self._lock:
            return self._publisher.made()

    def destroy(self, node: Node) -> None:
        """Take all topics down."""
        with self._lock:
            self._publisher.close()

    def clear(self) -> None:
        """Take down the topics of everybody, as when no image is looked at any more."""
        with self._lock:
            self._publisher.clear()
