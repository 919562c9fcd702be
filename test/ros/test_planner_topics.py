"""~/capsules, ~/people, ~/detections, ~/intents between processes: nobody stale or missing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import TransformStamped
from moro_ros.msg import HumanCapsules, HumanIntents
from tf2_msgs.msg import TFMessage

from moro_ros.ros.conversions import stamp_to_ns
from moro_ros.ros.planners import navigation
from moro_ros.ros.stamps import AFTER_LAST_NS

pytestmark = pytest.mark.ros
GAP_S, TTL_S = 1.5, 1.0
LENS = "test_optical_frame"
OPTIONS = {
    "planners.frame": "map",
    "planners.robot_frame": "map",
    "planners.ttl_s": TTL_S,
    "motion.max_gap_s": GAP_S,
}


@dataclass(frozen=True)
class Topic:
    """A topic and who it says is in view and lost; lost: None if it names nobody lost."""

    name: str
    kind: Any
    ids: Callable[[Any], list[int]]
    lost: Callable[[Any], list[int]] | None = None

    def people(self, message: Any) -> list[int]:
        """The ids of those in view, each once."""
        return sorted(set(self.ids(message)))


def number(name: str) -> int:
    """The id in a name such as b12."""
    return int(name.removeprefix("b"))


TOPICS = [
    Topic("capsules", HumanCapsules, lambda m: [x.id for x in m.capsules], lambda m: list(m.lost)),
    Topic("intents", HumanIntents, lambda m: [x.id for x in m.intents], lambda m: list(m.lost)),
]
if navigation.People is not None:
    TOPICS.append(Topic("people", navigation.People, lambda m: [number(x.name) for x in m.people]))
if navigation.Detection3DArray is not None:
    kind = navigation.Detection3DArray
    TOPICS.append(Topic("detections", kind, lambda m: [number(x.id) for x in m.detections]))


class Consumer:
    """A subscriber of one topic of a node that answers images; TF goes on while `mounted`."""

    def __init__(self, bench: Any, topic: Topic) -> None:
        self.bench, self.topic = bench, topic
        self.received: list[Any] = []
        self.mounted = True
        self._tf = bench.client.node.create_publisher(TFMessage, "/tf", 10)
        bench.client.wait(self._tf.get_subscription_count, "the node on /tf")

    def listen(self) -> None:
        """Subscribe, and show two people until they are heard of in the map."""
        self.received = self.bench.listen(self.topic.kind, f"/moro/{self.topic.name}")
        self.bench.client.wait(
            lambda: (
                self.show(2, patience_s=1.0) is not None and self.frame(self.received[-1]) == "map"
            ),
            "two people in the map",
        )

    def mount(self) -> None:
        """Publish where the camera is: 1.5 m above the map's origin, looking along x."""
        link = TransformStamped(child_frame_id=LENS)
        link.header.frame_id = "map"
        link.transform.translation.z = 1.5
        turn = link.transform.rotation
        turn.x, turn.y, turn.z, turn.w = -0.5, 0.5, -0.5, 0.5
        self._tf.publish(TFMessage(transforms=[link]))

    def show(
        self, people: int, stamp_ns: int | None = None, patience_s: float = 30.0
    ) -> Any | None:
        """Show an image; returns what the topic says of it, None if that does not come."""
        if self.mounted:
            self.mount()
        image = self.bench.image(people, self.bench.header(stamp_ns))
        shown_ns = self.bench.send(image)
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            if (message := self.of(shown_ns)) is not None:
                return message
            self.bench.client.spin(0.02)
        return None

    def of(self, stamp_ns: int) -> Any | None:
        """The message about the image of a stamp, None before it came."""
        found = (m for m in self.received if stamp_to_ns(m.header.stamp) == stamp_ns)
        return next(found, None)

    def frame(self, message: Any) -> str:
        """The frame that a message is placed in, or refers to."""
        return message.robot_frame if self.topic.name == "intents" else message.header.frame_id

    def close(self) -> None:
        self.bench.client.node.destroy_publisher(self._tf)
        if self.received:
            self.bench.deafen(f"/moro/{self.topic.name}")


@pytest.fixture(scope="module")
def bench(make_bench: Callable[..., Any]) -> Any:
    bench = make_bench(**OPTIONS)
    bench.be_answered()
    return bench


@pytest.fixture(params=TOPICS, ids=lambda topic: topic.name)
def consumer(bench: Any, request: pytest.FixtureRequest) -> Iterator[Consumer]:
    consumer = Consumer(bench, request.param)
    yield consumer
    consumer.close()


def test_people_come_and_go_with_the_images(bench: Any, consumer: Consumer) -> None:
    topic = consumer.topic
    bench.answer(bench.image(0))
    made = len(bench.calls("capsules"))
    bench.answer(bench.image(2))
    bench.client.spin(0.2)
    assert len(bench.calls("capsules")) == made, "bodies were measured for nobody"
    consumer.listen()
    assert len(bench.calls("capsules")) == made + 2
    both = consumer.show(2)
    assert topic.people(both) == [1, 2]
    # One leaves in the middle of a motion.
    messages = [consumer.show(1), consumer.show(1)]
    assert [topic.people(m) for m in messages] == [[1], [1]]
    if topic.lost is not None:
        assert [topic.lost(m) for m in (both, *messages)] == [[], [2], []]
    # The images stop.
    before = consumer.received[-1]
    began_s = time.monotonic()
    ended_ns = stamp_to_ns(before.header.stamp) + AFTER_LAST_NS
    last = bench.client.wait(lambda: consumer.of(ended_ns), "the end of the people")
    # The node looks once a second; the rest is for a machine under load.
    assert time.monotonic() - began_s < GAP_S + 1.0 + 2.0
    assert topic.people(last) == []
    if topic.lost is not None:
        assert topic.lost(last) == [1]
        assert (before.ttl, last.ttl) == (TTL_S, 0.0), "it would mean that the way is free"
    bench.client.spin(1.0)
    assert consumer.received[-1] is last


@pytest.mark.parametrize("jump_s", [100, -100])
def test_a_clock_that_jumps_leaves_nobody_behind_and_nobody_out(
    bench: Any, consumer: Consumer, jump_s: int
) -> None:
    consumer.listen()
    for people in (2, 0):
        before = consumer.show(2)
        assert consumer.topic.people(before) == [1, 2]
        jumped_ns = stamp_to_ns(before.header.stamp) + jump_s * 1_000_000_000
        after = [consumer.show(people, jumped_ns + step) for step in (0, 33_000_000)]
        assert [consumer.topic.people(m) for m in after] == [list(range(1, people + 1))] * 2
        assert {consumer.frame(m) for m in after} == {"map"}
        if isinstance(after[0], HumanCapsules):
            # Nor do they grow by the way of 100 s.
            assert all(item.clear_radius < 1.0 for m in after for item in m.capsules)


def test_tf_that_ends_places_everybody_before_the_camera(bench: Any, consumer: Consumer) -> None:
    consumer.listen()
    heard = len(consumer.received)
    for mounted, frame in ((False, LENS), (True, "map")):
        consumer.mounted = mounted
        expected = "" if frame == LENS and consumer.topic.name == "intents" else frame

        def placed(expected: str = expected) -> Any | None:
            message = consumer.show(2)
            return message if consumer.frame(message) == expected else None

        message = bench.client.wait(placed, f"people in {frame}")
        if consumer.topic.name == "intents":
            assert message.header.frame_id == LENS
            for item in message.intents:
                numbers = item.distance, item.closing_speed, item.attention_angle
                assert np.isnan(numbers).all() == (not mounted)
                assert mounted or not (item.approaching or item.attention or item.handover)
    assert {tuple(consumer.topic.people(m)) for m in consumer.received[heard:]} == {(1, 2)}


def test_two_nodes_with_equal_ids_do_not_mix(
    client: Any, start_fake_node: Callable[..., Any], crowd_camera: Any
) -> None:
    spaces = "/one", "/two"
    heard: dict[tuple[str, str], Any] = {}
    subscriptions, cameras = [], []
    for space in spaces:
        start_fake_node(0.02, namespace=space, **{"motion.max_gap_s": 30.0})
        cameras.append(crowd_camera.Camera(client, space))
        for topic in TOPICS:

            def take(message: Any, key: tuple[str, str] = (space, topic.name)) -> None:
                heard[key] = message

            name = f"{space}/moro/{topic.name}"
            subscriptions.append(client.node.create_subscription(topic.kind, name, take, 10))

    def told(*counts: int) -> bool:
        for camera, count in zip(cameras, counts, strict=True):
            camera.show(count)
        expected = {
            (space, topic.name): list(range(1, count + 1))
            for space, count in zip(spaces, counts, strict=True)
            for topic in TOPICS
        }
        found = {
            (space, topic.name): topic.people(heard[space, topic.name])
            for space in spaces
            for topic in TOPICS
            if (space, topic.name) in heard
        }
        return found == expected

    for counts in ((2, 1), (0, 1), (2, 0)):
        client.wait(lambda counts=counts: told(*counts), f"{counts} people")
        for _ in range(5):
            assert told(*counts), "what one camera sees changes what the other says"
    for subscription in subscriptions:
        client.node.destroy_subscription(subscription)
    for camera in cameras:
        camera.close()


def test_the_diagnostics_and_the_log_name_every_frame_without_tf(
    client: Any, start_fake_node: Callable[..., Any], crowd_camera: Any
) -> None:
    frames = {"planners.frame": "mpa", "planners.robot_frame": "bsae", "planners.reach_frame": "pu"}
    process, _ = start_fake_node(0.02, namespace="/misspelt", **frames)
    camera = crowd_camera.Camera(client, "/misspelt")
    diagnostics, statuses = client.subscribe(DiagnosticArray, "/diagnostics")
    # A frame is looked up for the subscribers of its outputs.
    intents, _ = client.subscribe(HumanIntents, "/misspelt/moro/intents")
    capsules, _ = client.subscribe(HumanCapsules, "/misspelt/moro/capsules")
    texts = [f"with '{frame}': nothing is placed there" for frame in frames.values()]

    def named() -> bool:
        camera.show(2)
        return any(
            status.name.startswith("/misspelt/")
            and status.level == DiagnosticStatus.WARN
            and all(text in status.message for text in texts)
            for message in statuses
            for status in message.status
        )

    client.wait(named, "a warning with all three frames")
    assert [process.output().count(text) for text in texts] == [1, 1, 1]
    for subscription in (diagnostics, intents, capsules):
        client.node.destroy_subscription(subscription)
    camera.close()
