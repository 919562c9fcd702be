"""A whole node with simulated people: predictions come true, follow the clock, and end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from moro_ros.msg import HumanArray, HumanPredictionArray
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from moro_ros.io.camera_file import camera_from_focal
from moro_ros.recover.prediction import HORIZONS_S
from moro_ros.ros.conversions import camera_info_message, ns_to_stamp, stamp_to_ns
from moro_ros.ros.fallbacks import cv2_to_imgmsg

pytestmark = [pytest.mark.ros, pytest.mark.weights]

RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
PERIOD_NS = 33_333_333
CAMERA = camera_from_focal(300.0, 320, 240, "lens")
# Images are shown as fast as they are answered; a pause is longer.
OPTIONS = {"people": "synthetic", "camera_guard": False, "motion.max_gap_s": 3.0}
# The fifth horizon, 0.5 s, in images.
HORIZON, LATER = 4, 15


class Theatre:
    """A node with simulated people, and what it says of the images that are shown to it."""

    def __init__(self, client: Any, node: Any) -> None:
        self.client, self.node = client, node
        client.wait(lambda: "is ready" in node.output(), "the node's model", 120.0)
        self._images = client.node.create_publisher(Image, "image", RELIABLE)
        self._infos = client.node.create_publisher(CameraInfo, "camera_info", RELIABLE)
        _, self._humans = client.subscribe(HumanArray, "/moro/humans")
        _, self.predicted = client.subscribe(HumanPredictionArray, "/moro/humans_predicted")
        client.wait(self._images.get_subscription_count, f"the node:\n{node.output()}")

    def show(self, stamp_ns: int, patience_s: float = 5.0) -> HumanArray | None:
        """Show one image; returns its people, or None if no answer comes."""
        header, before = Header(stamp=ns_to_stamp(stamp_ns), frame_id="lens"), len(self._humans)
        self._infos.publish(camera_info_message(CAMERA, header))
        self._images.publish(cv2_to_imgmsg(np.zeros((240, 320, 3), np.uint8), "rgb8", header))
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            self.client.spin(0.01)
            for message in self._humans[before:]:
                if stamp_to_ns(message.header.stamp) == stamp_ns:
                    return message
        return None


def places(message: HumanArray) -> dict[int, np.ndarray]:
    """The joints (22, 3) of everybody by id."""
    found = {}
    for human in message.humans:
        points = [joint.pose.position for joint in human.joints]
        found[human.id] = np.array([[p.x, p.y, p.z] for p in points])
    return found


def test_people_are_predicted_until_they_are_lost(
    client: Any, start_node: Callable[..., Any]
) -> None:
    theatre = Theatre(client, start_node(["-m", "moro_ros.ros.node"], **OPTIONS))
    start_ns, number = time.time_ns(), 0
    shown: dict[int, HumanArray] = {}
    while len(shown) < 80:
        stamp_ns = start_ns + number * PERIOD_NS
        if (answer := theatre.show(stamp_ns)) is not None:
            shown[stamp_ns] = answer
        number += 1
        assert number < 120, theatre.node.output()
    # Whoever moves is nearer to where they were predicted than to where they were.
    ratios, first_ns = [], min(shown) + 25 * PERIOD_NS
    for message in theatre.predicted:
        now_ns = stamp_to_ns(message.header.stamp)
        if now_ns < first_ns or now_ns + LATER * PERIOD_NS not in shown:
            continue
        now, later = places(shown[now_ns]), places(shown[now_ns + LATER * PERIOD_NS])
        assert [human.id for human in message.humans] == list(now)
        for human in message.humans:
            joints = np.reshape(human.positions, (len(HORIZONS_S), 22, 3))[HORIZON]
            moved = np.linalg.norm(later[human.id] - now[human.id], axis=-1).mean()
            missed = np.linalg.norm(later[human.id] - joints, axis=-1).mean()
            if moved > 0.2:
                ratios.append(missed / moved)
    assert len(ratios) >= 5
    assert np.mean(ratios) < 0.7
    ids = {human.id for human in theatre.predicted[-1].humans}
    assert len(ids) == 2

    # The clock is set back: the stamps follow, and nobody of before is predicted.
    back_ns, count = start_ns - 100_000_000_000, len(theatre.predicted)
    for step in range(12):
        theatre.show(back_ns + step * PERIOD_NS)
    client.wait(lambda: len(theatre.predicted) >= count + 3, "predictions after the jump")
    late = [m for m in theatre.predicted if stamp_to_ns(m.header.stamp) < start_ns]
    assert any(message.humans for message in late)
    for message in late:
        assert not ids & {human.id for human in message.humans}
        assert all(np.isfinite(human.positions).all() for human in message.humans)

    # The images end: the predictions do, too, with an empty array.
    client.wait(lambda: not theatre.predicted[-1].humans, "an empty array")
    count = len(theatre.predicted)
    client.spin(1.0)
    assert len(theatre.predicted) == count
    assert theatre.node.end() == 0
