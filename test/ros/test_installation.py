"""A process whose installation lacks its files says so in one sentence, before ROS is there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.ros
SCRIPT = """
import importlib, sys
from moro_ros import resources
resources.candidates = lambda *_: []
importlib.import_module(sys.argv.pop(1)).main()
"""
NODES = {
    "moro_ros.ros.node": "moro",
    "moro_ros.ros.recorder": "moro_recorder",
    "moro_ros.ros.video_source": "moro_video",
    "moro_ros.ros.bag_source": "moro_bag",
    "moro_ros.ros.view_node": "moro_view",
}


@pytest.mark.parametrize("module", NODES)
def test_without_its_files_a_node_ends_with_a_sentence(module: str) -> None:
    # A profile of the user's own would be taken, and the files not looked for.
    env = {name: value for name, value in os.environ.items() if "DEFAULT_PROFILES" not in name}
    words = [sys.executable, "-c", SCRIPT, module]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60, check=False)
    said = (done.stdout + done.stderr).strip().splitlines()
    assert done.returncode == 1, said
    assert len(said) == 1, said
    assert "[FATAL] " in said[0] and f"[{NODES[module]}]: " in said[0]
    assert "were not found" in said[0] and "Install the package again" in said[0]
