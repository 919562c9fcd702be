"""moro_bag: a recording comes back as it was, with its clock, again and again."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from moro_ros.msg import HumanArray
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import StoragePlugin, Writer
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from moro_ros.io.camera_file import camera_from_focal
from moro_ros.ros.bag import known_types
from moro_ros.ros.conversions import camera_info_message, ns_to_stamp, stamp_to_ns
from moro_ros.ros.fallbacks import cv2_to_imgmsg

pytestmark = pytest.mark.ros
WIDTH, HEIGHT, COUNT, PERIOD_NS = 64, 48, 12, 100_000_000
START_NS = 1_600_000_000 * 10**9
SCRIPT = ["-m", "moro_ros.ros.bag_source"]
LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of one person at 10 Hz, in 2020, with camera_info, a static transform, and a clock."""
    folder = tmp_path_factory.mktemp("bags") / "walk"
    store = known_types()
    topics = {
        "/cam/image_raw": "sensor_msgs/msg/Image",
        "/cam/camera_info": "sensor_msgs/msg/CameraInfo",
        "/tf_static": "tf2_msgs/msg/TFMessage",
        "/clock": "rosgraph_msgs/msg/Clock",
    }
    with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        made = {t: writer.add_connection(t, kind, typestore=store) for t, kind in topics.items()}
        writer.write(made["/tf_static"], START_NS, serialize_message(TFMessage()))
        for index in range(COUNT):
            now_ns = START_NS + index * PERIOD_NS
            header = Header(stamp=ns_to_stamp(now_ns), frame_id="lens")
            pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            pixels[0, 0, 0] = 1
            info = camera_info_message(camera_from_focal(100.0, WIDTH, HEIGHT), header)
            for topic, message in (
                ("/cam/camera_info", info),
                ("/cam/image_raw", cv2_to_imgmsg(pixels, "bgr8", header)),
                ("/clock", Clock(clock=ns_to_stamp(0))),
            ):
                writer.write(made[topic], now_ns, serialize_message(message))
    return folder


def test_the_recording_comes_back_with_its_time(
    client: Any, start_node: Callable[..., Any], recording: Path
) -> None:
    node = start_node(SCRIPT, bag=str(recording), start_delay_s=6.0)
    _, images = client.subscribe(Image, "/cam/image_raw")
    _, infos = client.subscribe(CameraInfo, "/cam/camera_info")
    _, static = client.subscribe(TFMessage, "/tf_static", LATCHED)
    _, clocks = client.subscribe(Clock, "/clock")
    client.wait(lambda: node.process.poll() is not None, "the end of the recording")
    client.spin(0.5)
    assert node.process.poll() == 0, node.output()
    stamps = [stamp_to_ns(image.header.stamp) for image in images]
    assert stamps == [START_NS + i * PERIOD_NS for i in range(COUNT)]
    assert len(infos) == COUNT and len(static) == 1
    times = [stamp_to_ns(clock.clock) for clock in clocks]
    assert times == sorted(times) and len(times) > COUNT
    assert times[0] >= START_NS and times[-1] == START_NS + (COUNT - 1) * PERIOD_NS


def test_a_loop_in_simulated_time_is_lived_through(
    client: Any,
    start_node: Callable[..., Any],
    start_fake_node: Callable[..., Any],
    recording: Path,
) -> None:
    """Stamps rise within each round; each jump back restarts the windows once."""
    perceiving, calls = start_fake_node(namespace="/loop", use_sim_time=True)
    subscription, humans = client.subscribe(HumanArray, "/loop/moro/humans")
    remaps = ["--ros-args", "-r", "/cam/image_raw:=/loop/image"]
    remaps += ["-r", "/cam/camera_info:=/loop/camera_info"]
    playing = start_node([*SCRIPT, *remaps], bag=str(recording), loop=True, start_delay_s=2.0)

    def jumps() -> int:
        stamps = [stamp_to_ns(m.header.stamp) for m in humans]
        return sum(later <= earlier for earlier, later in itertools.pairwise(stamps))

    client.wait(lambda: jumps() >= 2, "two jumps back")
    known, start_s = len(humans), time.monotonic()
    client.wait(lambda: len(humans) > known, "humans after the jumps")
    assert time.monotonic() - start_s < 10.0
    assert playing.end() == 0
    client.spin(0.5)
    # By the recording's time; the wall clock says years. At a jump clock and image may cross.
    # An image of before a jump, met by a clock of after it, has no latency.
    latencies = np.array([m.latency for m in humans[2:]])
    assert np.isnan(latencies).mean() < 0.3
    assert np.nanmedian(np.abs(latencies)) < 0.3 and np.nanmax(np.abs(latencies)) < 2.0
    resets = sum('"reset"' in line for line in calls.open())
    assert resets == jumps()
    assert perceiving.end() == 0
    assert "Traceback" not in perceiving.output()
    client.node.destroy_subscription(subscription)


@pytest.mark.parametrize("bag", ["", "/nowhere/bag"])
def test_what_cannot_be_played_is_named(start_node: Callable[..., Any], bag: str) -> None:
    node = start_node(SCRIPT, bag=f"'{bag}'")
    assert node.end(None) == 1
    assert "bag: " in node.output() and "Traceback" not in node.output()


def test_playback_begins_when_the_node_listens(
    client: Any,
    start_node: Callable[..., Any],
    start_fake_node: Callable[..., Any],
    recording: Path,
) -> None:
    """However late that is, nothing of the recording is lost."""
    remaps = ["--ros-args", "-r", "/cam/image_raw:=/late/image"]
    remaps += ["-r", "/cam/camera_info:=/late/camera_info"]
    # Somebody else who listens from the beginning on, such as RViz, is not waited for.
    seen: list[Image] = []
    subscription = client.node.create_subscription(Image, "/late/image", seen.append, 10)
    playing = start_node([*SCRIPT, *remaps], bag=str(recording), wait_for_nodes="/late/moro")
    client.wait(lambda: "Waiting until /late/moro is active" in playing.output(), "the wait")
    perceiving, _ = start_fake_node(
        namespace="/late", use_sim_time=True, image_reliability="reliable", autostart=False
    )
    change = client.node.create_client(ChangeState, "/late/moro/change_state")
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
    assert client.call(change, request).success
    client.spin(3.0)
    assert seen == [] and playing.process.poll() is None
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_ACTIVATE))
    assert client.call(change, request).success
    client.wait(lambda: playing.process.poll() is not None, "the end of the recording")
    assert playing.process.poll() == 0, playing.output()
    client.spin(1.0)
    assert len(seen) == COUNT
    assert perceiving.end() == 0
    assert f"Done: {COUNT} images received" in perceiving.output()
    client.node.destroy_subscription(subscription)


def test_a_node_that_listens_to_something_else_is_named(
    client: Any,
    start_node: Callable[..., Any],
    start_fake_node: Callable[..., Any],
    recording: Path,
) -> None:
    perceiving, _ = start_fake_node(namespace="/other", use_sim_time=True)
    playing = start_node(SCRIPT, bag=str(recording), wait_for_nodes="/other/moro")
    assert playing.end(None) == 0, playing.output()
    said = "/other/moro subscribes to /other/image, but the recording has /cam/image_raw"
    assert said in playing.output()
    assert perceiving.end() == 0


def test_a_wait_can_be_ended(start_node: Callable[..., Any], recording: Path, client: Any) -> None:
    playing = start_node(SCRIPT, bag=str(recording), wait_for_nodes="/nobody")
    client.wait(lambda: "Waiting until /nobody" in playing.output(), "the wait")
    assert playing.end() == 0, playing.output()


def test_a_recording_that_is_damaged_within_is_named(
    start_node: Callable[..., Any], recording: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(recording, tmp_path / "walk")
    file = folder / "walk.mcap"
    content = bytearray(file.read_bytes())
    content[200:20_000] = b"\xff" * 19_800
    file.write_bytes(content)
    node = start_node(SCRIPT, bag=str(folder), start_delay_s=0.0)
    assert node.end(None) == 1
    assert "The recording is damaged" in node.output() and "Traceback" not in node.output()
