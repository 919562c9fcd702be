"""HumansPublisher: all people in view as the bodies and persons of REP-155."""

from __future__ import annotations

import importlib.util
import threading
from typing import TYPE_CHECKING

import numpy as np
from rclpy.node import Node
from rclpy.type_support import check_for_type_support
from std_msgs.msg import Header

from moro_ros.body.posture import CAMERA_UP
from moro_ros.ros.conversions import ns_to_stamp
from moro_ros.ros.outputs.base import Output, Scene
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.rep155.describer import Describer
from moro_ros.ros.rep155.lazy import Demand, Topic
from moro_ros.ros.rep155.options import HumansConfig, body_id
from moro_ros.types import PipelineResult

if TYPE_CHECKING:
    from moro_ros.ros.rep155.body import BodyTopics


def available() -> bool:
    """Whether hri_msgs is installed, which is optional."""
    return importlib.util.find_spec("hri_msgs") is not None


class HumansPublisher:
    """Publishes <namespace>/bodies and <namespace>/persons, only for subscribers.

    A body's topics are created when a list of ids or one of the topics has a subscriber, and are
    destroyed with the body. For one thread, which need not be the executor's.
    bodies: the topics of people in view, by track id. describer: shared with other outputs, so that
    nothing is computed twice; its fits have the residual in m (JointFit.residual_m). tf_listeners:
    number of the node's other subscriptions to /tf, which do not count.
    Requires hri_msgs (see available).
    """

    def __init__(
        self,
        node: Node,
        config: HumansConfig,
        describer: Describer | None = None,
        tf_listeners: int = 0,
    ) -> None:
        # Imported here, so that the rest of the node runs without hri_msgs.
        from hri_msgs.msg import IdsList

        from moro_ros.ros.rep155.body import KINDS, BodyTopics
        from moro_ros.ros.rep155.persons import Persons

        # Loaded now, so that the first person causes no delay.
        for kind in KINDS.values():
            check_for_type_support(kind)
        self._make_body, self._kinds = BodyTopics, tuple(KINDS)
        self.config = config
        self.describer = describer or Describer()
        self.bodies: dict[int, BodyTopics] = {}
        self._node = node
        self._demand = Demand(node)
        self._ids_list = IdsList
        self._tracked = Topic(node, IdsList, f"{config.namespace}/bodies/tracked")
        self._persons: Persons | None = None
        if config.persons:
            self._persons = Persons(node, config, tf_listeners)

    @property
    def tf_listeners(self) -> int:
        """Number of its own subscriptions to /tf: one with a reference frame, else none."""
        return int(self._persons is not None and self._persons.listens)

    def watched(self) -> bool:
        """Whether any of the topics has a subscriber (TF does not count)."""
        return (
            self._listed()
            or any(body.watched() for body in self.bodies.values())
            or (self._persons is not None and self._persons.watched())
        )

    def _listed(self) -> bool:
        """Whether a list of ids has a subscriber."""
        persons = self._persons
        return self._tracked.watched() or (persons is not None and persons.listed())

    def made(self) -> dict[str, int]:
        """Number of messages created so far, by topic, of the current topics."""
        topics = [self._tracked]
        topics += [topic for body in self.bodies.values() for topic in body.topics.values()]
        topics += self._persons.topics() if self._persons else []
        return {topic.name: topic.made for topic in topics}

    def publish(
        self,
        result: PipelineResult,
        header: Header,
        image_rgb: np.ndarray | None,
        up: np.ndarray = CAMERA_UP,
        final: bool = False,
    ) -> None:
        """Publish the result of one image.

        header: stamp and camera optical frame of the image; image_rgb: (H, W, 3) uint8, None if
        images of people must not be published; up: (3,) unit vector against gravity in the camera
        optical frame (that of a level camera unless the ground is known); final: images stop, so
        the persons end with their bodies.
        """
        here = {motion.track_id for motion in result.motions}
        for track_id in self.bodies.keys() - here:
            self.bodies.pop(track_id).close()
        self.describer.keep(here)
        self._demand.image(result.stamp_ns, self._listed())
        seen = {person.track_id: person for person in result.people}
        for motion in result.motions:
            if (body := self._body(motion.track_id)) is None:
                continue
            # With look-ahead the motion is that of an older image.
            stamp = ns_to_stamp(int(motion.stamps_ns[-1]))
            body.publish(
                motion, seen.get(motion.track_id), result.camera, up, image_rgb, header,
                Header(stamp=stamp, frame_id=header.frame_id),
            )  # fmt: skip
        if self._persons is not None and final:
            self._persons.end(header)
        elif self._persons is not None:
            self._persons.publish(result.motions, header, result.stamp_ns, self._demand)
        ids = [body_id(motion.track_id, self.config.id_prefix) for motion in result.motions]
        # The list is published last, so that the topics exist when a subscriber receives the id.
        self._tracked.send(lambda: self._ids_list(header=header, ids=ids))

    def clear(self) -> None:
        """Destroy the topics of all people, for instance when images are not processed any more.

        The describer is not cleared: another thread may be using it, and the next image clears it.
        """
        for body in self.bodies.values():
            body.close()
        self.bodies = {}
        if self._persons is not None:
            self._persons.clear()

    def close(self) -> None:
        """Destroy all publishers."""
        self.clear()
        self._tracked.close()
        if self._persons is not None:
            self._persons.close()

    def _body(self, track_id: int) -> BodyTopics | None:
        """The topics of a body, if they are or were requested."""
        if track_id not in self.bodies:
            name = body_id(track_id, self.config.id_prefix)
            base = f"{self.config.namespace}/bodies/{name}"
            if not self._demand.wants(f"{base}/{kind}" for kind in self._kinds):
                return None
            self.bodies[track_id] = self._make_body(self._node, base, name, self.describer)
        return self.bodies[track_id]


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
