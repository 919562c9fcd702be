"""A whole node with motion.look_ahead: what describes an earlier image carries its stamp."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from moro_ros.msg import HumanArray, HumanMesh
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

from moro_ros.io.camera_file import camera_from_focal
from moro_ros.ros.bridge import image_message
from moro_ros.ros.conversions import camera_info_message, ns_to_stamp, stamp_to_ns

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
        HumanArray: "~/humans", HumanMesh: "~/mesh", PointCloud2: "~/cloud",
        MarkerArray: "~/markers", TFMessage: "/tf",
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
        images.publish(image_message(np.zeros((240, 320, 3), np.uint8), "rgb8", header))
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
    assert node.end() == 0, node.output()
