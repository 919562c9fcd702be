"""Children get a clean environment, are always stopped, and their deaths are explained."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from moro_ros.cli import processes
from moro_ros.cli.processes import Children, ProcessError, clean_environment, ros_arguments

SLEEPER = """
import signal, sys, time
def end(*_):
    print("ended", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("up", flush=True)
while True:
    time.sleep(0.05)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(60)
"""
STARTING = "import time\nprint('up', flush=True)\ntime.sleep(60)"
DYING = "import sys\nprint('the reason of it all')\nsys.exit(3)"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which `python -m sleeper` and the like run."""
    programs = {"sleeper": SLEEPER, "stubborn": STUBBORN, "starting": STARTING, "dying": DYING}
    for name, code in programs.items():
        (tmp_path / f"{name}.py").write_text(code)
    return clean_environment(os.environ) | {"PYTHONPATH": str(tmp_path)}


def wait_for(path: Path, text: str) -> None:
    end = time.monotonic() + 15
    while text not in path.read_text():
        assert time.monotonic() < end, path.read_text()
        time.sleep(0.02)


def test_children_are_terminated_in_reverse_order(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[str] = []
    stop = processes.Child.stop
    monkeypatch.setattr(
        processes.Child, "stop", lambda child: (stopped.append(child.name), stop(child))
    )
    with Children(environment, tmp_path) as children:
        running = [children.start(name, "sleeper", []) for name in ("first", "second")]
        for child in running:
            wait_for(child.log, "up")
        children.wait(0.1)
    assert stopped == ["second", "first"]
    assert [child.status for child in running] == [0, 0]
    assert "ended" in (tmp_path / "first.log").read_text()


def test_a_child_that_is_still_starting_ends_without_a_traceback(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """As where another one dies at once of a wrong argument."""
    with Children(environment, tmp_path) as children:
        child = children.start("starting", "starting", [])
        wait_for(child.log, "up")
    assert child.status == -signal.SIGTERM
    assert child.log.read_text() == "up\n"


def test_a_child_that_ignores_that_is_killed(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "STOP_TIMEOUT_S", 0.3)
    with Children(environment, tmp_path) as children:
        child = children.start("stubborn", "stubborn", [])
        wait_for(child.log, "up")
    assert child.status == -signal.SIGKILL


def test_a_death_is_told_with_the_last_words_and_takes_the_others_along(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with (
        pytest.raises(ProcessError, match=r"(?s)dying ended with status 3.*the reason of it all"),
        Children(environment, tmp_path) as children,
    ):
        other = children.start("other", "sleeper", [])
        children.start("dying", "dying", [])
        children.wait(20)
    assert other.status is not None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_to_the_parent_stop_the_children(
    environment: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    code = (
        "import os, pathlib, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # background jobs lack it
        "from moro_ros.cli.processes import Children\n"
        "with Children(dict(os.environ), pathlib.Path(sys.argv[1])) as children:\n"
        "    child = children.start('child', 'sleeper', [])\n"
        "    print(child.process.pid, flush=True)\n"
        "    children.wait(60)\n"
    )
    root = str(Path(processes.__file__).parents[2])
    env = environment | {"PYTHONPATH": os.pathsep.join([environment["PYTHONPATH"], root])}
    command = [sys.executable, "-c", code, str(tmp_path)]
    parent = subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert parent.stdout is not None
    child_id = int(parent.stdout.readline())
    wait_for(tmp_path / "child.log", "up")
    parent.send_signal(number)
    assert parent.wait(60) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(child_id, 0)


def test_another_ros_and_the_bootstrapper_leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: object())
    clean = clean_environment(
        {
            "AMENT_PREFIX_PATH": "/opt/ros/humble:/home/me/ws/install",
            "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1",
            "LD_LIBRARY_PATH": "/opt/ros/humble/lib:/v/site-packages/ros_rcl.libs:/usr/local/cuda",
            "PYTHONPATH": "/opt/ros/humble/lib/python3.10/site-packages:/home/me/code",
            "PATH": "/home/me/ws/install/bin:/usr/bin",
            "HOME": "/home/me",
        }
    )
    assert clean == {
        "LD_LIBRARY_PATH": "/usr/local/cuda",
        "PYTHONPATH": "/home/me/code",
        "PATH": "/usr/bin",
        "HOME": "/home/me",
    }


def test_a_sourced_ros_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    missing = {"ros_wheels_bootstrapper"}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in missing else found(name)
    )
    sourced = {"AMENT_PREFIX_PATH": "/opt/ros/jazzy", "LD_LIBRARY_PATH": "/opt/ros/jazzy/lib"}
    assert clean_environment(sourced) == sourced


def test_the_workspace_that_this_package_was_built_in_is_passed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where that workspace stands on the wheels."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: object())
    workspace = Path(processes.__file__).parents[2]
    sourced = {"AMENT_PREFIX_PATH": f"/other:{workspace}", "PYTHONPATH": f"{workspace}/lib"}
    assert clean_environment(sourced) == sourced


def test_parameter_values_survive_the_yaml_of_ros_arguments() -> None:
    import yaml

    values: dict[str, Any] = {
        "video": "/tmp/1: [odd] 'näme' \U0001f600.mp4",
        "rate": 12.5,
        "loop": True,
        "topics": ["/a", ""],
    }
    words = ros_arguments(values, {"image": "/camera/image_raw"})
    assert words[:3] == ["--ros-args", "-r", "image:=/camera/image_raw"]
    pairs = [word.split(":=", 1) for word in words[4::2]]
    assert {name: yaml.safe_load(text) for name, text in pairs} == values


def test_a_program_that_is_not_there_is_named(environment: dict[str, str]) -> None:
    with Children(environment, logs=None) as children:
        with pytest.raises(ProcessError, match="no_such_viewer is not installed"):
            children.start_program("no_such_viewer", [])
        assert children.start_program("true", []).process.wait(10.0) == 0
