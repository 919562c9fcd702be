"""~/process_bag between processes: every image of a recording, while live images are answered."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from depth_bag import COLOUR, DEPTH, DepthBag
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from moro_ros.action import ProcessBag
from rcl_interfaces.srv import SetParameters
from rclpy.action import ActionClient
from rclpy.parameter import Parameter
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import StoragePlugin, Writer
from std_msgs.msg import Header

from moro_ros.io.camera_file import camera_from_focal
from moro_ros.io.recording import load_recording
from moro_ros.ros.bag import known_types
from moro_ros.ros.conversions import camera_info_message, ns_to_stamp
from moro_ros.ros.fallbacks import cv2_to_imgmsg
from moro_ros.types import Camera

pytestmark = pytest.mark.ros
WIDTH, HEIGHT, COUNT, PERIOD_NS = 64, 48, 100, 33_333_333
START_NS = 1_600_000_000 * 10**9
IMAGE, INFO = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo"


def write_bag(folder: Path, topics: dict[str, str], count: int = COUNT, broken: int = 0) -> Path:
    """Images of two people at 30 Hz, or of three from the middle on; the first have no pixels."""
    store = known_types()
    with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        made = {t: writer.add_connection(t, kind, typestore=store) for t, kind in topics.items()}
        for index in range(count):
            now_ns = START_NS + index * PERIOD_NS
            header = Header(stamp=ns_to_stamp(now_ns), frame_id="lens")
            pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            pixels[0, 0, 0] = 2 + (index >= count // 2)
            image = cv2_to_imgmsg(pixels, "bgr8", header)
            if index < broken:
                image.encoding = "infrared7"
            info = camera_info_message(camera_from_focal(100.0, WIDTH, HEIGHT), header)
            # camera_info comes after its image, as with some drivers.
            for topic, kind in sorted(topics.items(), key=lambda item: item[1] == INFO):
                message = {IMAGE: image, INFO: info}[kind]
                writer.write(made[topic], now_ns, serialize_message(message))
    return folder


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    topics = {"/cam/image_raw": IMAGE, "/cam/camera_info": INFO, "/other/camera_info": INFO}
    return write_bag(tmp_path_factory.mktemp("bags") / "walk", topics)


class Worker:
    """Sends goals to ~/process_bag of a node."""

    def __init__(self, client: Any, name: str) -> None:
        self.client = client
        self.actions = ActionClient(client.node, ProcessBag, f"{name}/process_bag")
        self.feedback: list[ProcessBag.Feedback] = []
        client.wait(self.actions.server_is_ready, "the action")

    def send(self, bag: Path, output: Path, **more: Any) -> Any:
        """Send a goal and wait until it is accepted; returns its handle."""
        goal = ProcessBag.Goal(bag=str(bag), output=str(output), **more)
        future = self.actions.send_goal_async(goal, lambda m: self.feedback.append(m.feedback))
        self.client.wait(future.done, "the goal's acceptance")
        handle = future.result()
        assert handle.accepted
        return handle

    def result(self, handle: Any) -> tuple[int, ProcessBag.Result]:
        """Wait for the end of a goal; returns its status and result."""
        future = handle.get_result_async()
        self.client.wait(future.done, "the goal's result")
        return future.result().status, future.result().result

    def refused(self, bag: Path, output: Path, **more: Any) -> str:
        """The reason why a goal is aborted."""
        status, result = self.result(self.send(bag, output, **more))
        assert status == GoalStatus.STATUS_ABORTED and not result.success
        assert not result.files
        return result.message


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all temporary ones."""
    return tmp_path_factory.getbasetemp()


@pytest.fixture(scope="module")
def bench(make_bench: Callable[..., Any], root: Path) -> Any:
    bench = make_bench(**{"process_bag.root": root})
    bench.be_answered()
    return bench


@pytest.fixture(scope="module")
def worker(bench: Any) -> Any:
    worker = Worker(bench.client, "/moro")
    yield worker
    worker.actions.destroy()


def test_every_image_is_described_while_live_ones_are_answered(
    bench: Any, worker: Worker, recording: Path, tmp_path: Path
) -> None:
    output = tmp_path / "made" / "here"
    worker.feedback.clear()
    handle = worker.send(recording, output)
    bench.client.wait(lambda: worker.feedback, "feedback")
    assert len(bench.answer(bench.image(1)).humans) >= 1
    assert not (output / "motion.npz").exists(), "only complete files are in place"
    status, result = worker.result(handle)
    assert status == GoalStatus.STATUS_SUCCEEDED and result.success
    assert (result.frames, result.skipped, list(result.people)) == (COUNT, 0, [1, 2, 3])
    assert {Path(name) for name in result.files} == set(output.iterdir())
    assert {path.name for path in output.iterdir()} == {"motion.npz", "joints.csv"}
    found = load_recording(output / "motion.npz")
    assert found.stamps_ns == [START_NS + index * PERIOD_NS for index in range(COUNT)]
    people = found.people()
    assert [len(people[track_id]) for track_id in (1, 2, 3)] == [COUNT, COUNT, COUNT // 2]
    assert found.camera is not None and found.camera.frame_id == "lens"
    lines = (output / "joints.csv").read_text().splitlines()
    assert len(lines) == 1 + 22 * sum(map(len, people.values()))
    told = worker.feedback
    assert len(told) >= 3 and all(item.frames_total == COUNT for item in told)
    assert [item.frames_done for item in told] == sorted({item.frames_done for item in told})
    assert all(0.0 <= item.fraction <= 1.0 for item in told)


def test_a_cancelled_goal_leaves_nothing_behind(
    bench: Any, worker: Worker, recording: Path, tmp_path: Path
) -> None:
    worker.feedback.clear()
    handle = worker.send(recording, tmp_path)
    bench.client.wait(lambda: worker.feedback, "feedback")
    message = worker.refused(recording, tmp_path / "second")
    assert message.startswith("Another recording is being processed")
    cancelling = handle.cancel_goal_async()
    bench.client.wait(cancelling.done, "the cancellation's answer")
    status, result = worker.result(handle)
    assert status == GoalStatus.STATUS_CANCELED and not result.success
    assert 0 < result.frames < COUNT and "without writing files" in result.message
    assert list(tmp_path.iterdir()) == []


def test_a_part_is_that_part_and_bad_images_are_counted(worker: Worker, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "part", {"/image": IMAGE, "/camera_info": INFO}, 30, broken=3)
    output = tmp_path / "out"
    status, result = worker.result(worker.send(bag, output, end_s=0.5))
    assert status == GoalStatus.STATUS_SUCCEEDED
    assert (result.frames, result.skipped) == (13, 3)
    assert "infrared7" in result.message
    first = (output / "motion.npz").read_bytes()
    assert "already contains motion.npz, joints.csv" in worker.refused(bag, output, start_s=0.5)
    assert (output / "motion.npz").read_bytes() == first
    again = worker.send(bag, output, start_s=0.5, overwrite=True)
    assert worker.result(again)[1].frames == 14
    assert (output / "motion.npz").read_bytes() != first
    for part in ({"start_s": 5.0}, {"start_s": 0.5, "end_s": 0.2}, {"start_s": -1.0}):
        assert "expected a part" in worker.refused(bag, tmp_path / "no", **part)
    assert "infrared7" in worker.refused(bag, tmp_path / "no", end_s=0.05)
    assert not any((tmp_path / "no").glob("*"))


def test_what_cannot_be_read_is_refused_with_the_reason(
    worker: Worker, recording: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    assert "cannot read" in worker.refused(tmp_path / "nowhere", output)
    message = worker.refused(recording, output, image_topic="/cam/other")
    assert "image_topic: got '/cam/other', expected one of /cam/image_raw" in message
    blind = write_bag(tmp_path / "blind", {"/image": IMAGE}, 3)
    assert "camera_info_topic: got '', expected a topic of" in worker.refused(blind, output)
    two = write_bag(tmp_path / "two", {"/a/image": IMAGE, "/b/image": IMAGE, "/info": INFO}, 3)
    assert "expected one of /a/image, /b/image" in worker.refused(two, output)
    damaged = write_bag(tmp_path / "damaged", {"/image": IMAGE, "/info": INFO}, 3)
    file = damaged / "damaged.mcap"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert "cannot read" in worker.refused(damaged, output)
    assert not output.exists() or not any(output.iterdir())


def test_cleanup_ends_the_work(
    client: Any, start_fake_node: Callable[..., Any], recording: Path, tmp_path: Path, root: Path
) -> None:
    """And a node that is not configured says that it has no model."""
    node, _ = start_fake_node(0.02, namespace="/tidy", **{"process_bag.root": root})
    worker = Worker(client, "/tidy/moro")
    change = client.node.create_client(ChangeState, "/tidy/moro/change_state")
    handle = worker.send(recording, tmp_path)
    client.wait(lambda: worker.feedback, "feedback")
    for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP):
        request = ChangeState.Request(transition=Transition(id=transition))
        assert client.call(change, request).success
    status, result = worker.result(handle)
    assert status == GoalStatus.STATUS_ABORTED and "Stopped" in result.message
    assert "configure it first" in worker.refused(recording, tmp_path)
    assert list(tmp_path.iterdir()) == []
    worker.actions.destroy()
    assert node.end() == 0, node.output()
    assert "Traceback" not in node.output()


def test_the_end_of_the_node_ends_the_work(
    client: Any, start_fake_node: Callable[..., Any], recording: Path, tmp_path: Path, root: Path
) -> None:
    node, _ = start_fake_node(0.02, namespace="/gone", **{"process_bag.root": root})
    worker = Worker(client, "/gone/moro")
    worker.send(recording, tmp_path)
    client.wait(lambda: worker.feedback, "feedback")
    assert node.end() == 0, node.output()
    assert "Traceback" not in node.output()
    assert list(tmp_path.iterdir()) == []
    worker.actions.destroy()


def test_nothing_is_written_outside_of_the_root(
    worker: Worker, recording: Path, tmp_path: Path, root: Path
) -> None:
    (tmp_path / "link").symlink_to("/var/tmp")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "within").symlink_to(tmp_path)
    name = f"moro_{uuid.uuid4()}"
    for output in (
        f"/var/tmp/{name}", tmp_path / f"link/{name}", f"../{name}", root / f"../{name}",
        f"{root}-{name}",
    ):  # fmt: skip
        message = worker.refused(recording, output)
        assert "expected a folder below process_bag.root" in message and str(root) in message
    assert "loop" in worker.refused(recording, tmp_path / "loop" / name)
    assert not list(Path("/var/tmp").glob(f"{name}*")) and not list(root.parent.glob(f"*{name}*"))
    # Relative to the root, through a link that stays within it.
    inside = (tmp_path / "within" / "part").relative_to(root)
    status, result = worker.result(worker.send(recording, inside, end_s=0.2))
    assert status == GoalStatus.STATUS_SUCCEEDED
    assert set(result.files) == {str(tmp_path / "part" / n) for n in ("motion.npz", "joints.csv")}


def test_the_pipeline_of_a_recording_logs_as_its_node(
    client: Any, start_fake_node: Callable[..., Any], recording: Path, tmp_path: Path, root: Path
) -> None:
    """And not as the last one of the process."""
    options = {"cameras": "'front,side'", "process_bag.root": root}
    node, _ = start_fake_node(0.0, namespace="/many", **options)
    worker = Worker(client, "/many/front/moro")
    made = [f"[many.{name}.moro]: A stand-in is made." for name in ("front", "side")]
    client.wait(lambda: all(text in node.output() for text in made), "the pipelines")
    status, _ = worker.result(worker.send(recording, tmp_path, end_s=0.2))
    assert status == GoalStatus.STATUS_SUCCEEDED, node.output()
    client.wait(lambda: node.output().count(made[0]) == 2, "the recording's pipeline")
    assert node.output().count(made[1]) == 1
    worker.actions.destroy()
    assert node.end() == 0, node.output()


def test_a_dangling_link_is_not_overwritten(
    worker: Worker, recording: Path, tmp_path: Path
) -> None:
    (tmp_path / "motion.npz").symlink_to(tmp_path / "precious")
    assert "already contains motion.npz" in worker.refused(recording, tmp_path, end_s=0.2)
    assert (tmp_path / "motion.npz").is_symlink()


def test_without_a_root_the_action_is_refused(
    client: Any, start_fake_node: Callable[..., Any], recording: Path, tmp_path: Path
) -> None:
    """And nobody can name one at run time."""
    node, _ = start_fake_node(0.02, namespace="/closed")
    worker = Worker(client, "/closed/moro")
    configured = client.node.create_client(GetState, "/closed/moro/get_state")
    client.wait(
        lambda: client.call(configured, GetState.Request()).current_state.label == "active",
        "an active node",
    )
    assert "process_bag.root is empty" in worker.refused(recording, tmp_path / "out")
    change = client.node.create_client(SetParameters, "/closed/moro/set_parameters")
    root = Parameter("process_bag.root", value=str(tmp_path)).to_parameter_msg()
    answer = client.call(change, SetParameters.Request(parameters=[root]))
    assert not answer.results[0].successful
    assert "process_bag.root is empty" in worker.refused(recording, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    worker.actions.destroy()
    assert node.end() == 0, node.output()


CAMERA = Camera(np.array([[60.0, 0, 32], [0, 60.0, 24], [0, 0, 1]]), WIDTH, HEIGHT)


def deep_bag(folder: Path, value: float = 2500.0, depth: bool = True) -> Path:
    """Images at 10 Hz, each with a depth image that is taken 20 ms and recorded 0.4 s later."""
    bag = DepthBag(CAMERA)
    bag.infos(*(() if depth else [DepthBag.info_of(COLOUR)]))
    for number in range(20):
        bag.image(0.1 * number)
        if depth:
            bag.depth(0.1 * number + 0.02, np.full((HEIGHT, WIDTH), value), 0.1 * number + 0.4)
    return bag.write(folder)


def test_the_depth_topic_of_the_node_is_used_if_it_was_recorded(
    client: Any, start_fake_node: Callable[..., Any], tmp_path: Path, root: Path
) -> None:
    node, calls = start_fake_node(
        0.0, namespace="/deep", depth_topic=DEPTH, **{"process_bag.root": root}
    )
    worker = Worker(client, "/deep/moro")

    def told(name: str, bag: Path, **more: Any) -> str:
        status, result = worker.result(worker.send(bag, tmp_path / name, **more))
        assert status == GoalStatus.STATUS_SUCCEEDED and len(result.files) == 2
        return result.message

    message = told("good", deep_bag(tmp_path / "good_bag"))
    assert message == (
        f"20 images described, 3 people; 20 measurements of people in the depth images of {DEPTH}."
    )
    seen = [json.loads(line) for line in calls.read_text().splitlines()]
    seen = [call for call in seen if call["call"] in ("depth", "push")]
    # The depth images of an image come before it is recovered.
    assert [call["call"] for call in seen] == ["depth", "push"] * 20
    assert all(c["stamp_ns"] - p["stamp_ns"] == 20_000_000 for c, p in zip(seen[::2], seen[1::2]))
    assert {(call["metres"], call["aligned"]) for call in seen[::2]} == {(2.5, True)}
    part = told("part", deep_bag(tmp_path / "part_bag"), start_s=1.0)
    assert "10 measurements" in part
    lost = told("lost", deep_bag(tmp_path / "lost_bag", depth=False))
    assert lost == (
        f"20 images described, 3 people. Depth was not used: the recording does not have {DEPTH}. "
        f"Set depth_topic to one of its topics of sensor_msgs/msg/Image: {COLOUR}."
    )
    wrong = told("wrong", deep_bag(tmp_path / "wrong_bag", value=2.0))
    assert "0 measurements" in wrong and "Depth was not used in 20 of 20 images" in wrong
    assert "16UC1 must be in millimetres" in wrong
    worker.actions.destroy()
    assert node.end() == 0, node.output()
