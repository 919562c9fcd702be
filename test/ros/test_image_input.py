"""Why no image comes is said: QoS that do not match, the other transport, another type."""

from __future__ import annotations

from typing import Any

import pytest
import rclpy
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from moro_ros.ros.image_input import ImageInput
from moro_ros.ros.parameters import NodeConfig

pytestmark = pytest.mark.ros

BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
RELIABLE = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(
    depth=5,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
LATCHED_BEST_EFFORT = QoSProfile(
    depth=5,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


class Ear:
    """An ImageInput of a node of its own, for QoS are its parameters, and what it heard."""

    def __init__(self, client: Any, **options: str) -> None:
        self.images: list[Any] = []
        self._client, self.node = client, rclpy.create_node("ear")
        client.join(self.node)
        self.infos: list[Any] = []
        self.lost: list[int] = []
        self.input = ImageInput(
            self.node,
            NodeConfig(**options),
            self.images.append,
            self.infos.append,
            self.lost.append,
        )

    def end(self) -> None:
        self.input.destroy()
        self._client.leave(self.node)
        self.node.destroy_node()


@pytest.fixture
def publish(client: Any) -> Any:
    """publish(kind, topic, qos): a publisher that ends with the test."""
    made: list[Any] = []

    def make(kind: type, topic: str, qos: QoSProfile) -> Any:
        made.append(client.node.create_publisher(kind, topic, qos))
        return made[-1]

    yield make
    for publisher in made:
        client.node.destroy_publisher(publisher)


@pytest.mark.parametrize("qos", [BEST_EFFORT, RELIABLE, LATCHED])
def test_every_camera_is_heard_by_default(client: Any, publish: Any, qos: QoSProfile) -> None:
    ear, camera = Ear(client), publish(Image, "image", qos)
    client.wait(camera.get_subscription_count, "a match")

    def heard() -> bool:
        camera.publish(Image())
        client.spin(0.05)
        return bool(ear.images)

    client.wait(heard, "an image")
    assert ear.input.problems == ()
    ear.end()


@pytest.mark.parametrize("qos", [BEST_EFFORT, RELIABLE, LATCHED, LATCHED_BEST_EFFORT])
def test_every_camera_info_is_heard(client: Any, publish: Any, qos: QoSProfile) -> None:
    ear, camera = Ear(client), publish(CameraInfo, "camera_info", qos)
    client.wait(lambda: client.node.count_publishers("/camera_info"), "the publisher")
    client.wait(lambda: ear.node.count_publishers("/camera_info"), "the publisher")
    for _ in range(3):
        ear.input.tend()
        client.spin(0.2)

    def heard() -> bool:
        camera.publish(CameraInfo())
        client.spin(0.05)
        return bool(ear.infos)

    client.wait(heard, "a camera_info", 5.0)
    assert len(ear.input._infos) == 1
    ear.end()


def test_a_best_effort_camera_and_a_reliable_wish_are_explained(client: Any, publish: Any) -> None:
    ear = Ear(client, image_reliability="reliable")
    publish(Image, "image", BEST_EFFORT)
    client.wait(lambda: ear.input.problems, "the event of the mismatch")
    assert "is best effort and this node requests reliable delivery" in ear.input.problems[0]
    assert "Set image_reliability to best_effort" in ear.input.why_quiet()
    assert not ear.images
    ear.end()


def test_the_other_transport_is_pointed_at(client: Any, publish: Any) -> None:
    ear = Ear(client)
    remedy = "/image has no publisher. Remap 'image' and 'camera_info'"
    client.wait(lambda: remedy in ear.input.why_quiet(), "the graph without a publisher")
    publish(CompressedImage, "image/compressed", RELIABLE)
    client.wait(lambda: client.node.count_publishers("/image/compressed"), "the publisher")
    assert "set image_transport to compressed" in ear.input.why_quiet()
    ear.end()
    packed = Ear(client, image_transport="compressed")
    assert packed.input.topic == "/image/compressed"
    client.wait(lambda: "sends nothing" in packed.input.why_quiet(), "a silent publisher")
    packed.end()


def test_a_camera_that_is_gone_is_told_from_a_wrong_topic(client: Any) -> None:
    ear, camera = Ear(client), client.node.create_publisher(Image, "image", RELIABLE)
    client.wait(camera.get_subscription_count, "a match")
    camera.publish(Image())
    client.wait(lambda: ear.images, "an image")
    client.node.destroy_publisher(camera)
    gone = "/image has no publisher any more"
    client.wait(lambda: ear.input.why_quiet().startswith(gone), "the end of the publisher")
    ear.end()


def test_another_type_is_said(client: Any) -> None:
    ear = Ear(client)
    # One participant refuses two types on a topic; the other stands for another process.
    context = rclpy.Context()
    rclpy.init(context=context)
    other = rclpy.create_node("lidar", context=context)
    other.create_publisher(PointCloud2, "image", RELIABLE)
    said = "has the type sensor_msgs/msg/PointCloud2, not sensor_msgs/msg/Image"
    client.wait(lambda: said in ear.input.why_quiet(), "the publisher")
    ear.end()
    other.destroy_node()
    rclpy.shutdown(context=context)
