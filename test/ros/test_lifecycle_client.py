"""moro_lifecycle on the command line, against a node in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

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
