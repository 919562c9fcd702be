"""moro view on the command line: what it refuses in one sentence, and what it serves."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from moro_ros.cli import cli, run
from moro_ros.errors import ConfigError
from moro_ros.io.recording import MotionRecording, row_of

pytest.importorskip("viser", reason="viser is not installed")


@pytest.fixture
def recording(posed, tmp_path: Path) -> Path:
    motion = MotionRecording()
    motion.stamps_ns = [0, 33_333_333]
    for stamp in motion.stamps_ns:
        motion.add(1, row_of(posed(np.zeros((22, 3)), stamp_ns=stamp)))
    motion.save(tmp_path / "motion.npz")
    return tmp_path


def refused(capsys, *words: object) -> str:
    """The one sentence with which the command is refused."""
    assert cli.main(["view", "--no-browser", *map(str, words)]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("moro view: ") and output.err.count("\n") == 1
    return str(output.err)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "got 0, expected one or two, or --live"),
        (["a", "b", "c"], "got 3, expected one or two"),
        (["a", "--live"], "give either PATH or --live"),
        (["/nowhere"], "There is no /nowhere: expected motion.npz"),
        (["/nowhere", "--port", "70000"], "--port: got 70000, expected 0 (any free one) to 65535"),
        (["/nowhere", "--host", "192.0.2.1"], "Cannot listen on 192.0.2.1 port 8080"),
        (["/nowhere", "--host", "192.0.2.1"], "--host: got '192.0.2.1', expected an address of"),
        (["/nowhere", "--host", "no.such.host.invalid"], "Cannot listen on no.such.host.invalid"),
    ],
)
def test_what_is_wrong_is_said(words, message, capsys):
    assert message in refused(capsys, *words)


def test_a_damaged_file_is_named(recording, capsys):
    path = recording / "motion.npz"
    path.write_bytes(path.read_bytes()[:500])
    assert f"{path} is not a motion.npz" in refused(capsys, recording)


def test_a_recording_of_nobody_is_named(tmp_path, capsys):
    MotionRecording().save(tmp_path / "motion.npz")
    assert "contains no people: there is nothing to show" in refused(capsys, tmp_path)


def test_a_video_that_does_not_exist_is_named(recording, capsys):
    message = refused(capsys, recording, "--video", "none.mp4", "--port", 0)
    assert "No video at 'none.mp4'" in message


@pytest.mark.parametrize("live", [False, True])
def test_a_port_that_is_taken_is_named(recording, live, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        words = ["--live"] if live else [recording]
        message = refused(capsys, *words, "--port", port)
    assert f"Cannot listen on 127.0.0.1 port {port} (Address already in use)" in message
    assert "--port" in message


def test_without_viser_the_command_names_the_package(recording, monkeypatch, capsys):
    monkeypatch.setattr("moro_ros.cli.view.find_spec", lambda _name: None)
    assert "python3 -m pip install viser" in refused(capsys, recording)


def test_the_page_is_served_to_this_machine_until_a_signal(recording):
    env = {name: value for name, value in os.environ.items() if "DISPLAY" not in name}
    words = [sys.executable, "-m", "moro_ros.cli.cli", "view", str(recording), "--port", "0"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=env)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        # Without a graphical session nothing is opened; the address is named.
        assert said.startswith("Open this address in a browser: http://127.0.0.1:")
        url = said.split()[6].rstrip(";")
        with urllib.request.urlopen(url, timeout=30) as page:
            assert b"<html" in page.read()[:1000]
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def given(**values: object) -> dict[str, object]:
    return {name: argument.default for name, argument in run.ARGUMENTS.items()} | values


def test_moro_run_and_the_launch_file_start_the_viewer_beside_the_node():
    nodes = {node.executable: node for node in run.nodes_to_run(given(view=True, view_port=0))}
    assert nodes.keys() == {"moro_node", "moro_view"}
    viewer = nodes["moro_view"]
    assert viewer.parameters == {"port": 0, "browser": True}
    assert viewer.remappings["humans"] == "moro/humans"
    assert viewer.remappings["image"] == "/camera/image_raw"


def test_the_viewer_of_moro_run_shows_one_camera():
    with pytest.raises(ConfigError, match="view shows one camera"):
        run.nodes_to_run(given(view=True, cameras="front,side"))


def test_moro_demo_refuses_a_taken_port_before_it_starts(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert cli.main(["demo", "--view", "--view-port", str(port)]) == 1
    message = capsys.readouterr().err
    assert f"port {port} (Address already in use)" in message and "--view-port" in message


def test_the_help_names_the_defaults(capsys):
    with pytest.raises(SystemExit):
        cli.main(["view", "--help"])
    assert "127.0.0.1" in capsys.readouterr().out
