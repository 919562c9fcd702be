"""moro_lifecycle on the command line, against a node in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import rclpy
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.task import Future

from moro_ros.errors import ConfigError
from moro_ros.ros import lifecycle_client

pytestmark = pytest.mark.ros


def ask(*words: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "moro_ros.ros.lifecycle_client", *words]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.returncode, result.stdout.strip(), result.stderr


def test_a_node_is_led_through_its_life(start_fake_node: Callable[..., Any]) -> None:
    node, _ = start_fake_node(namespace="/led", autostart=False)
    assert ask("/led/moro")[:2] == (0, "unconfigured")
    for transition, state in (
        ("configure", "inactive"),
        ("activate", "active"),
        ("deactivate", "inactive"),
        ("cleanup", "unconfigured"),
        ("shutdown", "finalized"),
    ):
        assert ask("/led/moro", transition)[:2] == (0, state)
    status, _, words = ask("/led/moro", "shutdown")
    assert status == 1 and "cannot be shut down" in words
    assert node.end() == 0


def test_what_fails_has_a_status_and_words(
    start_fake_node: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    start_fake_node(namespace="/ill", autostart=False, model="missing")
    status, state, words = ask("/ill/moro", "configure")
    assert (status, state) == (1, "unconfigured") and "configure failed" in words
    status, _, words = ask("/ill/moro", "fly")
    assert status == 1 and "No transition 'fly'; expected configure" in words
    assert lifecycle_client.FIND_TIMEOUT_S >= 6.0  # discovery may take 3 s and more


class Losing:
    """A service whose first answers are lost."""

    def __init__(self, lost: int, answer: Any, calls: list[str]) -> None:
        self.lost, self.answer, self.calls = lost, answer, calls

    def wait_for_service(self, _: float) -> bool:
        return True

    def call_async(self, request: Any) -> Future:
        self.calls.append(type(request).__name__)
        future = Future()
        if len(self.calls) > self.lost:
            future.set_result(self.answer)
        return future


def test_a_lost_answer_is_asked_for_again_but_no_transition_is(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle_client, "REPEAT_S", 0.2)
    monkeypatch.setattr(lifecycle_client, "ANSWER_TIMEOUT_S", 1.0)
    node = rclpy.create_node("asking")
    asking = lifecycle_client.LifecycleClient(node, "/anybody")
    calls: list[str] = []
    state = State(id=State.PRIMARY_STATE_INACTIVE, label="inactive")
    asking._get = Losing(2, GetState.Response(current_state=state), calls)  # type: ignore[assignment]
    change = Losing(0, ChangeState.Response(success=True), calls)
    asking._change = change  # type: ignore[assignment]
    assert asking.change("activate")
    assert calls == ["GetState_Request"] * 3 + ["ChangeState_Request"]
    change.lost = 100
    with pytest.raises(ConfigError, match="did not respond for 1 s"):
        asking.change("activate")
    assert calls[4:] == ["GetState_Request", "ChangeState_Request"]
    asking.close()
    node.destroy_node()
