"""moro demo over real DDS, with a stand-in for the networks: everything is there, nothing stays."""

import os
import socket
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")

from moro_ros.body.body_model import BodyModel, load_body_model
from moro_ros.cli import cli, demo
from moro_ros.io.recording import load_recording
from moro_ros.resources import share_path

pytestmark = pytest.mark.ros
FRAMES, RATE = 24, 12.0
TEST_ROS = Path(__file__).parents[1] / "ros"
PERCEPTION = """
import sys
from fake_node import FakePipeline, body_motion
from moro_ros.ros.node import run
from moro_ros.types import PipelineResult

class TwoPeople(FakePipeline):
    def recover(self, observed, mesh=False):
        stamp_ns, camera = observed.frame.stamp_ns, observed.frame.camera
        motions = tuple(body_motion(i, stamp_ns, 2.0 + i, mesh) for i in (1, 2))
        return PipelineResult(stamp_ns, camera, (), motions, {"motion_s": 0.0})

sys.exit(run(sys.argv[1:], lambda config: TwoPeople(None, 0.0)))
"""
PAGE = """
import re, sys
from http.server import HTTPServer, SimpleHTTPRequestHandler

port = int(re.search(r"port:=(\\d+)", " ".join(sys.argv))[1])
HTTPServer(("127.0.0.1", port), SimpleHTTPRequestHandler).serve_forever()
"""
DYING = "import sys\nprint('the weights are damaged')\nsys.exit(1)"


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return load_body_model(share_path("models", "open_body", "OPEN_NEUTRAL.npz"))


@pytest.fixture
def video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: BodyModel) -> Path:
    """A short grey video; the modules `perception`, `page` and `dying` can be started."""
    (tmp_path / "perception.py").write_text(PERCEPTION)
    (tmp_path / "page.py").write_text(PAGE)
    (tmp_path / "dying.py").write_text(DYING)
    paths = [str(tmp_path), str(TEST_ROS), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(demo, "fetch_models", lambda: None)
    monkeypatch.setattr(demo, "body_of", lambda _model: body)
    path = tmp_path / "grey.mp4"
    fourcc = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(path), fourcc, RATE, (320, 240))
    for _ in range(FRAMES):
        writer.write(np.full((240, 320, 3), 40, np.uint8))
    writer.release()
    return path


def processes_below(folder: Path) -> list[str]:
    """Command lines of running processes that name a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in words:
            found.append(words)
    return found


def test_the_whole_path(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "NODE_MODULE", "perception")
    monkeypatch.setattr(demo, "SETTLE_S", 1.5)
    out = tmp_path / "out"
    status = cli.main(["demo", "--video", str(video), "--focal", "300", "--out", str(out)])
    shown = capsys.readouterr()
    assert status == 0, shown.err
    names = {"motion.mcap", "motion.npz", "joints.csv", "overlay.mp4", "sheet.png", "logs"}
    assert {path.name for path in out.iterdir()} == names
    recording = load_recording(out / "motion.npz")
    assert recording.camera is not None and recording.camera.matrix[0, 0] == 300
    published = demo.read_json(out / "logs" / "video.json")["stamps_ns"]
    assert len(published) == FRAMES
    assert set(recording.stamps_ns) <= set(published)
    # How many are dropped is the machine's business.
    assert len(recording.stamps_ns) >= 3
    assert {i: len(rows) for i, rows in recording.people().items()} == dict.fromkeys(
        (1, 2), len(recording.stamps_ns)
    )
    rows = {line.split("  ")[0]: line for line in shown.out.splitlines()}
    assert f" at {RATE:g} Hz" in rows["frames published"]
    assert int(rows["frames processed"].split()[-1]) >= len(recording.stamps_ns)
    assert "ms" in rows["latency, stamp to publication"]
    capture = cv2.VideoCapture(str(out / "overlay.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == FRAMES
    assert processes_below(tmp_path) == []


def test_the_live_page_stays_until_there_is_recorded_motion_to_show(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("viser", reason="viser is not installed")
    monkeypatch.setattr(demo, "NODE_MODULE", "perception")
    monkeypatch.setattr(demo, "VIEW_MODULE", "page")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    seen: dict[str, object] = {}

    def served() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    draw = demo.write_overlay

    def drawn(*arguments: Any) -> None:
        seen["while drawing"] = served()
        draw(*arguments)

    def shown(paths: list[Path], *_: object, **__: object) -> None:
        seen["then"] = served(), [path.name for path in paths]

    monkeypatch.setattr(demo, "write_overlay", drawn)
    monkeypatch.setattr(demo, "show", shown)
    words = ["--video", str(video), "--focal", "300", "--out", str(tmp_path / "out")]
    assert cli.main(["demo", *words, "--view", "--view-port", str(port)]) == 0
    assert seen == {"while drawing": True, "then": (False, ["out"])}
    assert processes_below(tmp_path) == []


def test_a_node_that_dies_ends_the_demo_with_its_last_words(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "NODE_MODULE", "dying")
    out = tmp_path / "out"
    assert cli.main(["demo", "--video", str(video), "--focal", "300", "--out", str(out)]) == 1
    message = capsys.readouterr().err
    assert "moro demo: node ended with status 1" in message
    assert "the weights are damaged" in message
    assert "Traceback" not in message
    left = {path.name for path in out.iterdir()}
    assert not left & {"overlay.mp4", "sheet.png"}
    assert not [name for name in left if name.startswith(".")]
    assert processes_below(tmp_path) == []


def test_a_calibration_of_another_size_is_told(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "NODE_MODULE", "perception")
    camera = tmp_path / "camera.toml"
    camera.write_text(
        "[c]\nsize = [640, 480]\nmatrix = [[500, 0, 320], [0, 500, 240], [0, 0, 1]]\n"
    )
    words = ["demo", "--video", str(video), "--camera", str(camera), "--out", str(tmp_path / "o")]
    assert cli.main(words) == 1
    message = capsys.readouterr().err
    assert "640x480" in message and "320x240" in message
    assert not (tmp_path / "o").exists()  # nothing was started
