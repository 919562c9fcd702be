"""Output: one topic of moro_node, computed only if it has a subscriber."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import Header

from moro_ros.body.capsules import Capsules
from moro_ros.body.targets import Hands
from moro_ros.recover.ground import GroundPlane
from moro_ros.recover.prediction import MotionPrediction
from moro_ros.ros.conversions import ns_to_stamp
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.qos import create_publisher
from moro_ros.types import BodyMotion, PipelineResult

DEPTH = 10


class Body(Protocol):
    """The interface of the body model for outputs; the pipeline provides it.

    faces: (N, 3) int32 triangles of the mesh; vertex_parts: (V,) uint8, the body joint that moves
    each vertex most; joint_parents: of all joints of the body model, -1 for the root;
    prediction_missing: the reason if it cannot predict, else empty.
    """

    @property
    def faces(self) -> np.ndarray: ...
    @property
    def vertex_parts(self) -> np.ndarray: ...
    @property
    def joint_parents(self) -> tuple[int, ...]: ...

    @property
    def prediction_missing(self) -> str: ...

    def rest_joints(self, betas: np.ndarray) -> np.ndarray:
        """Return the joints at rest (N, 3) m for betas (10,)."""

    def rest_vertices(self, betas: np.ndarray) -> np.ndarray:
        """Return the mesh at rest (V, 3) m, as the joints lie, for betas (10,)."""

    def capsules(self, betas: np.ndarray) -> Capsules:
        """Return the capsules of the body parts at rest, relative to their joints."""

    def predict(
        self, result: PipelineResult, samples: int, temperature: float
    ) -> tuple[MotionPrediction, ...]:
        """Predict the people of the newest result."""


@dataclass(frozen=True, slots=True)
class Scene:
    """The result of one image for the outputs.

    header: stamp and camera optical frame of the image; image: (H, W, 3) uint8 RGB;
    ground: in the camera optical frame, None while unknown; postures: POSTURE_* of Human.msg by
    track id; residuals_m: of the REP-155 fit by track id, if one was made; fallen: track ids of
    people who have just fallen; groundless: of people for whom the ground is not valid;
    eye: (3,) m, position of the camera in the frame of the motions, None for several cameras;
    hands: seen in this image, by track id; final: it is of no image and ends everybody, because
    images stopped.
    """

    result: PipelineResult
    header: Header
    image: np.ndarray
    body: Body
    ground: GroundPlane | None = None
    postures: Mapping[int, int] = field(default_factory=dict)
    residuals_m: Mapping[int, float] = field(default_factory=dict)
    fallen: frozenset[int] = frozenset()
    groundless: frozenset[int] = frozenset()
    eye: np.ndarray | None = field(default_factory=lambda: np.zeros(3))
    hands: Mapping[int, Hands] = field(default_factory=dict)
    final: bool = False

    def ttl_s(self, options: NodeConfig) -> float:
        """How long planners may use the messages of this scene [s]; 0 for the final one."""
        return 0.0 if self.final else options.planners.ttl_s


def by_stamp(scene: Scene) -> list[Scene]:
    """The scene split into one per stamp that its motions describe, oldest first.

    There is one, with the image's own stamp, unless motion.look_ahead describes an earlier image.
    Lost people belong to the newest.
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
    """The header for one person's newest frame, with the stamp of that frame."""
    return Header(stamp=ns_to_stamp(int(motion.stamps_ns[-1])), frame_id=header.frame_id)


class Rhythm:
    """Thins a stream of stamps to a maximum rate."""

    def __init__(self) -> None:
        self._due_ns: int | None = None

    def beat(self, stamp_ns: int, rate_hz: float) -> bool:
        """Whether the image of a stamp is due; call it once for each image."""
        period_ns = round(1e9 / rate_hz)
        due = self._due_ns
        # After a pause or a jump back in time (bag loop), the period restarts.
        if due is None or not due - period_ns <= stamp_ns < due + period_ns:
            due = stamp_ns
        if stamp_ns < due:
            return False
        self._due_ns = due + period_ns
        return True


class Output(ABC):
    """A part of what moro_node publishes; for one thread.

    needs_mesh: it requires meshes. needs_image: it cannot be published without an image.
    needs_postures: it requires postures, falls and residuals. shows_refined: it publishes the
    refined motion instead of the newest. prompt: it is published before the latency is measured;
    outputs for display are published after.
    """

    needs_mesh = False
    needs_image = False
    needs_postures = False
    shows_refined = False
    prompt = False

    @abstractmethod
    def watched(self, options: NodeConfig) -> bool:
        """Whether it has a subscriber and the options do not disable it."""

    def due(self, stamp_ns: int, options: NodeConfig) -> bool:
        """Whether an output with subscribers uses this image; called once per image."""
        return True

    def needs_hands(self, options: NodeConfig) -> bool:
        """Whether it requires the fingers."""
        return False

    @abstractmethod
    def publish(self, scene: Scene, options: NodeConfig) -> None:
        """Create and publish the messages of one image."""

    def skip(self, result: PipelineResult) -> None:  # noqa: B027
        """Handle an image for which nothing is published, for instance without a subscriber."""

    @abstractmethod
    def made(self) -> dict[str, int]:
        """Number of messages created so far, by topic."""

    @abstractmethod
    def destroy(self, node: Node) -> None:
        """Destroy the publishers."""


class TopicOutput(Output):
    """One topic; rate_hz: its maximum rate by the options, 0: every image."""

    def __init__(
        self,
        node: Node,
        msg_type: Any,
        topic: str,
        qos: QoSProfile | int = DEPTH,
        rate_hz: Callable[[NodeConfig], float] = lambda options: 0.0,
    ) -> None:
        self.publisher = create_publisher(node, msg_type, topic, qos)
        self._made = 0
        self._rate_hz, self._rhythm = rate_hz, Rhythm()

    @property
    def topic(self) -> str:
        """The topic's full name."""
        return self.publisher.topic_name

    def watched(self, options: NodeConfig) -> bool:
        """Whether there is a subscriber."""
        return self.publisher.get_subscription_count() > 0

    def due(self, stamp_ns: int, options: NodeConfig) -> bool:
        """Whether the maximum rate allows this image."""
        rate_hz = self._rate_hz(options)
        return rate_hz == 0.0 or self._rhythm.beat(stamp_ns, rate_hz)

    def made(self) -> dict[str, int]:
        """Number of messages created so far, by topic."""
        return {self.topic: self._made}

    @abstractmethod
    def messages(self, scene: Scene, options: NodeConfig) -> list[Any]:
        """The messages of one image, of the publisher's type or serialised."""

    def publish(self, scene: Scene, options: NodeConfig) -> None:
        """Create and publish the messages of one image."""
        for message in self.messages(scene, options):
            self.publisher.publish(message)
            self._made += 1

    def destroy(self, node: Node) -> None:
        """Destroy the publisher."""
        node.destroy_publisher(self.publisher)
