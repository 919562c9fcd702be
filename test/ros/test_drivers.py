"""What real drivers do, each before a node of its own: other clocks, latched calibrations, loss."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo

pytestmark = pytest.mark.ros

LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
CAMERA = str(Path(__file__).with_name("lossy_camera.py"))


def test_stamps_of_the_clock_since_boot_are_named_once_and_give_no_latency(
    make_bench: Callable[..., Any],
) -> None:
    bench = make_bench()
    bench.listen_to_all()
    bench.info_publisher.publish(bench.info())

    def answered() -> Any:
        bench.info_publisher.publish(bench.info())
        stamp_ns = bench.send(bench.image(1, bench.header(time.monotonic_ns())))
        bench.client.spin(0.2)
        return bench.humans_of(stamp_ns)

    message = bench.client.wait(answered, "an answer")
    assert math.isnan(message.latency)
    name = "the clock since the computer was started (CLOCK_MONOTONIC)"
    bench.client.wait(lambda: name in bench.node.output(), "the log")
    bench.client.wait(answered, "another answer")
    status, values = bench.fresh_status()
    assert values["stamp_clock"] == name and name in status.message
    assert status.level == DiagnosticStatus.WARN
    assert values["latency_s.p50"] is None and values["processed"] >= 2
    assert bench.node.output().count(name) == 1
    bench.node.end()


def test_a_latched_camera_info_is_heard_also_after_a_reactivation_which_keeps_the_counters(
    make_bench: Callable[..., Any],
) -> None:
    bench = make_bench()
    client = bench.client
    client.node.destroy_publisher(bench.info_publisher)
    latched = client.node.create_publisher(CameraInfo, "camera_info", LATCHED)
    latched.publish(bench.info())
    bench.info_publisher = latched
    bench.listen_to_all()
    client.wait(lambda: bench.answered(bench.image_publisher), "an answer")
    bench.answer(bench.image(5))
    first = bench.fresh_status()[1]
    # The stand-in has counted 40 before this node was there: they are not this node's.
    assert first["ignored_people"] == 2
    change = client.node.create_client(ChangeState, "/moro/change_state")
    for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVATE):
        request = ChangeState.Request(transition=Transition(id=transition))
        assert client.call(change, request).success
    client.wait(lambda: bench.answered(bench.image_publisher), "an answer after reactivation")
    again = bench.fresh_status()[1]
    assert again["ignored_people"] == 2 and again["processed"] > first["processed"]
    assert bench.node.output().count("people in view: the farthest are not followed") == 1
    # A volatile publisher that takes the other's place is heard, too.
    client.node.destroy_publisher(latched)
    bench.info_publisher = client.node.create_publisher(CameraInfo, "camera_info", 10)

    def followed() -> bool:
        bench.info_publisher.publish(bench.info(focal_px=200.0))
        return bench.answered(bench.image_publisher) and bench.calls("push")[-1]["focal"] == 200.0

    client.wait(followed, "the volatile camera_info")
    client.node.destroy_publisher(bench.info_publisher)
    client.node.destroy_publisher(bench.image_publisher)
    bench.node.end()


def statuses(client: Any, namespace: str) -> Callable[[], dict[str, str]]:
    """A function that returns the newest diagnostics of a node: its values, and the message."""
    _, received = client.subscribe(DiagnosticArray, "/diagnostics")

    def newest() -> dict[str, str]:
        for array in reversed(received):
            status = array.status[0]
            if status.name.startswith(namespace):
                return {v.key: v.value for v in status.values} | {"message": status.message}
        return {}

    return newest


def test_an_unmodified_reliable_driver_is_heard_without_loss_after_a_moment(
    client: Any, start_fake_node: Callable[..., Any], start_node: Callable[..., Any]
) -> None:
    node, _ = start_fake_node(namespace="/reliable_one")
    camera = start_node([CAMERA, "reliable"], "/reliable_one")
    status = statuses(client, "/reliable_one")
    client.wait(lambda: int(status().get("received", 0)) > 30, "images")
    before = status()
    client.spin(5.0)
    after = status()
    received, lost = (int(after[k]) - int(before[k]) for k in ("received", "lost_in_transport"))
    assert received >= 20 and lost <= 0.1 * received, (received, lost, node.output())
    camera.end()
    node.end()


def test_an_unmodified_best_effort_driver_s_loss_is_told_with_remedies(
    client: Any, start_fake_node: Callable[..., Any], start_node: Callable[..., Any]
) -> None:
    node, _ = start_fake_node(namespace="/best_effort_one")
    camera = start_node([CAMERA, "best_effort"], "/best_effort_one")
    lost = "images, the rest was lost in transport. To get all: have the driver publish reliable"
    client.wait(lambda: lost in node.output(), "the log of the loss")
    status = statuses(client, "/best_effort_one")
    client.wait(lambda: lost in status().get("message", ""), "the diagnostics of the loss")
    assert "fastdds_images.xml" in status()["message"]
    assert "image_transport to compressed" in status()["message"]
    assert "is silent" not in node.output()
    camera.end()
    node.end()
