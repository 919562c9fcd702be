"""What the ROS tests share: a private DDS domain, a client node, and node processes with a log."""

from __future__ import annotations

import importlib
import json
import math
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from moro_ros.msg import HumanArray
from rcl_interfaces.srv import GetParameterTypes
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

import moro_ros
from moro_ros.io.camera_file import camera_from_focal
from moro_ros.recover.ground import GroundPlane
from moro_ros.ros.conversions import camera_info_message, ns_to_stamp, stamp_to_ns
from moro_ros.ros.fallbacks import cv2_to_imgmsg
from moro_ros.ros.outputs.base import Scene
from moro_ros.types import BodyMotion, PipelineResult

# Before rclpy starts: a domain of this test run's own, kept to this machine.
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"

# The modules beside this file are imported by their name; pytest itself does not import them.
sys.path.append(str(Path(__file__).parent))

# Discovery takes 3 s and more when a first announcement is lost; a loaded machine adds to it.
PATIENCE_S = 30.0
# A question whose answer was lost is asked again.
REPEAT_S = 3.0
# The images of the bench.
WIDTH, HEIGHT, FRAME = 64, 48, "test_optical_frame"
# Diagnostics that are text; the others are numbers.
TEXTS = {"model", "model_sha256", "state", "calibration", "ground", "depth", "floor_ignored"}
TEXTS |= {"qos", "stamp_clock"}
RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)


class Client:
    """A node in the test's process: it publishes, receives and waits."""

    def __init__(self) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        self.node = rclpy.create_node("test_client")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def join(self, node: Any) -> None:
        """Serve the callbacks of another node, too, until it leaves."""
        self._executor.add_node(node)

    def leave(self, node: Any) -> None:
        self._executor.remove_node(node)

    def spin(self, seconds: float) -> None:
        """Serve callbacks for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=max(0.0, end - time.monotonic()))

    def wait(self, condition: Callable[[], Any], what: str, seconds: float = PATIENCE_S) -> Any:
        """Serve callbacks until a condition holds and return it; fail the test if it never does."""
        end = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < end, f"waited {seconds} s for {what}"
            self._executor.spin_once(timeout_sec=0.05)
        return value

    def call(self, service: Any, request: Any) -> Any:
        """Call a service of a node, `<node>/<service>`, and wait for its response."""
        self.wait(service.service_is_ready, f"the service {service.srv_name}")
        if service not in self._known:
            self._make_known(service.srv_name.rpartition("/")[0])
            self._known.add(service)
        future = service.call_async(request)
        self.wait(future.done, f"the answer of {service.srv_name}")
        return future.result()

    def _make_known(self, name: str) -> None:
        """Wait until a node knows the clients made so far.

        A node can hear a request before it knows who reads the answer, which is then lost
        (ros2/ros2#1253). Readers are announced in order: once a last one, whose question may be
        repeated, is answered, all before it are known.
        """
        last = self.node.create_client(GetParameterTypes, f"{name}/get_parameter_types")
        self.wait(last.service_is_ready, f"the parameters of {name}")
        answers, asked_s = [], -math.inf

        def answered() -> bool:
            nonlocal asked_s
            if time.monotonic() > asked_s + REPEAT_S:
                answers.append(last.call_async(GetParameterTypes.Request()))
                asked_s = time.monotonic()
            return any(answer.done() for answer in answers)

        self.wait(answered, f"an answer of {name}")
        self.node.destroy_client(last)

    def subscribe(self, msg_type: type, topic: str, qos: Any = 10) -> tuple[Any, list[Any]]:
        """A subscription that is matched with a publisher, and the list it fills."""
        received: list[Any] = []
        subscription = self.node.create_subscription(msg_type, topic, received.append, qos)
        self.wait(lambda: self.node.count_publishers(topic), f"a publisher of {topic}")
        return subscription, received

    def close(self) -> None:
        """Take the node down."""
        self._executor.shutdown()
        self.node.destroy_node()


class NodeProcess:
    """A node in a process of its own, whose output is kept, and shown where a test fails."""

    running: ClassVar[list[NodeProcess]] = []

    def __init__(
        self, folder: Path, script: list[str], namespace: str, parameters: dict[str, Any]
    ) -> None:
        self.log_path = folder / "node.log"
        arguments = ["--ros-args", "-r", f"__ns:={namespace}"]
        for name, value in parameters.items():
            arguments += ["-p", f"{name}:={value}"]
        root = str(Path(moro_ros.__file__).parents[1])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *script, *arguments],
                env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.running.append(self)

    def output(self) -> str:
        """What it has said so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def end(self, number: int | None = signal.SIGINT) -> int:
        """Send it a signal (None: wait for its own end); returns its exit status."""
        if number is not None and self.process.poll() is None:
            self.process.send_signal(number)
        try:
            status = self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
        assert "Exception ignored" not in self.output(), "an object of rclpy outlived its context"
        return status


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Show what the nodes of a failed test have said last."""
    report = yield
    if report.failed:
        for node in NodeProcess.running:
            report.sections.append((f"process {node.process.pid}", node.output()[-4000:]))
    return report


@pytest.fixture(scope="session")
def fake_node() -> ModuleType:
    """The module test/ros/fake_node.py."""
    return importlib.import_module("fake_node")


@pytest.fixture(scope="session")
def moveit_scene() -> ModuleType:
    """The module test/ros/moveit_scene.py."""
    pytest.importorskip("moveit_msgs")
    return importlib.import_module("moveit_scene")


@pytest.fixture(scope="session")
def crowd_camera() -> ModuleType:
    """The module test/ros/crowd_camera.py."""
    return importlib.import_module("crowd_camera")


@pytest.fixture
def make_scene(fake_node: ModuleType) -> Callable[..., Scene]:
    """make_scene(motions, frame_id="lens", lost=(), image=None, ground=None, stamp_ns=0)."""

    def make(
        motions: tuple[BodyMotion, ...],
        frame_id: str = "lens",
        lost: tuple[int, ...] = (),
        image: np.ndarray | None = None,
        ground: GroundPlane | None = None,
        stamp_ns: int = 0,
        **annotations: Any,
    ) -> Scene:
        camera = camera_from_focal(100.0, WIDTH, HEIGHT)
        pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8) if image is None else image
        header = Header(stamp=ns_to_stamp(stamp_ns), frame_id=frame_id)
        result = PipelineResult(stamp_ns, camera, (), motions, {}, lost)
        body = fake_node.FakePipeline(None, 0.0)
        return Scene(result, header, pixels, body, ground, **annotations)

    return make


@pytest.fixture(scope="session")
def ros_context() -> Iterator[None]:
    """rclpy of the test's process, able to send whole images."""
    import rclpy

    from moro_ros.ros.transport import use_image_profile

    use_image_profile()
    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture(scope="module")
def client(ros_context: None) -> Iterator[Client]:
    """A client node for one module."""
    client = Client()
    yield client
    client.close()


@pytest.fixture(scope="module")
def start_node(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., NodeProcess]]:
    """start_node(script, namespace, **parameters): a process that ends with the module."""
    running: list[NodeProcess] = []

    def start(script: list[str], namespace: str = "/", **parameters: Any) -> NodeProcess:
        process = NodeProcess(tmp_path_factory.mktemp("node"), script, namespace, parameters)
        running.append(process)
        return process

    yield start
    # All of them, whatever one does: its images would reach the nodes of other tests.
    hung = []
    for process in running:
        NodeProcess.running.remove(process)
        try:
            process.end()
        except subprocess.TimeoutExpired:
            hung.append(process.output())
    assert not hung


@pytest.fixture(scope="module")
def start_fake_node(
    start_node: Callable[..., NodeProcess], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[NodeProcess, Path]]:
    """start_fake_node(delay_s, **parameters): moro_node with a stand-in, and its calls' log."""

    def start(delay_s: float = 0.0, **parameters: Any) -> tuple[NodeProcess, Path]:
        calls = tmp_path_factory.mktemp("calls") / "calls.jsonl"
        script = [str(Path(__file__).with_name("fake_node.py")), str(calls), str(delay_s)]
        return start_node(script, **parameters), calls

    return start


class Bench:
    """A camera that is told what to show, and everything that the node under test publishes."""

    def __init__(self, client: Any, node: Any, calls: Path) -> None:
        self.client, self.node, self.calls_path = client, node, calls
        create = client.node.create_publisher
        self.image_publisher = create(Image, "image", RELIABLE)
        self.info_publisher = create(CameraInfo, "camera_info", RELIABLE)
        self.subscriptions: dict[str, Any] = {}
        self.humans: list[HumanArray] = []
        self.transforms: list[TFMessage] = []
        self.diagnostics = self.listen(DiagnosticArray, "/diagnostics")

    def listen_to_all(self) -> None:
        """Subscribe to what an active node publishes, and wait until it hears the camera."""
        self.humans = self.listen(HumanArray, "/moro/humans")
        self.transforms = self.listen(TFMessage, "/tf")
        self._wait_matched(self.image_publisher)
        self._wait_matched(self.info_publisher)

    def listen(self, msg_type: type, topic: str) -> list[Any]:
        self.subscriptions[topic], received = self.client.subscribe(msg_type, topic)
        return received

    def deafen(self, topic: str) -> None:
        self.client.node.destroy_subscription(self.subscriptions.pop(topic))

    def _wait_matched(self, publisher: Any) -> None:
        self.client.wait(publisher.get_subscription_count, f"the node on {publisher.topic_name}")

    def header(self, stamp_ns: int | None = None) -> Header:
        stamp = ns_to_stamp(time.time_ns() if stamp_ns is None else stamp_ns)
        return Header(stamp=stamp, frame_id=FRAME)

    def image(self, people: int, header: Header | None = None, red: int = 0) -> Image:
        pixels = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
        pixels[0, 0] = people, 0, red
        return cv2_to_imgmsg(pixels, "bgr8", header or self.header())

    def info(self, width: int = WIDTH, height: int = HEIGHT, focal_px: float = 100.0) -> CameraInfo:
        camera = camera_from_focal(focal_px, width, height, FRAME)
        return camera_info_message(camera, self.header())

    def send(self, image: Image, publisher: Any = None) -> int:
        (publisher or self.image_publisher).publish(image)
        return stamp_to_ns(image.header.stamp)

    def answer(self, image: Image, publisher: Any = None) -> HumanArray:
        """Send an image and wait for its humans."""
        stamp_ns = self.send(image, publisher)
        return self.client.wait(lambda: self.humans_of(stamp_ns), "the image's humans")

    def be_answered(self) -> None:
        """Listen to all, and send until the node answers.

        Each side matches in its own time: what is sent before the other has is not received.
        """
        self.listen_to_all()

        def answered() -> bool:
            self.info_publisher.publish(self.info())
            return self.answered(self.image_publisher)

        self.client.wait(answered, f"an answer of the node:\n{self.node.output()}")

    def answered(self, publisher: Any) -> bool:
        """Send an image; whether its humans come soon."""
        stamp_ns = self.send(self.image(1), publisher)
        self.client.spin(0.2)
        return self.humans_of(stamp_ns) is not None

    def humans_of(self, stamp_ns: int) -> HumanArray | None:
        return next((m for m in self.humans if stamp_to_ns(m.header.stamp) == stamp_ns), None)

    def calls(self, name: str) -> list[dict[str, Any]]:
        if not self.calls_path.exists():
            return []
        lines = map(json.loads, self.calls_path.read_text().splitlines())
        return [line for line in lines if line["call"] == name]

    def status(self) -> tuple[DiagnosticStatus, dict[str, Any]]:
        """The newest diagnostics and their values."""
        status = self.diagnostics[-1].status[0]
        values = {v.key: v.value if v.key in TEXTS else json.loads(v.value) for v in status.values}
        return status, values

    def fresh_status(self) -> tuple[DiagnosticStatus, dict[str, Any]]:
        """Diagnostics made after this call."""
        now_ns = time.time_ns()

        def fresh() -> bool:
            return stamp_to_ns(self.diagnostics[-1].header.stamp) > now_ns

        self.client.wait(fresh, "diagnostics")
        return self.status()


@pytest.fixture(scope="module")
def make_bench(client: Any, start_fake_node: Callable[..., Any]) -> Callable[..., Bench]:
    """make_bench(**parameters): a bench around moro_node with a stand-in of 20 ms per image."""

    def make(**parameters: Any) -> Bench:
        bench = Bench(client, *start_fake_node(0.02, **parameters))
        client.wait(lambda: bench.diagnostics, "diagnostics")
        return bench

    return make


@pytest.fixture(scope="module")
def bench(make_bench: Callable[..., Bench]) -> Bench:
    parameters = {"image_timeout_s": 0.5, "marker_rate_hz": 240.0, "log_period_s": 1.0}
    # Most tests pause between images and do not mean it.
    parameters["motion.max_gap_s"] = 5.0
    bench = make_bench(**parameters)
    bench.be_answered()
    return bench
