"""moro_view over real DDS: what the node and the camera publish is what is shown."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("viser", reason="viser is not installed")

from moro_ros.msg import Human, HumanArray
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image

from moro_ros.errors import ConfigError, DataError
from moro_ros.ros.stamps import AFTER_LAST_NS
from moro_ros.ros.view_node import ViewNode

pytestmark = pytest.mark.ros
START_NS, RATE_NS = 1_700_000_000_000_000_000, 33_333_333


@pytest.fixture
def viewer(client: Any) -> Iterator[tuple[ViewNode, threading.Event]]:
    node = ViewNode([Parameter("port", value=0), Parameter("refined", value=True)])
    stopped = threading.Event()
    yield node, stopped
    stopped.set()
    node.close()


def test_a_port_that_is_taken_is_named_as_a_parameter(ros_context: None) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=r"another port with the parameter port, or stop"):
            ViewNode([Parameter("port", value=port)])


def human_array(posed: Callable[..., Any], index: int, state: int = 0) -> HumanArray:
    """One person, 3 m before the camera and 1.5 m below it; moving to the right."""
    motion = posed(np.zeros((22, 3)), (0.1 * index, 0.6, 3.0))
    message = HumanArray(ground_plane=[0.0, -1.0, 0.0, 1.5])
    stamp_ns = START_NS + index * RATE_NS
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    human = Human(id=7, tracking_state=state)
    human.transl = motion.smplx.transl[0]
    for joint, place in zip(human.joints, motion.joints[0].tolist(), strict=True):
        joint.pose.position.x, joint.pose.position.y, joint.pose.position.z = place
        joint.covariance = np.diag([1e-4, 1e-4, 4e-4]).astype(np.float32).ravel()
    message.humans = [human]
    return message


def wait_for(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


def test_people_camera_and_image_are_taken_up(
    viewer: tuple[ViewNode, threading.Event], client: Any, posed: Callable[..., Any]
) -> None:
    node, stopped = viewer
    humans = client.node.create_publisher(HumanArray, "humans", 10)
    refined = client.node.create_publisher(HumanArray, "humans_refined", 10)
    info = client.node.create_publisher(CameraInfo, "camera_info", 10)
    image = client.node.create_publisher(Image, "image", 10)
    listener = threading.Thread(target=node.run, args=(stopped,))
    listener.start()
    try:
        publishers = (humans, refined, info, image)
        wait_for(lambda: all(one.get_subscription_count() for one in publishers))
        calibrated = CameraInfo(width=64, height=48, distortion_model="plumb_bob")
        calibrated.k = [50.0, 0.0, 32.0, 0.0, 50.0, 24.0, 0.0, 0.0, 1.0]
        info.publish(calibrated)
        picture = Image(height=48, width=64, step=192, encoding="rgb8", data=[9] * 48 * 192)
        for index in range(5):
            message = human_array(posed, index)
            picture.header.stamp = message.header.stamp
            image.publish(picture)
            # The node's name for the frame of a camera that has none.
            message.header.frame_id = "camera_optical_frame"
            humans.publish(message)
            if index < 2:
                refined.publish(message)
            time.sleep(0.1)
        # A lost person repeats the pose before; a stamp 1 ns later means that the images stopped.
        humans.publish(human_array(posed, 5, Human.TRACKING_LOST))
        ended = human_array(posed, 5)
        ended.header.stamp.nanosec += AFTER_LAST_NS
        humans.publish(ended)
        live, later = node.results
        wait_for(lambda: len(live.moments) == 6 and len(later.moments) == 2)
        wait_for(lambda: live.camera is not None and len(live.pictures) == 5)
        # The timeline follows the newest moment.
        wait_for(lambda: node.viewer.timeline.position_ns == live.moments[-1].stamp_ns)
        shown = live.camera, list(live.moments)
        # People in the frame of the world are shown without the camera.
        world = human_array(posed, 9)
        world.header.frame_id = "world"
        humans.publish(world)
        wait_for(lambda: live.camera is None)
    finally:
        stopped.set()
        listener.join()
    camera, moments = shown
    assert [sorted(moment.people) for moment in moments] == [[7]] * 5 + [[]]
    joints = live.axes().points(live.moments[3].people[7].row["joints"])
    assert joints[0] == pytest.approx([0.3, 3.0, 0.9], abs=1e-3)
    assert live.moments[3].people[7].covariance[0, 2, 2] == pytest.approx(4e-4)
    assert live.ground_from == "from the node" and camera.width == 64


def test_a_node_with_another_body_ends_it_with_the_reason(
    viewer: tuple[ViewNode, threading.Event], client: Any, posed: Callable[..., Any]
) -> None:
    node, stopped = viewer
    humans = client.node.create_publisher(HumanArray, "humans", 10)
    message = human_array(posed, 0)
    message.humans[0].joints[15].pose.position.x += 0.1

    def publish() -> None:
        while not stopped.is_set():
            humans.publish(message)
            time.sleep(0.1)

    publisher = threading.Thread(target=publish)
    publisher.start()
    try:
        with pytest.raises(DataError, match="recorded with another body"):
            node.run(stopped)
    finally:
        stopped.set()
        publisher.join()
