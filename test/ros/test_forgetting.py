"""Of hundreds of people who pass, only those in view stay in the memory of the outputs."""

from __future__ import annotations

import importlib
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from rclpy.node import Node
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from moro_ros.io.camera_file import camera_from_focal
from moro_ros.ros.conversions import ns_to_stamp
from moro_ros.ros.outputs.base import TopicOutput
from moro_ros.ros.outputs.registry import Outputs
from moro_ros.ros.outputs.tf import transform_message
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.planners.options import PlannersConfig
from moro_ros.ros.rep155.options import HumansConfig
from moro_ros.ros.statistics import NodeStatistics
from moro_ros.types import PipelineResult

pytestmark = [pytest.mark.ros, pytest.mark.slow]

# Ids that no other number is, in the markers' ids, which are 100 per person, neither.
FIRST, PEOPLE, IN_VIEW = 1_000_000, 300, 3
PERIOD_NS = 100_000_000
# REP-155 keeps persons whom nobody sees for person_memory_s, and then says goodbye.
MEMORY_S, IMAGES_OF_MEMORY = 0.1, 20
OPTIONS = NodeConfig(
    world_frame="map",
    tf_level="smplx55",
    humans=HumansConfig(reference_frame="map", person_memory_s=MEMORY_S),
    planners=PlannersConfig(frame="map", target_frames=True),
)
IMAGE = np.zeros((48, 64, 3), np.uint8)


def ids_in(value: Any) -> Iterator[int]:
    """The ids that a number or a name has in it."""
    if isinstance(value, str):
        for digits in re.findall(r"\d{7,}", value):
            yield from ids_in(int(digits))
    elif isinstance(value, (int, np.integer)):
        for number in (int(value), int(value) // 100):
            if FIRST <= number < FIRST + 2 * PEOPLE:
                yield number


def held(thing: Any, path: str, seen: set[int]) -> Iterator[tuple[int, str]]:
    """Every id in an object of this package and whatever it refers to, and where."""
    yield from ((number, path) for number in ids_in(thing))
    if id(thing) in seen or isinstance(thing, (Node, str, int)):
        return
    seen.add(id(thing))
    parts: list[tuple[str, Any]] = []
    if isinstance(thing, dict):
        parts = [(f"{path}[key]", key) for key in thing]
        parts += [(f"{path}[...]", value) for value in thing.values()]
    elif isinstance(thing, (list, tuple, set, frozenset, deque)):
        parts = [(f"{path}[...]", value) for value in thing]
    elif (module := type(thing).__module__).startswith("moro_ros.") and ".msg" not in module:
        names = [*getattr(thing, "__dict__", ()), *slots(type(thing))]
        parts = [(f"{path}.{name}", getattr(thing, name, None)) for name in names]
    for where, part in parts:
        yield from held(part, where, seen)


def slots(kind: type) -> Iterator[str]:
    for base in kind.__mro__:
        yield from getattr(base, "__slots__", ())


@dataclass
class Street:
    """Outputs past which people go, IN_VIEW at once, one more and one less in each image."""

    outputs: Outputs
    fake_node: ModuleType
    statistics: NodeStatistics
    image: int = 0

    def show(self) -> None:
        stamp_ns = 5 * 10**9 + self.image * PERIOD_NS
        here = self.here()
        motions = tuple(self.fake_node.body_motion(i, stamp_ns, mesh=True) for i in here)
        lost = (here[0] - 1,) if self.image else ()
        camera = camera_from_focal(100.0, 64, 48)
        result = PipelineResult(stamp_ns, camera, (), motions, {}, lost, motions)
        header = Header(stamp=ns_to_stamp(stamp_ns), frame_id="lens")
        wanted = self.outputs.wanted(stamp_ns, OPTIONS)
        self.outputs.publish(result, IMAGE, header, wanted, OPTIONS)
        self.statistics.processed(here, lost, 0.0, {})
        self.image += 1

    def here(self) -> list[int]:
        return [FIRST + self.image + number for number in range(IN_VIEW)]

    def forgotten(self) -> None:
        """Nobody is held who is not in view."""
        self.image -= 1
        here, self.image = self.here(), self.image + 1
        found = [*held(self.outputs, "outputs", set()), *held(self.statistics, "counts", set())]
        assert {number for number, _ in found} >= set(here), "the search finds what there is"
        for number, path in found:
            least = here[0] - IMAGES_OF_MEMORY * ("._persons." in path)
            assert least <= number <= here[-1], (path, number, here)


@pytest.fixture
def street(client: Any, fake_node: ModuleType) -> Iterator[Street]:
    outputs = Outputs(client.node, OPTIONS, fake_node.FakePipeline(None, 0.0))
    yield Street(outputs, fake_node, NodeStatistics())
    outputs.destroy(client.node)


def test_whoever_is_gone_is_forgotten_by_every_output(street: Street, client: Any) -> None:
    outputs, subscriptions = street.outputs, []
    transforms: list[TFMessage] = []
    for output in outputs.outputs:
        if isinstance(output, TopicOutput):
            kind, topic = output.publisher.msg_type, output.topic
            handle = transforms.append if topic == "/tf" else (lambda _: None)
            subscriptions.append(client.node.create_subscription(kind, topic, handle, 50))
    for topic in ("/humans/bodies/tracked", "/humans/persons/tracked", "/humans/persons/known"):
        kind = importlib.import_module("hri_msgs.msg").IdsList
        subscriptions.append(client.node.create_subscription(kind, topic, lambda _: None, 50))
    client.wait(
        lambda: all(output.watched(OPTIONS) for output in outputs.outputs), "a match on every topic"
    )
    mounting = client.node.create_publisher(TFMessage, "/tf", 10)
    turn = (-np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5))
    link = transform_message(Header(frame_id="map"), "lens", (0.0, 0.0, 1.5), turn)

    def placed() -> bool:
        mounting.publish(TFMessage(transforms=[link]))
        client.spin(0.1)
        return outputs.placement.pose("lens") is not None

    client.wait(placed, "TF")
    for _ in range(PEOPLE):
        street.show()
        client.spin(0.0)
        if street.image in (2, PEOPLE // 2):
            street.forgotten()
    street.forgotten()
    # Everybody's frames went out and came back; the node keeps the camera's alone.
    own = f"body_b{street.here()[0] - 1}"
    client.wait(
        lambda: any(t.child_frame_id == own for m in transforms for t in m.transforms),
        "the newest frames",
    )
    client.spin(0.5)
    assert len(outputs.placement.tree) == 1
    # Nobody looks any more, and people go on passing.
    for subscription in subscriptions:
        client.node.destroy_subscription(subscription)
    client.wait(
        lambda: not any(output.watched(OPTIONS) for output in outputs.outputs), "the end of it"
    )
    last = street.here()
    for _ in range(PEOPLE // 10):
        street.show()
    # The next subscriber is to hear of those whom the last one saw, and of those in view.
    found = list(held(outputs, "outputs", set()))
    here = [number - 1 for number in street.here()]
    assert {number for number, _ in found} <= {last[0] - 1, *last, *here}, found
    client.node.destroy_publisher(mounting)
