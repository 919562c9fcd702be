"""A whole node with motion.look_ahead: what describes an earlier image carries its stamp."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from moro_ros.msg import HumanArray, HumanCapsules, HumanMesh
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

from moro_ros.io.camera_file import camera_from_focal
from moro_ros.ros.conversions import camera_info_message, ns_to_stamp, stamp_to_ns
from moro_ros.ros.fallbacks import cv2_to_imgmsg
from moro_ros.ros.outputs.registry import Outputs, Wanted
from moro_ros.ros.parameters import NodeConfig
from moro_ros.types import PersonObservation, PipelineResult

pytestmark = [pytest.mark.ros, pytest.mark.weights]
RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
LOOK_AHEAD, PERIOD_NS = 3, 33_333_333
CAMERA = camera_from_focal(300.0, 320, 240, "lens")
OPTIONS = {"people": "synthetic", "motion.look_ahead": LOOK_AHEAD, "marker_rate_hz": 240.0}
# Images are shown as fast as they are answered, which is no pause.
OPTIONS |= {"motion.max_gap_s": 60.0, "camera_guard": False}


def stamps(messages: list[Any]) -> list[int]:
    """The stamps in messages of one kind, ns, each once."""
    headers = []
    for message in messages:
        if isinstance(message, MarkerArray):
            headers += [x.header for x in message.markers if x.action == Marker.ADD]
        elif isinstance(message, TFMessage):
            headers += [transform.header for transform in message.transforms]
        else:
            headers.append(message.header)
    return sorted({stamp_to_ns(header.stamp) for header in headers})


def test_everything_has_the_stamp_of_the_image_that_it_describes(
    client: Any, start_node: Callable[..., Any]
) -> None:
    node = start_node(["-m", "moro_ros.ros.node"], **OPTIONS)
    images = client.node.create_publisher(Image, "image", RELIABLE)
    infos = client.node.create_publisher(CameraInfo, "camera_info", RELIABLE)
    heard: dict[type, list[Any]] = {}
    topics = {
        HumanArray: "~/humans", HumanCapsules: "~/capsules", HumanMesh: "~/mesh",
        PointCloud2: "~/cloud", MarkerArray: "~/markers", TFMessage: "/tf",
    }  # fmt: skip
    for kind, topic in topics.items():
        _, heard[kind] = client.subscribe(kind, topic.replace("~", "/moro"))
    client.wait(images.get_subscription_count, f"the node:\n{node.output()}")
    start_ns = time.time_ns()
    shown: list[int] = []

    def show(patience_s: float) -> bool:
        """Show the next image; whether an answer comes in time."""
        shown.append(start_ns + len(shown) * PERIOD_NS)
        header = Header(stamp=ns_to_stamp(shown[-1]), frame_id="lens")
        infos.publish(camera_info_message(CAMERA, header))
        before = len(heard[HumanArray])
        images.publish(cv2_to_imgmsg(np.zeros((240, 320, 3), np.uint8), "rgb8", header))
        end = time.monotonic() + patience_s
        while len(heard[HumanArray]) == before and time.monotonic() < end:
            client.spin(0.02)
        return len(heard[HumanArray]) > before

    def complete() -> bool:
        return show(2.0) and all(heard.values()) and bool(heard[HumanArray][-1].humans)

    client.wait(complete, f"all outputs of the node:\n{node.output()}", 120.0)
    first = len(shown)
    for _ in range(6):
        assert show(30.0), node.output()
    expected = [shown[index - LOOK_AHEAD] for index in range(first, len(shown))]
    for kind in topics:
        client.wait(lambda kind=kind: expected[-1] in stamps(heard[kind]), f"the last of {kind}")
        assert [ns for ns in stamps(heard[kind]) if ns >= expected[0]] == expected, kind.__name__
    # One image is dropped, so a later one completes none. That does not mean that nobody is there.
    before = {kind: len(messages) for kind, messages in heard.items()}
    dropped_ns = start_ns + len(shown) * PERIOD_NS
    shown.append(dropped_ns)
    assert [show(2.0) for _ in range(2 * LOOK_AHEAD)].count(False) == 1, node.output()
    expected = [ns for ns in shown[-3 * LOOK_AHEAD : -LOOK_AHEAD] if ns != dropped_ns]
    for kind in topics:
        client.wait(lambda kind=kind: expected[-1] in stamps(heard[kind]), f"the last of {kind}")
        told = [ns for ns in stamps(heard[kind][before[kind] :]) if ns >= expected[0]]
        assert told == expected, kind.__name__
    assert all(message.humans for message in heard[HumanArray][before[HumanArray] :])
    assert all(message.capsules for message in heard[HumanCapsules][before[HumanCapsules] :])
    assert node.end() == 0, node.output()


def test_an_image_that_completes_none_forgets_nobody(
    client: Any, fake_node: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = Outputs(client.node, NodeConfig(), fake_node.FakePipeline(None, 0.0))
    published: list[Any] = []
    told: list[tuple[int, ...]] = []
    refined: list[Any] = []
    for output in outputs.outputs:
        kept = refined if output.shows_refined else published
        monkeypatch.setattr(output, "publish", lambda scene, _, kept=kept: kept.append(scene))
        monkeypatch.setattr(output, "skip", lambda result: told.append(result.lost))
    keep = outputs._describer.keep
    known: list[set[int]] = []
    monkeypatch.setattr(outputs._describer, "keep", lambda ids: (known.append(set(ids)), keep(ids)))
    everything = Wanted(outputs.outputs, idle=False)

    def show(described: tuple[int, ...], in_view: tuple[int, ...], lost: tuple[int, ...]) -> int:
        """Publish an image; returns the number of scenes published for it."""
        people = tuple(PersonObservation(i, np.zeros(4, np.float32), 1.0, None) for i in in_view)
        motions = tuple(fake_node.body_motion(i, 4 * 10**9, mesh=True) for i in described)
        result = PipelineResult(5 * 10**9, CAMERA, people, motions, {}, lost)
        header = Header(stamp=ns_to_stamp(result.stamp_ns), frame_id="lens")
        before = len(published)
        outputs.publish(result, np.zeros((240, 320, 3), np.uint8), header, everything, NodeConfig())
        return len(published) - before

    try:
        assert show((), (1,), ()), "nobody was published, so the message is empty"
        assert show((1, 2), (1, 2), ())
        before = len(refined)
        assert not show((), (1, 3), (2,)) and outputs.people == {1}
        assert known[-1] == {1} and told[-1] == (2,) and len(refined) == before + 1
        assert show((1, 3), (1, 3), ()) and outputs.people == {1, 3}
        assert show((), (), (1, 3)) and not outputs.people
    finally:
        outputs.destroy(client.node)
