"""Cameras between processes: two in one process, and one that is pulled and comes back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from moro_ros.msg import HumanArray
from rcl_interfaces.srv import GetParameters
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from moro_ros.errors import ConfigError
from moro_ros.io.camera_file import camera_from_focal
from moro_ros.ros.conversions import camera_info_message, ns_to_stamp, stamp_to_ns
from moro_ros.ros.fallbacks import cv2_to_imgmsg
from moro_ros.ros.node import camera_names

pytestmark = pytest.mark.ros
WIDTH, HEIGHT = 64, 48
RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
PARAMETERS = """
/**:
  ros__parameters: {cameras: "front, side", motion: {passes: 2}}
/front/moro:
  ros__parameters: {motion: {window: 30}}
"""


class Camera:
    """A camera of a given focal length, and the humans that the node finds in its images."""

    def __init__(self, client: Any, prefix: str, focal_px: float) -> None:
        self.client, self.prefix, self.focal_px = client, prefix, focal_px
        self.plug()
        self.subscription, self.humans = client.subscribe(HumanArray, f"{prefix}/moro/humans")

    def plug(self) -> None:
        create = self.client.node.create_publisher
        self.images = create(Image, f"{self.prefix}/image", RELIABLE)
        self.infos = create(CameraInfo, f"{self.prefix}/camera_info", RELIABLE)

    def pull(self) -> None:
        self.client.node.destroy_publisher(self.images)
        self.client.node.destroy_publisher(self.infos)

    def send(self, people: int) -> int:
        stamp_ns = time.time_ns()
        header = Header(stamp=ns_to_stamp(stamp_ns), frame_id=f"lens{self.prefix[1:]}")
        camera = camera_from_focal(self.focal_px, WIDTH, HEIGHT)
        self.infos.publish(camera_info_message(camera, header))
        pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        pixels[0, 0, 0] = people
        self.images.publish(cv2_to_imgmsg(pixels, "bgr8", header))
        return stamp_ns

    def answered(self, people: int) -> HumanArray | None:
        stamp_ns = self.send(people)
        self.client.spin(0.2)
        found = (m for m in self.humans if stamp_to_ns(m.header.stamp) == stamp_ns)
        return next(found, None)

    def answer(self, people: int) -> HumanArray:
        what = f"humans of {self.prefix}"
        return self.client.wait(lambda: self.answered(people), what)

    def close(self) -> None:
        self.client.node.destroy_subscription(self.subscription)
        self.pull()


@pytest.fixture(scope="module")
def pair(
    client: Any, start_node: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """The process of two cameras, the log of its stand-ins, and the cameras."""
    folder = tmp_path_factory.mktemp("cameras")
    parameters, calls = folder / "cameras.yaml", folder / "calls.jsonl"
    parameters.write_text(PARAMETERS, encoding="utf-8")
    script = [str(Path(__file__).with_name("fake_node.py")), str(calls), "0.01"]
    words = ["--ros-args", "--params-file", str(parameters)]
    node = start_node([*script, *words])
    cameras = [Camera(client, "/front", 100.0), Camera(client, "/side", 200.0)]
    yield node, calls, *cameras
    for camera in cameras:
        camera.close()


def test_each_camera_has_its_own_node_and_calibration(pair: Any) -> None:
    node, calls, front, side = pair
    assert len(front.answer(1).humans) == 1
    assert len(side.answer(3).humans) == 3
    assert front.humans[-1].header.frame_id == "lensfront"
    assert side.humans[-1].header.frame_id == "lensside"
    focals = {json.loads(line).get("focal") for line in calls.open()}
    assert {100.0, 200.0} <= focals
    names = front.client.node.get_node_names_and_namespaces()
    assert {("moro", "/front"), ("moro", "/side")} <= set(names)
    assert node.process.poll() is None


def test_parameters_of_all_cameras_and_of_one(pair: Any) -> None:
    client = pair[2].client

    def window_and_passes(prefix: str) -> tuple[int, int]:
        service = client.node.create_client(GetParameters, f"{prefix}/moro/get_parameters")
        request = GetParameters.Request(names=["motion.window", "motion.passes"])
        return tuple(v.integer_value for v in client.call(service, request).values)

    assert window_and_passes("/front") == (30, 2)
    assert window_and_passes("/side") == (48, 2)


def test_what_is_asked_of_one_camera_leaves_the_other_alone(pair: Any) -> None:
    _, calls, front, side = pair
    front.answer(1)
    side.answer(2)
    resets = sum('"reset"' in line for line in calls.open())
    reset = front.client.node.create_client(Trigger, "/front/moro/reset")
    assert front.client.call(reset, Trigger.Request()).success
    assert sum('"reset"' in line for line in calls.open()) == resets + 1
    state = front.client.node.create_client(GetState, "/side/moro/get_state")
    active = front.client.call(state, GetState.Request()).current_state.id
    assert active == State.PRIMARY_STATE_ACTIVE
    _, statuses = front.client.subscribe(DiagnosticArray, "/diagnostics")
    front.client.wait(
        lambda: (
            {s.name for m in statuses for s in m.status}
            >= {"/front/moro: human motion", "/side/moro: human motion"}
        ),
        "the diagnostics of both",
    )


def test_what_the_library_logs_names_the_camera_that_it_is_of(pair: Any) -> None:
    node, _, front, _ = pair
    front.answer(4)
    # Two threads have a part in it: one looks at the image, another recovers the motion.
    for text in ("Four are looked at.", "Four are recovered."):
        front.client.wait(lambda text=text: text in node.output(), text)
        lines = [line for line in node.output().splitlines() if text in line]
        assert all("[front.moro]: " in line for line in lines), lines


def test_a_camera_whose_model_is_not_there_ends_the_process_under_its_own_name(
    start_node: Callable[..., Any], tmp_path: Path
) -> None:
    parameters = tmp_path / "cameras.yaml"
    parameters.write_text(
        "/**: {ros__parameters: {cameras: 'front, side'}}\n"
        "/side/moro: {ros__parameters: {model: unfetched}}\n",
        encoding="utf-8",
    )
    script = [str(Path(__file__).with_name("fake_node.py")), str(tmp_path / "calls"), "0"]
    node = start_node([*script, "--ros-args", "--params-file", str(parameters)])
    assert node.end(None) == 1
    fatal = [line for line in node.output().splitlines() if "[FATAL]" in line]
    assert len(fatal) == 1 and "[side.moro]: The file of 'unfetched' is not in" in fatal[0]
    assert "Traceback" not in node.output()


def test_a_camera_that_is_pulled_comes_back(pair: Any) -> None:
    node, _, front, side = pair
    front.answer(1)
    front.pull()
    nobody = "/front/image has no publisher"
    front.client.wait(lambda: nobody in node.output(), "the warning")
    assert len(side.answer(2).humans) >= 2  # the other one goes on
    front.plug()
    assert len(front.answer(2).humans) == 2
    back = "[front.moro]: Images are received again"
    front.client.wait(lambda: back in node.output(), "the all-clear")
    stamps = [stamp_to_ns(m.header.stamp) for m in front.humans]
    assert stamps == sorted(set(stamps))
    assert node.end() == 0
    assert node.output().count("Done: ") == 2


@pytest.mark.parametrize("text", ["front,front", "fr ont", "a/b", "1st", "b,ö"])
def test_names_that_make_no_namespaces_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="cameras: got"):
        camera_names(text)


def test_names_of_cameras() -> None:
    assert camera_names("") == camera_names(" , ") == []
    assert camera_names("front, side_2") == ["front", "side_2"]
