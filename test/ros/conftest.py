"""What the ROS tests share: a private DDS domain, a client node, and node processes with a log."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import moro_ros

# Before anything touches rclpy: a domain of this test run's own, kept to this machine.
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"

# Discovery takes 3 s and more when a first announcement is lost; a loaded machine adds to it.
PATIENCE_S = 30.0


class Client:
    """A node in the test's process: it publishes, receives and waits."""

    def __init__(self) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        self.node = rclpy.create_node("test_client")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)

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
    """A node in a process of its own, whose output is kept."""

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

    def output(self) -> str:
        """What it has said so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def end(self, number: int | None = signal.SIGINT) -> int:
        """Send it a signal (None: wait for its own end); returns its exit status."""
        if number is not None and self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()


@pytest.fixture(scope="session")
def fake_node() -> ModuleType:
    """The module test/ros/fake_node.py."""
    path = Path(__file__).with_name("fake_node.py")
    spec = importlib.util.spec_from_file_location("fake_node", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fake_node"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def ros_context() -> Iterator[None]:
    """rclpy of the test's process, able to send whole images."""
    import rclpy

    from moro_ros.ros.profile import use_image_profile

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
    """start_node(script, namespace, **parameters) starts a process that ends with the module."""
    running: list[NodeProcess] = []

    def start(script: list[str], namespace: str = "/", **parameters: Any) -> NodeProcess:
        process = NodeProcess(tmp_path_factory.mktemp("node"), script, namespace, parameters)
        running.append(process)
        return process

    yield start
    for process in running:
        process.end()


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
