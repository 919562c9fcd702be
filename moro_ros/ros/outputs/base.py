"""Output: one topic of moro_node, which makes a message only when somebody subscribes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import Header

from moro_ros.recover.ground import GroundPlane
from moro_ros.ros.conversions import ns_to_stamp
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.qos import create_publisher
from moro_ros.types import BodyMotion, PipelineResult

DEPTH = 10


class Body(Protocol):
    """What the outputs know of the body model; the pipeline offers it.

    faces: (N, 3) int32 triangles of the mesh; vertex_parts: (V,) uint8, the body joint that moves
    each vertex most; joint_parents: of all joints of the body model, -1 for the root.
    """

    @property
    def faces(self) -> np.ndarray: ...
    @property
    def vertex_parts(self) -> np.ndarray: ...
    @property
    def joint_parents(self) -> tuple[int, ...]: ...

    def rest_joints(self, betas: np.ndarray) -> np.ndarray:
        """Return the joints at rest (N, 3) m for betas (10,)."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What one image gave, as the outputs see it.

    header: stamp and camera optical frame of the image; image: (H, W, 3) uint8 RGB;
    ground: in the camera optical frame, None while unknown; postures: POSTURE_* of Human.msg by
    track id; residuals_m: of the REP-155 fit by track id, where one was made; fallen: track ids of
    those who have just fallen.
    """

    result: PipelineResult
    header: Header
    image: np.ndarray
    body: Body
    ground: GroundPlane | None = None
    postures: Mapping[int, int] = field(default_factory=dict)
    residuals_m: Mapping[int, float] = field(default_factory=dict)
    fallen: frozenset[int] = frozenset()


def by_stamp(scene: Scene) -> list[Scene]:
    """The scene cut into one per stamp that its motions describe, oldest first, at that stamp.

    It is one of the image's own stamp unless motion.look_ahead describes an earlier image. Whoever
    was lost belongs to the newest.
    """
    groups: dict[int, list[BodyMotion]] = {}
    for motion in scene.result.motions:
        groups.setdefault(int(motion.stamps_ns[-1]), []).append(motion)
    if not groups:
        return [scene]
    newest = max(groups)
    scenes = []
    for stamp_ns, motions in sorted(groups.items()):
        lost = scene.result.lost if stamp_ns == newest else ()
        header = Header(stamp=ns_to_stamp(stamp_ns), frame_id=scene.header.frame_id)
        result = replace(scene.result, motions=tuple(motions), lost=lost)
        scenes.append(replace(scene, result=result, header=header))
    return scenes


def header_of(motion: BodyMotion, header: Header) -> Header:
    """The header of what one person's newest frame is published in: its own stamp."""
    return Header(stamp=ns_to_stamp(int(motion.stamps_ns[-1])), frame_id=header.frame_id)


class Rhythm:
    """Thins a stream of stamps out to a rate."""

    def __init__(self) -> None:
        self._due_ns: int | None = None

    def beat(self, stamp_ns: int, rate_hz: float) -> bool:
        """Whether the image of a stamp is due; call it once for each image."""
        period_ns = round(1e9 / rate_hz)
        due = self._due_ns
        # After a pause, or a stamp of the past (bag loop), the rhythm starts anew.
        if due is None or not due - period_ns <= stamp_ns < due + period_ns:
            due = stamp_ns
        if stamp_ns < due:
            return False
        self._due_ns = due + period_ns
        return True


class Output(ABC):
    """A part of what moro_node publishes; for one thread.

    needs_mesh: the meshes have to be recovered for it. needs_image: there is nothing to publish
    without an image. prompt: it goes out before the latency is
    taken; what is only looked at goes after.
    """

    needs_mesh = False
    needs_image = False
    prompt = False

    @abstractmethod
    def watched(self, options: NodeConfig) -> bool:
        """Whether somebody subscribes and the options do not switch it off."""

    def due(self, stamp_ns: int, options: NodeConfig) -> bool:
        """Whether a watched output wants this image; asked once for each image."""
        return True

    @abstractmethod
    def publish(self, scene: Scene, options: NodeConfig) -> None:
        """Make and publish the messages of one image."""

    def skip(self, result: PipelineResult) -> None:  # noqa: B027
        """Take note of an image that nothing is published of, as without a subscriber."""

    @abstractmethod
    def made(self) -> dict[str, int]:
        """How many messages were made so far, by topic."""

    @abstractmethod
    def destroy(self, node: Node) -> None:
        """Take the topics down."""


class TopicOutput(Output):
    """One topic."""

    def __init__(self, node: Node, msg_type: Any, topic: str, qos: QoSProfile | int = DEPTH):
        self.publisher = create_publisher(node, msg_type, topic, qos)
        self._made = 0

    @property
    def topic(self) -> str:
        """The topic's full name."""
        return self.publisher.topic_name

    def watched(self, options: NodeConfig) -> bool:
        """Whether somebody subscribes."""
        return self.publisher.get_subscription_count() > 0

    def made(self) -> dict[str, int]:
        """How many messages were made so far, by topic."""
        return {self.topic: self._made}

    @abstractmethod
    def messages(self, scene: Scene, options: NodeConfig) -> list[Any]:
        """The messages of one image, of the publisher's type or serialised."""

    def publish(self, scene: Scene, options: NodeConfig) -> None:
        """Make and publish the messages of one image."""
        for message in self.messages(scene, options):
            self.publisher.publish(message)
            self._made += 1

    def destroy(self, node: Node) -> None:
        """Take the topic down."""
        node.destroy_publisher(self.publisher)
