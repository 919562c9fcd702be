"""QoS by parameter: an override takes effect on the wire, one that makes no sense ends the node."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rclpy
import yaml
from moro_ros.msg import HumanArray
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSProfile,
    ReliabilityPolicy,
    qos_profile_sensor_data,
)
from std_msgs.msg import Header

from moro_ros.errors import ConfigError
from moro_ros.ros import qos
from moro_ros.ros.outputs.base import DEPTH

pytestmark = pytest.mark.ros

OVERRIDES = {
    "/tuned/moro/humans": {"publisher": {"reliability": "best_effort", "depth": 3}},
    "/tuned/moro/mesh": {"publisher": {"history": "keep_all", "durability": "transient_local"}},
    "/tuned/image": {"subscription": {"reliability": "reliable", "deadline": 10**9}},
    "/tuned/moro/humen": {"publisher": {"depth": 3}},
    "/humans/bodies/tracked": {"publisher": {"depth": 3}},
}
LIFESPAN_NS = 100_000_000
FAKE = str(Path(__file__).with_name("fake_node.py"))


def parameter_file(folder: Path, overrides: dict[str, Any]) -> str:
    path = folder / "qos.yaml"
    path.write_text(yaml.safe_dump({"/**": {"ros__parameters": {"qos_overrides": overrides}}}))
    return str(path)


def test_overrides_take_effect_and_others_are_told(
    client: Any, start_node: Callable[..., Any], tmp_path: Path
) -> None:
    script = [FAKE, str(tmp_path / "calls"), "0.0"]
    words = ["--ros-args", "--params-file", parameter_file(tmp_path, OVERRIDES)]
    node = start_node([*script, *words], namespace="/tuned")

    def publisher(topic: str) -> Any:
        found = client.node.get_publishers_info_by_topic(topic)
        client.wait(lambda: client.node.count_publishers(topic), f"a publisher of {topic}")
        found = client.node.get_publishers_info_by_topic(topic)
        return found[0].qos_profile

    assert publisher("/tuned/moro/humans").reliability == ReliabilityPolicy.BEST_EFFORT
    assert publisher("/tuned/moro/mesh").durability == DurabilityPolicy.TRANSIENT_LOCAL
    untouched = publisher("/tuned/moro/cloud")
    assert untouched.reliability == ReliabilityPolicy.RELIABLE
    client.wait(lambda: client.node.count_subscribers("/tuned/image"), "the node to listen")
    (image,) = client.node.get_subscriptions_info_by_topic("/tuned/image")
    assert image.qos_profile.reliability == ReliabilityPolicy.RELIABLE
    assert image.qos_profile.deadline == Duration(seconds=1)
    told = "qos_overrides./tuned/moro/humen.publisher has no effect"
    client.wait(lambda: told in node.output(), "the warning")
    assert "did you mean '/tuned/moro/humans'?" in node.output()
    assert "qos_overrides./humans/bodies/tracked.publisher has no effect" in node.output()
    assert node.output().count("has no effect") == 2


@pytest.mark.parametrize(
    ("topic", "entity", "policy", "value", "words"),
    [
        ("/moro/humans", "publisher", "reliability", "sometimes", "expected reliable or best"),
        ("/moro/humans", "publisher", "depth", 0, "expected a whole number from 1, messages"),
        ("/moro/humans", "publisher", "lifespan", -5, "expected a whole number from 0, ns"),
        ("/moro/humans", "publisher", "depth", "ten", "got 'ten'"),
        ("/moro/humans", "publisher", "colour", "red", "publisher.(history|depth|"),
        ("/image", "subscription", "lifespan", 5, "subscription.(history|depth|"),
        ("/tf", "publisher", "reliability", "best_effort", "since TF listeners request it"),
        ("/moro/mesh_faces", "publisher", "durability", "volatile", "since it is published once"),
    ],
)
def test_what_makes_no_sense_is_refused(
    ros_context: None, topic: str, entity: str, policy: str, value: Any, words: str
) -> None:
    name = f"qos_overrides.{topic}.{entity}.{policy}"
    node = rclpy.create_node(
        "moro",
        automatically_declare_parameters_from_overrides=True,
        parameter_overrides=[rclpy.Parameter(name, value=value)],
    )
    try:
        with pytest.raises(ConfigError) as refusal:
            qos.check(node)
        assert str(refusal.value).startswith(name) and words in str(refusal.value)
    finally:
        node.destroy_node()


def test_the_node_ends_with_the_reason(start_node: Callable[..., Any], tmp_path: Path) -> None:
    overrides = {"/moro/humans": {"publisher": {"reliability": "sometimes"}}}
    words = ["--ros-args", "--params-file", parameter_file(tmp_path, overrides)]
    node = start_node([FAKE, str(tmp_path / "calls"), "0.0", *words])
    assert node.end(None) == 1
    assert "got 'sometimes', expected reliable or best_effort" in node.output()
    assert "Traceback" not in node.output()


def test_the_defaults_of_rclpy_stay_what_they_are(client: Any) -> None:
    """rclpy writes overrides into the profile that it is given."""
    before = repr(qos_profile_sensor_data)
    assert qos.profile_of(qos_profile_sensor_data) is not qos_profile_sensor_data
    profile = qos.profile_of(DEPTH)
    assert profile.depth == DEPTH and profile.history == HistoryPolicy.KEEP_LAST
    assert repr(qos_profile_sensor_data) == before


def test_old_humans_are_not_delivered_beyond_a_lifespan(ros_context: None) -> None:
    """Not to a subscriber that comes late, and not to one that looks late and asks for it."""
    topics = ("/short/humans", "/long/humans")
    overrides = {f"qos_overrides.{t}.publisher.durability": "transient_local" for t in topics}
    overrides["qos_overrides./short/humans.publisher.lifespan"] = LIFESPAN_NS
    node = rclpy.create_node(
        "lifespan_test",
        automatically_declare_parameters_from_overrides=True,
        parameter_overrides=[
            rclpy.Parameter(name, value=value) for name, value in overrides.items()
        ],
    )
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    qos.check(node)
    publishers = {topic: qos.create_publisher(node, HumanArray, topic, DEPTH) for topic in topics}
    received: dict[str, list[HumanArray]] = {}

    def listen(name: str, topic: str, **policies: Any) -> None:
        received[name] = []
        profile = QoSProfile(depth=DEPTH, **policies)
        node.create_subscription(HumanArray, topic, received[name].append, profile)

    def spin(seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            executor.spin_once(timeout_sec=0.02)

    try:
        listen("short_sighted", "/long/humans", lifespan=Duration(nanoseconds=LIFESPAN_NS))
        listen("patient", "/long/humans")
        end = time.monotonic() + 30.0
        while not all(received.values()):
            publishers["/long/humans"].publish(HumanArray())
            spin(0.05)
            assert time.monotonic() < end, "the subscriptions match"
        spin(0.2)
        for messages in received.values():
            messages.clear()
        for publisher in publishers.values():
            publisher.publish(HumanArray(header=Header(frame_id="lens")))
        time.sleep(5e-9 * LIFESPAN_NS)
        latched = {"durability": DurabilityPolicy.TRANSIENT_LOCAL}
        listen("late_short", "/short/humans", **latched)
        listen("late_long", "/long/humans", **latched)
        spin(1.0)
        counts = {name: len(messages) for name, messages in received.items()}
        assert counts.pop("late_long") >= 1
        assert counts == {"short_sighted": 0, "patient": 1, "late_short": 0}
    finally:
        executor.shutdown()
        node.destroy_node()
