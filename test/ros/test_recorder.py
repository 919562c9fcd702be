"""moro_recorder over real DDS: what is published ends up, complete, in the three files."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.highlevel import AnyReader

pytest.importorskip("rclpy")
pytest.importorskip("mcap", reason="mcap is not installed")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import TransformStamped
from mcap.reader import make_reader
from moro_ros.msg import Human, HumanArray, HumanJoint
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

from moro_ros.io.recording import INFERRED, load_recording
from moro_ros.ros.stamps import AFTER_LAST_NS

pytestmark = pytest.mark.ros
FRAMES = 12
START_NS = 1_700_000_000_000_000_000
SCRIPT = ["-m", "moro_ros.ros.recorder"]
StartNode = Callable[..., Any]


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
        end = time.monotonic() + 30
        reliable = [self.humans, self.tf, self.diagnostics]
        while not all(p.get_subscription_count() for p in reliable) or not heard(report)[1]:
            assert time.monotonic() < end, "the recorder did not subscribe"
            self.info.publish(CameraInfo())  # uncalibrated: counted, not used
            time.sleep(0.05)

    def frame(self, index: int, place: str = "camera_optical_frame") -> None:
        stamp_ns = START_NS + index * 40_000_000
        info = CameraInfo(width=640, height=480, distortion_model="plumb_bob")
        info.k = [500.0, 0.0, 320.0, 0.0, 500.0, 240.0, 0.0, 0.0, 1.0]
        message = HumanArray(latency=0.01 * (index + 1))
        for header in (info.header, message.header):
            header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 10**9)
            header.frame_id = "camera_optical_frame"
        message.header.frame_id = place
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
    made = Human(id=track_id, confidence=0.5, place_source=Human.PLACE_FLOOR)
    made.transl = np.array([track_id, index, 4.0], np.float32)
    made.body_pose = np.full(63, 0.01 * index, np.float32)
    for number, joint in enumerate(made.joints):
        joint.pose.position.x = float(number)
        joint.pose.position.z = float(track_id)
        joint.confidence = 0.25
        joint.state = HumanJoint.STATE_INFERRED if number == 20 else HumanJoint.STATE_OBSERVED
        joint.covariance = np.diag([0.01, 0.01, 0.09]).ravel().astype(np.float32)
    return made


@pytest.fixture(scope="module")
def publishers(client: Any) -> Publishers:
    return Publishers(client.node)


def heard(report: Path) -> tuple[int, int]:
    """Frames and camera_infos received so far."""
    if not report.exists():
        return 0, 0
    values = json.loads(report.read_text())
    return values["frames_received"], values["camera_infos_received"]


def wait_for_frames(report: Path, count: int) -> None:
    end = time.monotonic() + 30
    while heard(report)[0] < count:
        assert time.monotonic() < end, "the recorder did not receive all frames"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_files_are_complete_after_a_signal(
    publishers: Publishers, start_node: StartNode, tmp_path: Path, number: signal.Signals
) -> None:
    out, report = tmp_path / "out", tmp_path / "report.json"
    node = start_node(SCRIPT, output=out, report=report)
    publishers.wait_for_recorder(report)
    for index in range(FRAMES):
        publishers.frame(index)
    wait_for_frames(report, FRAMES)
    assert list(out.glob("[!.]*")) == []  # nothing is visible before the end
    node.process.send_signal(number)  # impatience does not harm
    assert node.end(number) == 0, node.output()
    assert sorted(p.name for p in out.iterdir()) == ["joints.csv", "motion.mcap", "motion.npz"]
    check_table(out)
    check_csv(out)
    check_bag(out / "motion.mcap")
    assert f"Recorded {FRAMES} messages of /moro/humans with 2 people to {out}: " in node.output()
    assert "no publisher" not in node.output()
    written = json.loads(report.read_text())
    assert written["finished"] is True
    assert written["people"] == {"3": FRAMES - 1, "5": FRAMES - 2}
    assert written["latency_p50_s"] == pytest.approx(0.065, abs=1e-4)
    assert written["diagnostics"]["moro"]["processed"] == str(FRAMES - 1)


def test_people_in_another_frame_get_no_camera(publishers, start_node, tmp_path) -> None:
    report = tmp_path / "report.json"
    node = start_node(SCRIPT, output=tmp_path, report=report)
    publishers.wait_for_recorder(report)
    publishers.frame(1, "map")
    wait_for_frames(report, 1)
    assert node.end() == 0, node.output()
    recording = load_recording(tmp_path / "motion.npz")
    assert recording.frame_id == "map" and recording.camera is None
    assert "'camera_optical_frame', but the people are in the frame 'map'" in node.output()


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
    assert lines[0] == "stamp_ns,id,joint,x,y,z,confidence,state,sigma,place_source"
    assert len(lines) == 1 + 22 * (11 + 10)
    wrist = (
        f"{START_NS + 40_000_000},3,left_wrist,20.0000,0.0000,3.0000,0.250,inferred,0.3000,floor"
    )
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
    with path.open("rb") as file:
        read = make_reader(file)
        summary = read.get_summary()
        assert read.get_header().profile == "ros2"
        assert summary is not None and summary.statistics is not None
        assert summary.statistics.message_count == total
        schemas = {schema.name for schema, _, _ in read.iter_messages() if schema}
    assert "moro_ros/msg/HumanArray" in schemas


def test_people_lost_as_the_images_stop_are_no_further_image(
    publishers: Publishers, start_node: StartNode, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    node = start_node(SCRIPT, output=tmp_path / "out", report=report)
    publishers.wait_for_recorder(report)
    publishers.frame(1)
    lost = HumanArray(latency=1.5, humans=[human(3, 1)])
    stamp_ns = START_NS + 40_000_000 + AFTER_LAST_NS
    lost.header.stamp.sec, lost.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    lost.humans[0].tracking_state = Human.TRACKING_LOST
    publishers.humans.publish(lost)
    publishers.frame(2)
    wait_for_frames(report, 2)
    assert node.end() == 0
    recording = load_recording(tmp_path / "out" / "motion.npz")
    assert recording.stamps_ns == [START_NS + i * 40_000_000 for i in (1, 2)]
    written = json.loads(report.read_text())
    assert written["frames_received"] == 2 and written["latency_p95_s"] < 0.1
    with AnyReader([tmp_path / "out" / "motion.mcap"]) as reader:
        assert reader.topics["/moro/humans"].msgcount == 3


def test_images_are_recorded_on_request(
    publishers: Publishers, start_node: StartNode, tmp_path: Path
) -> None:
    report, images = tmp_path / "report.json", "['/camera/image_raw']"
    node = start_node(SCRIPT, output=tmp_path / "out", report=report, image_topics=images)
    publishers.wait_for_recorder(report)
    for index in range(5):
        publishers.frame(index)
        time.sleep(0.05)
    wait_for_frames(report, 5)
    assert node.end() == 0
    with AnyReader([tmp_path / "out" / "motion.mcap"]) as reader:
        assert reader.topics["/camera/image_raw"].msgcount > 0


def test_markers_and_compressed_images_are_recorded_on_request(
    client: Any, publishers: Publishers, start_node: StartNode, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    markers = client.node.create_publisher(MarkerArray, "/moro/markers", 10)
    node = start_node(
        SCRIPT,
        output=tmp_path / "out",
        report=report,
        image_topics="['/camera/image_raw']",
        compress_images=True,
        markers_topic="/moro/markers",
    )
    publishers.wait_for_recorder(report)
    client.wait(markers.get_subscription_count, "the recorder's subscription")
    for index in range(5):
        markers.publish(MarkerArray(markers=[Marker(ns="skeleton", id=index)]))
        publishers.frame(index)
        time.sleep(0.05)
    wait_for_frames(report, 5)
    assert node.end() == 0
    client.node.destroy_publisher(markers)
    with AnyReader([tmp_path / "out" / "motion.mcap"]) as reader:
        topics = reader.topics
        assert topics["/moro/markers"].msgcount == 5 and "/camera/image_raw" not in topics
        name = "/camera/image_raw/compressed"
        assert topics[name].msgtype == "sensor_msgs/msg/CompressedImage"
        wanted = [c for c in reader.connections if c.topic == name]
        image = reader.deserialize(next(reader.messages(wanted))[2], topics[name].msgtype)
    pixels = cv2.imdecode(image.data, cv2.IMREAD_COLOR)
    assert pixels.shape == (1, 1, 3) and abs(int(pixels[0, 0, 0]) - 7) <= 2


def test_an_earlier_recording_is_kept_unless_told_otherwise(
    start_node: StartNode, tmp_path: Path
) -> None:
    (tmp_path / "motion.npz").write_bytes(b"precious")
    node = start_node(SCRIPT, output=tmp_path)
    assert node.end(None) == 1
    assert "already contains motion.npz" in node.output()
    assert "overwrite" in node.output()
    assert [path.name for path in tmp_path.iterdir()] == ["motion.npz"]
    node = start_node(SCRIPT, output=tmp_path, overwrite=True)
    end = time.monotonic() + 30
    while "Recording to" not in node.output():
        assert time.monotonic() < end
        time.sleep(0.05)
    assert node.end(signal.SIGTERM) == 0
    assert load_recording(tmp_path / "motion.npz").people() == {}


def test_a_topic_that_nobody_publishes_is_named_while_recording_and_at_the_end(
    start_node: StartNode, tmp_path: Path
) -> None:
    node = start_node(SCRIPT, output=tmp_path, humans_topic="/nobody/humans")
    warning = "humans_topic: /nobody/humans has no publisher, so no people are recorded."
    end = time.monotonic() + 30
    while warning not in node.output():
        assert time.monotonic() < end, node.output()
        time.sleep(0.05)
    assert node.end(signal.SIGINT) == 0
    assert node.output().count(warning) == 2
    summary = f"Recorded 0 messages of /nobody/humans with 0 people to {tmp_path}: motion.mcap"
    assert summary in node.output()


def test_a_folder_that_cannot_be_written_is_named(start_node: StartNode, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    node = start_node(SCRIPT, output=tmp_path / "file" / "below")
    assert node.end(None) == 1
    assert "Cannot write to the folder" in node.output()
    assert "Traceback" not in node.output()


# The recorder in a process in which none of its files may become larger than the first argument.
LIMITED = """
import resource, sys
from moro_ros.ros import recorder
size, make = int(sys.argv.pop(1)), recorder.RecordingFiles
def limited(*arguments):  # not before DDS has made its shared memory
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    return make(*arguments)
recorder.RecordingFiles = limited
recorder.main()
"""


@pytest.mark.parametrize(
    ("size", "images"), [(1_500_000, "[]"), (3_000_000, "['/camera/image_raw']")]
)
def test_a_full_disk_ends_the_recording_and_keeps_it(
    publishers: Publishers, start_node: StartNode, tmp_path: Path, size: int, images: str
) -> None:
    """Whichever file is the first to be too large: motion.npz, or motion.mcap with images."""
    out, report = tmp_path / "out", tmp_path / "report.json"
    parameters = {"image_topics": images} if images != "[]" else {}
    node = start_node(["-c", LIMITED, str(size)], output=out, report=report, **parameters)
    publishers.wait_for_recorder(report)
    publishers.image.publish(Image(height=1, width=1, encoding="mono8", step=1, data=[7]))
    large = Image(height=100, width=100, encoding="rgb8", step=300, data=bytes(30_000))
    end, index = time.monotonic() + 60, 0
    while node.process.poll() is None:
        assert time.monotonic() < end, "the recorder did not end"
        publishers.frame(index)
        if images != "[]":
            publishers.image.publish(large)
        index += 1
        time.sleep(0.002)
    assert node.process.poll() == 1
    said = node.output()
    assert "The recording ended early: [Errno 27] File too large" in said
    assert "everything later" in said and "Traceback" not in said
    assert sorted(p.name for p in out.iterdir()) == ["joints.csv", "motion.mcap", "motion.npz"]
    recording = load_recording(out / "motion.npz")
    kept = len(recording.stamps_ns)
    assert f"with {kept} images" in said
    assert max(path.stat().st_size for path in out.iterdir()) > 0.4 * size
    with AnyReader([out / "motion.mcap"]) as reader:
        connections = [c for c in reader.connections if c.topic == "/moro/humans"]
        cdrs = [cdr for _, _, cdr in reader.messages(connections)]
        assert len(cdrs) == reader.topics["/moro/humans"].msgcount
    stamps = [deserialize_message(bytes(cdr), HumanArray).header.stamp for cdr in cdrs]
    received = [stamp.sec * 10**9 + stamp.nanosec for stamp in stamps]
    # Both end early, but nothing in between is missing.
    both = min(kept, len(received))
    assert both > 3 and received[:both] == recording.stamps_ns[:both]
    assert json.loads(report.read_text())["finished"] is False


def test_an_unexpected_error_keeps_the_recording(
    publishers: Publishers, start_node: StartNode, tmp_path: Path
) -> None:
    out, report = tmp_path / "out", tmp_path / "report.json"
    program = (
        "from moro_ros.ros import recorder\n"
        "row_of_human = recorder.row_of_human\n"
        "def odd(human, stamp_ns):\n"
        "    if human.transl[1] == 6: raise ZeroDivisionError('odd')\n"
        "    return row_of_human(human, stamp_ns)\n"
        "recorder.row_of_human = odd\n"
        "recorder.main()\n"
    )
    node = start_node(["-c", program], output=out, report=report)
    publishers.wait_for_recorder(report)
    for index in range(FRAMES):
        publishers.frame(index)
    assert node.end(None) == 1
    assert "The recording ended early: ZeroDivisionError('odd')" in node.output()
    assert [len(load_recording(out / "motion.npz").people()[i]) for i in (3, 5)] == [5, 4]
    with AnyReader([out / "motion.mcap"]) as reader:
        assert reader.topics["/moro/humans"].msgcount == 7


def test_a_report_that_cannot_be_written_any_more_does_not_end_it(
    publishers: Publishers, start_node: StartNode, tmp_path: Path
) -> None:
    out, folder = tmp_path / "out", tmp_path / "reports"
    node = start_node(SCRIPT, output=out, report=folder / "report.json")
    publishers.wait_for_recorder(folder / "report.json")
    for index in range(FRAMES):
        publishers.frame(index)
    wait_for_frames(folder / "report.json", FRAMES)
    folder.rename(tmp_path / "elsewhere")
    end = time.monotonic() + 30
    while "cannot be written" not in node.output():
        assert time.monotonic() < end, "nothing was said of the report"
        time.sleep(0.05)
    assert node.end() == 0, node.output()
    check_table(out)
