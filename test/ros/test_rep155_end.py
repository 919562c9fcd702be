"""REP-155 when images stop, and with motions of earlier images than the newest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hri_msgs.msg import IdsList, Skeleton2D
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Float32, Header, String

from moro_ros.io.camera_file import camera_from_focal
from moro_ros.ros.conversions import ns_to_stamp, stamp_to_ns
from moro_ros.ros.outputs.registry import Outputs
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.rep155.options import HumansConfig
from moro_ros.ros.stamps import AFTER_LAST_NS
from moro_ros.types import NUM_KEYPOINTS, Keypoints, PersonObservation, PipelineResult

pytestmark = pytest.mark.ros
CAMERA = camera_from_focal(100.0, 64, 48)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
PERSON = "/humans/persons/anonymous_b1"
IMAGE = np.zeros((48, 64, 3), np.uint8)
PERIOD_NS = 100_000_000


class Stage:
    """The outputs of a node, and the images that they publish with one person in each."""

    def __init__(self, client: Any, fake_node: ModuleType, **humans: Any) -> None:
        self.client, self._body_motion = client, fake_node.body_motion
        self._options = NodeConfig(humans=HumansConfig(**humans))
        body = fake_node.FakePipeline(None, 0.0)
        self.outputs = Outputs(client.node, self._options, body)
        self.stamp_ns = 10**10

    def show(self, lag_ns: int = 0, people: tuple[Any, ...] = (), here: bool = True) -> bool:
        """Publish the next image, with a motion that is older by lag_ns if the person is there."""
        self.stamp_ns += PERIOD_NS
        motions = (self._body_motion(1, self.stamp_ns - lag_ns),) if here else ()
        result = PipelineResult(self.stamp_ns, CAMERA, people, motions)
        header = Header(stamp=ns_to_stamp(self.stamp_ns), frame_id="lens")
        wanted = self.outputs.wanted(self.stamp_ns, self._options)
        self.outputs.publish(result, IMAGE, header, wanted, self._options)
        self.client.spin(0.02)
        return True

    def stop(self, *lost: int) -> None:
        """Publish the end of everybody; lost: those in view."""
        result = PipelineResult(self.stamp_ns, CAMERA, (), (), {}, lost)
        stamp = ns_to_stamp(self.stamp_ns + AFTER_LAST_NS)
        header = Header(stamp=stamp, frame_id="lens")
        self.outputs.publish_lost(result, header, self._options)


@pytest.fixture
def stage(client: Any, fake_node: ModuleType) -> Iterator[Stage]:
    stage = Stage(client, fake_node)
    yield stage
    stage.outputs.destroy(client.node)


@pytest.mark.parametrize("lost", [(1,), ()], ids=["in view", "just left"])
def test_persons_end_when_images_stop(stage: Stage, lost: tuple[int, ...]) -> None:
    client, heard, subscriptions = stage.client, {}, []
    for topic, kind, qos in (
        ("/humans/persons/known", IdsList, 10),
        ("/humans/persons/tracked", IdsList, 10),
        (f"{PERSON}/location_confidence", Float32, 10),
        (f"{PERSON}/body_id", String, LATCHED),
    ):
        received: list[Any] = []
        heard[topic.rpartition("/")[2]] = received
        subscriptions.append(client.node.create_subscription(kind, topic, received.append, qos))
    client.wait(lambda: stage.show() and all(heard.values()), "the person on every topic")
    assert heard["known"][-1].ids == heard["tracked"][-1].ids == ["anonymous_b1"]
    assert (heard["location_confidence"][-1].data, heard["body_id"][-1].data) == (1.0, "b1")
    if not lost:
        stage.show(here=False)
    stage.stop(*lost)
    assert not any("b1" in topic for topic in stage.outputs.made())

    def ended() -> bool:
        lists = [heard[name][-1].ids for name in ("known", "tracked")]
        words = heard["location_confidence"][-1].data, heard["body_id"][-1].data
        return lists == [[], []] and words == (0.0, "")

    client.wait(ended, "the end of the person", 5.0)
    client.wait(lambda: not client.node.count_publishers(f"{PERSON}/body_id"), "a closed topic")
    for subscription in subscriptions:
        client.node.destroy_subscription(subscription)


@pytest.fixture
def listen(client: Any) -> Iterator[Callable[[type, str], list[Any]]]:
    """listen(kind, topic): what a reader of one topic of a person hears."""
    create = client.node.create_subscription
    subscriptions = [create(IdsList, "/humans/bodies/tracked", lambda _: None, 10)]

    def hear(kind: type, topic: str) -> list[Any]:
        received: list[Any] = []
        subscriptions.append(create(kind, topic, received.append, 10))
        return received

    yield hear
    for subscription in subscriptions:
        client.node.destroy_subscription(subscription)


def test_the_face_of_the_newest_image_is_not_put_on_an_earlier_body(
    stage: Stage, listen: Any
) -> None:
    points = np.full((NUM_KEYPOINTS, 2), 20.0, np.float32)
    ones = np.ones(NUM_KEYPOINTS, np.float32)
    person = PersonObservation(1, np.ones(4, np.float32), 1.0, Keypoints(points, ones, ones))
    received = listen(Skeleton2D, "/humans/bodies/b1/skeleton2d")
    stage.client.wait(lambda: stage.show(people=(person,)) and received, "a skeleton")
    assert received[-1].skeleton[Skeleton2D.NOSE].c == 1.0
    received.clear()
    stage.show(PERIOD_NS, (person,))
    stage.client.wait(lambda: received, "a skeleton")
    assert stamp_to_ns(received[-1].header.stamp) == stage.stamp_ns - PERIOD_NS
    skeleton = received[-1].skeleton
    assert [skeleton[i].c for i in (Skeleton2D.NOSE, Skeleton2D.LEFT_EAR)] == [0.0, 0.0]
    assert skeleton[Skeleton2D.NECK].c > 0.0


def test_look_ahead_does_not_lower_the_confidence_of_a_person_in_view(
    stage: Stage, listen: Any
) -> None:
    received = listen(Float32, f"{PERSON}/location_confidence")
    second_ns = 10**9
    stage.client.wait(lambda: stage.show(second_ns) and received, "a confidence")
    stage.show(second_ns)
    assert {message.data for message in received} == {1.0}
    received.clear()
    stage.show(here=False)
    stage.client.wait(lambda: received, "a confidence")
    assert 0.7 < received[-1].data < 0.8, "a second and an image of five"
