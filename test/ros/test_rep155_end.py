"""REP-155 when images stop, and with motions of earlier images than the newest."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hri_msgs.msg import IdsList
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Float32, Header, String

from moro_ros.io.camera_file import camera_from_focal
from moro_ros.ros.conversions import ns_to_stamp
from moro_ros.ros.outputs.registry import Outputs
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.rep155.options import HumansConfig
from moro_ros.ros.stamps import AFTER_LAST_NS
from moro_ros.types import PipelineResult

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
