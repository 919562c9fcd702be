"""moro_recorder over real DDS: what is published ends up, complete, in the three files."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue  # noqa: E402
from geometry_msgs.msg import TransformStamped  # noqa: E402
from rclpy.context import Context  # noqa: E402
from rosbags.highlevel import AnyReader  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image  # noqa: E402
from tf2_msgs.msg import TFMessage  # noqa: E402

from moro_ros.inference.recording import INFERRED, load_recording  # noqa: E402
from moro_ros.msg import Human, HumanArray, HumanJoint  # noqa: E402
from moro_ros.tools.processes import clean_environment, private_domain  # noqa: E402

pytestmark = pytest.mark.ros
FRAMES = 12
ENVIRONMENT = private_domain()
START_NS = 1_700_000_000_000_000_000


class Publishers:
    """Speaks as the perception node and the camera do."""

    def __init__(self, node: Any) -> None:
        self.humans = node.create_publisher(HumanArray, "/moro/humans", 50)
        self.info = node.create_publisher(CameraInfo, "/camera/camera_info", 50)
        self.image = node.create_publisher(Image, "/camera/image_raw", 50)
        self.tf = node.create_publisher(TFMessage, "/tf", 50)
        self.diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 50)

    def wait_for_recorder(self, report: Path) -> None:
        """Until both sides know of one another; then reliable messages are not lost."""
        end = time.monotonic() + 20
        reliable = [self.humans, self.tf, self.diagnostics]
        while not all(p.get_subscription_count() for p in reliable) or not heard(report)[1]:
            assert time.monotonic() < end, "the recorder did not subscribe"
            self.info.publish(CameraInfo())  # uncalibrated: counted, not used
            time.sleep(0.05)

    def frame(self, index: int) -> None:
        stamp_ns = START_NS + index * 40_000_000
        info = CameraInfo(width=640, height=480, distortion_model="plumb_bob")
        info.k = [500.0, 0.0, 320.0, 0.0, 500.0, 240.0, 0.0, 0.0, 1.0]
        message = HumanArray(latency=0.01 * (index + 1))
        for header in (info.header, message.header):
            header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 10**9)
            header.frame_id = "camera_optical_frame"
        # The first image shows nobody.
        message.humans = [human(track_id, index) for track_id in (3, 5)[:index]]
        self.info.publish(info)
        self.image.publish(Image(height=1, width=1, encoding="mono8", step=1, data=[7]))
        self.humans.publish(message)
        transform = TransformStamped(header=message.header, child_frame_id="body_3")
        self.tf.publish(TFMessage(transforms=[transform]))
        status = DiagnosticStatus(name="moro", values=[KeyValue(key="processed", value=str(index))])
        self.diagnostics.publish(DiagnosticArray(status=[status]))


def human(track_id: int, index: int) -> Human:
    made = Human(id=track_id, confidence=0.5)
    made.transl = np.array([track_id, index, 4.0], np.float32)
    made.body_pose = np.full(63, 0.01 * index, np.float32)
    for number, joint in enumerate(made.joints):
        joint.pose.position.x = float(number)
        joint.pose.position.z = float(track_id)
        joint.confidence = 0.25
        joint.state = HumanJoint.STATE_INFERRED if number == 20 else HumanJoint.STATE_OBSERVED
    return made


@pytest.fixture(scope="module")
def publishers() -> Iterator[Publishers]:
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    context = Context()
    rclpy.init(context=context)
    node = rclpy.create_node("recorder_test", context=context)
    yield Publishers(node)
    node.destroy_node()
    rclpy.shutdown(context=context)
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@contextmanager
def recorder(out: Path, **parameters: Any) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "moro_ros.ros.recorder", "--ros-args"]
    for name, value in {"output": str(out), **parameters}.items():
        command += ["-p", f"{name}:={value}"]
    process = subprocess.Popen(
        command,
        env=clean_environment(os.environ) | ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def heard(report: Path) -> tuple[int, int]:
    """Frames and camera_infos received so far."""
    if not report.exists():
        return 0, 0
    values = json.loads(report.read_text())
    return values["frames_received"], values["camera_infos_received"]


def wait_for_frames(report: Path, count: int) -> None:
    end = time.monotonic() + 15
    while heard(report)[0] < count:
        assert time.monotonic() < end, "the recorder did not receive all frames"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_files_are_complete_after_a_signal(
    publishers: Publishers, tmp_path: Path, number: signal.Signals
) -> None:
    out, report = tmp_path / "out", tmp_path / "report.json"
    with recorder(out, report=report) as process:
        publishers.wait_for_recorder(report)
        for index in range(FRAMES):
            publishers.frame(index)
        wait_for_frames(report, FRAMES)
        # Nothing is visible before the end; impatience does not harm.
        assert [path.name for path in out.glob("[!.]*")] == []
        process.send_signal(number)
        process.send_signal(number)
        output, _ = process.communicate(timeout=15)
    assert process.returncode == 0, output
    assert sorted(p.name for p in out.iterdir()) == ["joints.csv", "motion.mcap", "motion.npz"]
    check_table(out)
    check_csv(out)
    check_bag(out / "motion.mcap")
    written = json.loads(report.read_text())
    assert written["finished"] is True
    assert written["people"] == {"3": FRAMES - 1, "5": FRAMES - 2}
    assert written["latency_p50_s"] == pytest.approx(0.065, abs=1e-4)
    assert written["diagnostics"]["moro"]["processed"] == str(FRAMES - 1)


def check_table(out: Path) -> None:
    recording = load_recording(out / "motion.npz")
    assert recording.stamps_ns == [START_NS + i * 40_000_000 for i in range(FRAMES)]
    assert recording.camera is not None
    assert (recording.camera.width, recording.camera.matrix[0, 0]) == (640, 500.0)
    people = recording.people()
    assert {track_id: len(rows) for track_id, rows in people.items()} == {3: 11, 5: 10}
    rows = people[3]
    assert rows["stamps_ns"].tolist() == recording.stamps_ns[1:]
    assert np.allclose(rows["transl"][:, 1], np.arange(1, FRAMES))
    assert np.allclose(rows["body_pose"][-1], 0.11)
    assert np.allclose(rows["joints"][0, :, 0], np.arange(22))
    assert np.flatnonzero(rows["state"][0] == INFERRED).tolist() == [20]


def check_csv(out: Path) -> None:
    lines = (out / "joints.csv").read_text().splitlines()
    assert lines[0] == "stamp_ns,id,joint,x,y,z,confidence,state"
    assert len(lines) == 1 + 22 * (11 + 10)
    wrist = f"{START_NS + 40_000_000},3,left_wrist,20.0000,0.0000,3.0000,0.250,inferred"
    assert wrist in lines


def check_bag(path: Path) -> None:
    with AnyReader([path]) as reader:
        topics = {name: info.msgcount for name, info in reader.topics.items() if info.msgcount}
        total = sum(topics.values())
        assert topics.pop("/camera/camera_info") > 0
        assert topics == dict.fromkeys(["/moro/humans", "/tf", "/diagnostics"], FRAMES)
        connections = [c for c in reader.connections if c.topic == "/moro/humans"]
        *_, (_, _, last) = reader.messages(connections)
        message: Any = reader.deserialize(last, "moro_ros/msg/HumanArray")
    assert [one.id for one in message.humans] == [3, 5]
    assert message.latency == pytest.approx(0.12)
    mcap_reader = pytest.importorskip("mcap.reader")
    with path.open("rb") as file:
        read = mcap_reader.make_reader(file)
        assert read.get_header().profile == "ros2"
        assert read.get_summary().statistics.message_count == total
        schemas = {schema.name for schema, _, _ in read.iter_messages()}
    assert "moro_ros/msg/HumanArray" in schemas


def test_images_are_recorded_on_request(publishers: Publishers, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    images = "['/camera/image_raw']"
    with recorder(tmp_path / "out", report=report, image_topics=images) as process:
        publishers.wait_for_recorder(report)
        for index in range(5):
            publishers.frame(index)
            time.sleep(0.05)
        wait_for_frames(report, 5)
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 0
    with AnyReader([tmp_path / "out" / "motion.mcap"]) as reader:
        assert reader.topics["/camera/image_raw"].msgcount > 0


def test_an_earlier_recording_is_kept_unless_told_otherwise(tmp_path: Path) -> None:
    (tmp_path / "motion.npz").write_bytes(b"precious")
    with recorder(tmp_path) as process:
        output, _ = process.communicate(timeout=15)
    assert process.returncode == 1
    assert "motion.npz already" in output
    assert "overwrite" in output
    assert [path.name for path in tmp_path.iterdir()] == ["motion.npz"]
    with recorder(tmp_path, overwrite=True) as process:
        end = time.monotonic() + 15
        while not list(tmp_path.glob(".recording-*")):
            assert time.monotonic() < end
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    assert load_recording(tmp_path / "motion.npz").people() == {}


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with recorder(tmp_path / "file" / "below") as process:
        output, _ = process.communicate(timeout=15)
    assert process.returncode == 1
    assert "Cannot write to the folder" in output
    assert "Traceback" not in output
