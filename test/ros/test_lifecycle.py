"""The life cycle of moro_node between processes: transitions, also under load, and failures."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from moro_ros.msg import HumanArray
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from std_srvs.srv import SetBool

from moro_ros.assets import cached_path
from moro_ros.cli.fetch import DETECTOR
from moro_ros.resources import share_path

pytestmark = pytest.mark.ros


class Managed:
    """The services of a managed node, called from the bench's client."""

    def __init__(self, client: Any, name: str) -> None:
        self.client = client
        self._change = client.node.create_client(ChangeState, f"{name}/change_state")
        self._get = client.node.create_client(GetState, f"{name}/get_state")

    def change(self, transition: int) -> bool:
        request = ChangeState.Request(transition=Transition(id=transition))
        return self.client.call(self._change, request).success

    def state(self) -> int:
        return self.client.call(self._get, GetState.Request()).current_state.id


@pytest.fixture(scope="module")
def waiting(make_bench: Callable[..., Any]) -> Any:
    """A bench whose node waits for its first transition."""
    return make_bench(autostart=False, log_period_s=1.0, image_timeout_s=0.5)


@pytest.fixture(scope="module")
def managed(waiting: Any) -> Managed:
    return Managed(waiting.client, "/moro")


def images_until(bench: Any, condition: Callable[[], Any], what: str) -> None:
    """Send images at some 50 Hz until a condition holds."""

    def sent() -> bool:
        bench.info_publisher.publish(bench.info())
        bench.send(bench.image(1))
        time.sleep(0.02)
        return bool(condition())

    bench.client.wait(sent, what)


def test_unconfigured_until_asked(waiting: Any, managed: Managed) -> None:
    assert managed.state() == State.PRIMARY_STATE_UNCONFIGURED
    status, values = waiting.fresh_status()
    assert status.message == "Unconfigured." and values["state"] == "unconfigured"
    assert values["memory_bytes"] > 1e6 and values["model"] == ""
    assert not waiting.client.node.count_publishers("/moro/humans")
    assert not waiting.image_publisher.get_subscription_count()
    assert not managed.change(Transition.TRANSITION_ACTIVATE)  # not from here
    assert managed.state() == State.PRIMARY_STATE_UNCONFIGURED


def test_configured_it_offers_and_active_it_works(waiting: Any, managed: Managed) -> None:
    assert managed.change(Transition.TRANSITION_CONFIGURE)
    assert managed.state() == State.PRIMARY_STATE_INACTIVE
    status, values = waiting.fresh_status()
    assert status.message == "Inactive." and values["model"] == "fake"
    waiting.humans = waiting.listen(HumanArray, "/moro/humans")
    assert not waiting.image_publisher.get_subscription_count()
    assert managed.change(Transition.TRANSITION_ACTIVATE)
    images_until(waiting, lambda: waiting.humans, "humans")
    assert managed.state() == State.PRIMARY_STATE_ACTIVE


def test_transitions_under_load(waiting: Any, managed: Managed) -> None:
    """Images never stop coming; an inactive node answers none, an active one goes on."""
    client = waiting.client
    for _ in range(3):
        resets = len(waiting.calls("reset"))
        for _ in range(5):
            waiting.send(waiting.image(2))
        assert managed.change(Transition.TRANSITION_DEACTIVATE)
        assert len(waiting.calls("reset")) == resets + 1
        pushed = len(waiting.calls("push"))
        for _ in range(10):
            waiting.send(waiting.image(2))
            client.spin(0.01)
        assert len(waiting.calls("push")) == pushed
        assert managed.change(Transition.TRANSITION_ACTIVATE)
        seen = len(waiting.humans)
        images_until(waiting, lambda seen=seen: len(waiting.humans) > seen, "humans again")
    stamps = [(m.header.stamp.sec, m.header.stamp.nanosec) for m in waiting.humans]
    assert stamps == sorted(set(stamps))
    assert "Traceback" not in waiting.node.output()


def test_a_parameter_set_while_inactive_is_used_once_active(waiting: Any, managed: Managed) -> None:
    assert managed.change(Transition.TRANSITION_DEACTIVATE)
    service = waiting.client.node.create_client(SetParameters, "/moro/set_parameters")
    value = ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=3)
    request = SetParameters.Request(parameters=[Parameter(name="motion.passes", value=value)])
    assert waiting.client.call(service, request).results[0].successful
    assert managed.change(Transition.TRANSITION_ACTIVATE)
    seen = len(waiting.humans)
    images_until(waiting, lambda: len(waiting.humans) > seen, "humans again")
    assert [call["passes"] for call in waiting.calls("configure")] == [3]


def test_cleaned_up_it_offers_nothing_and_can_be_configured_anew(
    waiting: Any, managed: Managed
) -> None:
    client = waiting.client
    assert not managed.change(Transition.TRANSITION_CLEANUP)  # not while active
    assert managed.change(Transition.TRANSITION_DEACTIVATE)
    assert managed.change(Transition.TRANSITION_CLEANUP)
    client.wait(lambda: not client.node.count_publishers("/moro/humans"), "the topic to go")
    assert waiting.fresh_status()[1]["model"] == ""
    assert managed.change(Transition.TRANSITION_CONFIGURE)
    assert managed.change(Transition.TRANSITION_ACTIVATE)
    waiting.deafen("/moro/humans")
    waiting.humans = waiting.listen(HumanArray, "/moro/humans")
    images_until(waiting, lambda: waiting.humans, "humans after a new start")


def test_shut_down_while_active(waiting: Any, managed: Managed) -> None:
    assert managed.change(Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert managed.state() == State.PRIMARY_STATE_FINALIZED
    assert waiting.node.end() == 0
    assert "Done: " in waiting.node.output() and "Traceback" not in waiting.node.output()


def test_what_cannot_be_configured_fails_with_the_remedy(
    client: Any, start_fake_node: Callable[..., Any]
) -> None:
    node, _ = start_fake_node(namespace="/bad", autostart=False, model="missing")
    managed = Managed(client, "/bad/moro")
    for _ in range(2):
        assert not managed.change(Transition.TRANSITION_CONFIGURE)
        assert managed.state() == State.PRIMARY_STATE_UNCONFIGURED
    assert "No model 'missing': expected a folder" in node.output()
    enable = client.node.create_client(SetBool, "/bad/moro/enable")
    assert client.call(enable, SetBool.Request(data=False)).success
    assert node.end() == 0
    assert "Traceback" not in node.output()


def test_without_the_detector_s_files_it_ends_with_the_command_and_downloads_nothing(
    start_node: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MORO_CACHE", str(tmp_path))
    node = start_node(["-m", "moro_ros.ros.node"])
    assert node.end(None) == 1
    lines = [line for line in node.output().splitlines() if "pose_detection.tflite" in line]
    assert len(lines) == 1 and "'moro fetch pose_detection.tflite'" in lines[0]
    assert "Traceback" not in node.output() and not list(tmp_path.glob("mediapipe*"))


def test_without_the_heavy_network_the_accurate_preset_ends_with_the_command(
    start_node: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = cached_path(DETECTOR)
    if not usual.is_file():
        pytest.skip(f"needs {usual}")
    (tmp_path / usual.parent.name).symlink_to(usual.parent)
    monkeypatch.setenv("MORO_CACHE", str(tmp_path))
    preset = str(share_path("config", "accurate.yaml"))
    node = start_node(["-m", "moro_ros.ros.node", "--ros-args", "--params-file", preset])
    assert node.end(None) == 1
    lines = [line for line in node.output().splitlines() if "pose_landmark_heavy" in line]
    assert len(lines) == 1 and "'moro fetch pose_landmark_heavy.tflite'" in lines[0]
    assert "Traceback" not in node.output()


def test_a_node_that_is_not_configured_has_not_loaded_the_network_s_library() -> None:
    """It would take most of the memory of the waiting node."""
    code = "import sys, moro_ros.ros.node; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
