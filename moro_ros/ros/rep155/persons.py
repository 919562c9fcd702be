"""Anonymous persons: one per body, kept for a while where it was last seen (REP-155)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from geometry_msgs.msg import TransformStamped
from hri_msgs.msg import IdsList
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.type_support import check_for_type_support
from std_msgs.msg import Bool, Float32, Header, String
from tf2_msgs.msg import TFMessage

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.ros.conversions import ns_to_stamp
from moro_ros.ros.outputs.tf import own_frames, quaternions, transform_message
from moro_ros.ros.rep155.lazy import LATCHED, STREAM, Demand, Topic
from moro_ros.ros.rep155.model import SMPLX_FROM_REP
from moro_ros.ros.rep155.options import HumansConfig, body_id, person_id
from moro_ros.ros.transforms import Placement
from moro_ros.types import BodyMotion

TF = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
_HEAD = JOINT_NAMES.index("head")
# A message sent while its topic closes may be lost: the 0 of a person who left is repeated.
FAREWELL_NS = 1_000_000_000
# The topics of a person: type and QoS by the last part of their names.
KINDS = {
    "anonymous": (Bool, LATCHED),
    "body_id": (String, LATCHED),
    "location_confidence": (Float32, STREAM),
}


@dataclass(slots=True)
class Person:
    """One person: topics by the last part of their names; time and place of the last sighting.

    body_id: empty while it has no body. topics: none until they are requested. described_ns: stamp
    of the last image that describes its body, seen_ns: of the last one that shows it.
    place: (3,) m and rotation (3, 3) of the head in the reference frame, x front and z to the top;
    None while unknown. gone_ns: when it was forgotten, while its topics are still open; None while
    it is known.
    """

    person_id: str
    described_ns: int
    seen_ns: int
    body_id: str = ""
    topics: dict[str, Topic] = field(default_factory=dict)
    frame_id: str = ""
    place: np.ndarray | None = None
    rotation: np.ndarray | None = None
    gone_ns: int | None = None

    def match(self, body_id: str) -> None:
        """Publish the id of the person's body."""
        if body_id != self.body_id:
            self.body_id = body_id
            if self.topics:
                self.topics["body_id"].put(String(data=body_id))

    def confidence(self, stamp_ns: int, memory_s: float) -> float:
        """Location confidence in [0, 1]: 1 while seen, 0 after memory_s.

        With look-ahead, the body of a person in view is described later than it was seen.
        """
        if self.gone_ns is not None:
            return 0.0
        now_ns = self.described_ns if self.body_id else stamp_ns
        return max(0.0, 1.0 - (now_ns - self.seen_ns) * 1e-9 / memory_s)


class Persons:
    """Publishes <namespace>/persons/... and the frames person_<id>.

    tf_listeners: number of the node's other subscriptions to /tf, which do not count.
    """

    def __init__(self, node: Node, config: HumansConfig, tf_listeners: int) -> None:
        self._node, self._config, self._tf_listeners = node, config, tf_listeners
        base = f"{config.namespace}/persons"
        self.lists = {name: Topic(node, IdsList, f"{base}/{name}") for name in ("tracked", "known")}
        self._frames = Topic(node, TFMessage, "/tf", TF)
        self._placement = Placement(node, config.reference_frame, "", own_frames(config.id_prefix))
        check_for_type_support(Bool)
        check_for_type_support(Float32)
        self.people: dict[int, Person] = {}

    def topics(self) -> list[Topic]:
        """All current topics."""
        own = [topic for person in self.people.values() for topic in person.topics.values()]
        return [*self.lists.values(), self._frames, *own]

    @property
    def listens(self) -> bool:
        """Whether it has its own subscription to /tf."""
        return self._placement.listens

    def watched(self) -> bool:
        """Whether there are subscribers other than those of TF."""
        return any(topic.watched() for topic in self.topics() if topic is not self._frames)

    def listed(self) -> bool:
        """Whether a list of ids has a subscriber."""
        return any(topic.watched() for topic in self.lists.values())

    def publish(
        self, motions: tuple[BodyMotion, ...], header: Header, stamp_ns: int, demand: Demand
    ) -> None:
        """Process the people of one image; header: stamp and frame of the camera."""
        self._forget(stamp_ns, {motion.track_id for motion in motions})
        for motion in motions:
            self._see(motion, header)
        known = [person for person in self.people.values() if person.gone_ns is None]
        self._list(known, header)
        for person in self.people.values():
            if not person.topics:
                self._open(person, demand)
            topic = person.topics.get("location_confidence")
            if topic is not None and topic.watched():
                value = person.confidence(stamp_ns, self._config.person_memory_s)
                topic.put(Float32(data=value))
        if self._frames.count() > self._tf_listeners + self.listens:
            transforms = [self._transform(person, header) for person in known]
            found = [transform for transform in transforms if transform is not None]
            self._frames.put(TFMessage(transforms=found) if found else None)

    def end(self, header: Header) -> None:
        """Publish that nobody is known any more, for instance when images stop."""
        self._list([], header)
        opened = [person for person in self.people.values() if person.topics]
        for person in opened:
            person.match("")
            person.topics["location_confidence"].put(Float32(data=0.0))
        # A message sent while its topic closes may be lost.
        for person in opened:
            for name in ("body_id", "location_confidence"):
                person.topics[name].wait_received()
        self.clear()

    def clear(self) -> None:
        """Forget all people."""
        for person in self.people.values():
            _close(person)
        self.people = {}

    def close(self) -> None:
        """Destroy all publishers."""
        self.clear()
        for topic in (*self.lists.values(), self._frames):
            topic.close()
        self._placement.destroy(self._node)

    def _list(self, known: list[Person], header: Header) -> None:
        """Publish the ids of known people, and of those of them who have a body."""
        for name, people in (("known", known), ("tracked", [p for p in known if p.body_id])):
            if self.lists[name].watched():
                ids = [person.person_id for person in people]
                self.lists[name].put(IdsList(header=header, ids=ids))

    def _see(self, motion: BodyMotion, header: Header) -> None:
        stamp_ns = int(motion.stamps_ns[-1])
        person = self.people.get(motion.track_id)
        if person is None:
            name = person_id(motion.track_id, self._config.id_prefix)
            person = self.people[motion.track_id] = Person(name, stamp_ns, stamp_ns)
        person.gone_ns, person.described_ns = None, stamp_ns
        person.match(body_id(motion.track_id, self._config.id_prefix))
        if motion.keypoints_seen[-1]:
            person.seen_ns = stamp_ns
        rotation = motion.joint_rotations[-1, _HEAD].astype(np.float64) @ SMPLX_FROM_REP
        place = motion.joints[-1, _HEAD].astype(np.float64)
        if not self._config.reference_frame:
            person.frame_id, person.place, person.rotation = header.frame_id, place, rotation
        elif self._frames.count() > self._tf_listeners + self.listens and (
            pose := self._placement.pose(header.frame_id)
        ):
            person.frame_id = self._config.reference_frame
            person.place, person.rotation = pose[0] @ place + pose[1], pose[0] @ rotation

    def _open(self, person: Person, demand: Demand) -> None:
        """Create a person's topics if they are requested."""
        base = f"{self._config.namespace}/persons/{person.person_id}"
        if demand.wants(f"{base}/{name}" for name in KINDS):
            person.topics = {
                name: Topic(self._node, kind, f"{base}/{name}", qos)
                for name, (kind, qos) in KINDS.items()
            }
            person.topics["anonymous"].put(Bool(data=True))
            person.topics["body_id"].put(String(data=person.body_id))

    def _forget(self, stamp_ns: int, here: set[int]) -> None:
        """Mark the people who left, and remove those not seen for too long."""
        for track_id in self.people.keys() - here:
            person = self.people[track_id]
            person.match("")
            # An earlier stamp: the bag was played again.
            past = stamp_ns < person.seen_ns
            if person.gone_ns is not None:
                if not 0 <= stamp_ns - person.gone_ns < FAREWELL_NS:
                    _close(person)
                    del self.people[track_id]
            elif past or person.confidence(stamp_ns, self._config.person_memory_s) <= 0.0:
                person.gone_ns = stamp_ns

    def _transform(self, person: Person, header: Header) -> TransformStamped | None:
        if person.place is None or person.rotation is None:
            return None
        # With look-ahead a body is that of an older image, and an unseen person is still there.
        stamp = ns_to_stamp(person.described_ns) if person.body_id else header.stamp
        parent = Header(stamp=stamp, frame_id=person.frame_id)
        frame = f"person_{person.person_id}"
        return transform_message(parent, frame, person.place, quaternions(person.rotation))


def _close(person: Person) -> None:
    for topic in person.topics.values():
        topic.close()
