"""moro_video as a process: what it publishes, and what makes it refuse."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

from moro_ros.io.image_data import imgmsg_to_cv2
from moro_ros.ros.conversions import stamp_to_ns
from moro_ros.ros.video_source import smaller_size
from moro_ros.types import Camera

pytestmark = pytest.mark.ros
SCRIPT = ["-m", "moro_ros.ros.video_source"]
FRAMES, RATE_HZ = 20, 50.0
# Whole videos wait here while the test itself gets no processor time.
KEEPS_ALL = QoSProfile(depth=200, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=200, reliability=ReliabilityPolicy.BEST_EFFORT)
FAILING = """
import sys
from moro_ros.io import decode_ahead
from moro_ros.ros.video_source import main

def fail(image, size):
    raise MemoryError("none left")

decode_ahead.shrunk = fail
main(sys.argv)
"""


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames that can be told apart by their brightness, larger than the default segment."""
    path = tmp_path_factory.mktemp("video") / "steps.avi"
    size = (640, 480)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), RATE_HZ, size)
    for index in range(FRAMES):
        writer.write(np.full((size[1], size[0], 3), 10 * index, dtype=np.uint8))
    writer.release()
    return path


class Viewer:
    """Subscriptions to a video source; best-effort ones may lose images on a busy machine."""

    def __init__(self, client: Any, qos: QoSProfile = KEEPS_ALL) -> None:
        self.client = client
        self.images: list[Image] = []
        self.infos: list[CameraInfo] = []
        create = client.node.create_subscription
        self._subscriptions = [
            create(Image, "image", self.images.append, qos),
            create(CameraInfo, "camera_info", self.infos.append, qos),
        ]

    def stamps_ns(self) -> list[int]:
        return [stamp_to_ns(image.header.stamp) for image in self.images]

    def close(self) -> None:
        for subscription in self._subscriptions:
            self.client.node.destroy_subscription(subscription)


@pytest.fixture
def viewer(client: Any) -> Any:
    viewer = Viewer(client)
    yield viewer
    viewer.close()


def test_plays_every_frame_once_with_even_stamps(
    viewer: Viewer, start_node: Callable[..., Any], video: Path, tmp_path: Path
) -> None:
    report_path = tmp_path / "deep" / "report.json"
    node = start_node(SCRIPT, video=video, focal=700.0, frame_id="lens", report=report_path)
    viewer.client.wait(lambda: node.process.poll() is not None, "the end of the video")
    viewer.client.spin(0.2)
    assert node.process.returncode == 0, node.output()
    report = json.loads(report_path.read_text())
    assert report["frames_published"] == FRAMES
    assert report["rate_hz"] == RATE_HZ
    stamps = viewer.stamps_ns()
    assert stamps == report["stamps_ns"]
    # Even, unless the machine was too busy to keep up: then by that much later.
    steps = np.diff(stamps)
    assert (steps >= 20_000_000).all()
    held_up_ns = round(report["held_up_s"] * 1e9)
    assert stamps[-1] - stamps[0] <= (FRAMES - 1) * 20_000_000 + held_up_ns + 1
    assert (steps == 20_000_000).any()
    means = [imgmsg_to_cv2(image, "rgb8").mean() for image in viewer.images]
    np.testing.assert_allclose(means, 10.0 * np.arange(FRAMES), atol=3.0)
    assert {image.header.frame_id for image in viewer.images} == {"lens"}
    info = viewer.infos[-1]
    assert (info.width, info.height) == (640, 480)
    np.testing.assert_array_equal(info.k, [700, 0, 320, 0, 700, 240, 0, 0, 1])
    assert set(stamps) <= {stamp_to_ns(info.header.stamp) for info in viewer.infos}


def test_a_varying_rate_is_played_as_the_container_has_it(
    viewer: Viewer,
    start_node: Callable[..., Any],
    make_video: Callable[..., Path],
    tmp_path: Path,
) -> None:
    times = [0.0, 0.05, 0.1, 0.4, 0.7, 0.75]
    video = make_video(tmp_path / "varies.mp4", times)
    report_path = tmp_path / "report.json"
    node = start_node(SCRIPT, video=video, focal=70.0, report=report_path)
    viewer.client.wait(lambda: node.process.poll() is not None, "the end of the video")
    report = json.loads(report_path.read_text())
    assert report["missing"] == ""
    steps = np.diff(report["stamps_ns"]) / 1e9
    late = report["held_up_s"]  # by as much as a busy machine could not keep up
    np.testing.assert_allclose(steps, np.diff(times), atol=late + 1e-3)


def test_a_video_that_is_cut_off_is_played_and_told(
    viewer: Viewer, start_node: Callable[..., Any], video: Path, tmp_path: Path
) -> None:
    cut, report_path = tmp_path / "cut.avi", tmp_path / "report.json"
    data = video.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    node = start_node(SCRIPT, video=cut, focal=700.0, report=report_path)
    viewer.client.wait(lambda: node.process.poll() is not None, "the end of the video")
    report = json.loads(report_path.read_text())
    assert 0 < report["frames_published"] < FRAMES
    assert f"with {report['frames_published']} of {FRAMES} frames" in report["missing"]
    assert report["missing"] in node.output()


def test_an_error_of_the_decoder_ends_the_node(
    client: Any, start_node: Callable[..., Any], video: Path
) -> None:
    """It used to wait for ever for the next frame, a SIGTERM notwithstanding."""
    node = start_node(["-c", FAILING], video=video, focal=700.0, height=240, wait_timeout_s=0.2)
    client.wait(lambda: node.process.poll() is not None, "the end of the node")
    assert node.process.returncode == 1
    assert f"{video} cannot be decoded further: MemoryError, none left" in node.output()
    assert "Traceback" not in node.output()


def test_loops_at_another_rate_until_it_is_stopped(
    client: Any, start_node: Callable[..., Any], video: Path
) -> None:
    viewer = Viewer(client, BEST_EFFORT)
    node = start_node(SCRIPT, video=video, focal=700.0, loop=True, rate=200)
    client.wait(lambda: len(viewer.images) > 3 * FRAMES, "three rounds")
    assert node.end(signal.SIGINT) == 0
    viewer.close()
    steps = np.diff(viewer.stamps_ns())
    assert (steps >= 5_000_000).all() and (steps == 5_000_000).any()


def test_waits_for_a_subscriber_and_starts_without_one(
    client: Any, start_node: Callable[..., Any], video: Path
) -> None:
    node = start_node(SCRIPT, video=video, focal=700.0, wait_timeout_s=0.2, start_delay_s=0.0)
    client.wait(lambda: node.process.poll() is not None, "the end of the video")
    assert "starting anyway" in node.output()
    assert "frames published" in node.output()


def test_refusals_name_the_remedy(
    client: Any, start_node: Callable[..., Any], video: Path, tmp_path: Path
) -> None:
    calibration = tmp_path / "other.toml"
    calibration.write_text(
        "[a]\nsize=[10, 10]\nmatrix=[[9.0,0.0,5.0],[0.0,9.0,5.0],[0.0,0.0,1.0]]\n"
    )
    text = tmp_path / "text.mp4"
    text.write_text("not a video")
    cases = {
        "No video: set the parameter 'video'": start_node(SCRIPT),
        "No video at": start_node(SCRIPT, video=tmp_path / "none.mp4", focal=700.0),
        "cannot be opened as a video": start_node(SCRIPT, video=text, focal=700.0),
        "got neither": start_node(SCRIPT, video=video),
        "got both": start_node(SCRIPT, video=video, focal=700.0, camera=calibration),
        f"for 10x10 pixels, but the video {video} has 640x480": start_node(
            SCRIPT, video=video, camera=calibration
        ),
        "rate: got -1.0, expected 0.0 to 1000.0 Hz": start_node(SCRIPT, rate=-1.0),
    }
    for remedy, process in cases.items():
        assert process.end(None) == 1, remedy
        assert remedy in process.output()
        assert "Traceback" not in process.output()


def test_taller_images_are_scaled_down_with_their_camera(
    viewer: Viewer, start_node: Callable[..., Any], video: Path
) -> None:
    node = start_node(SCRIPT, video=video, focal=700.0, height=240, ahead_mb=1)
    viewer.client.wait(lambda: node.process.poll() is not None, "the end of the video")
    viewer.client.spin(0.2)
    assert node.process.returncode == 0, node.output()
    assert "as 320x240." in node.output()
    assert {(image.width, image.height) for image in viewer.images} == {(320, 240)}
    means = [imgmsg_to_cv2(image, "rgb8").mean() for image in viewer.images]
    np.testing.assert_allclose(means, 10.0 * np.arange(FRAMES), atol=3.0)
    info = viewer.infos[-1]
    assert (info.width, info.height) == (320, 240)
    np.testing.assert_allclose(info.k, [350, 0, 159.75, 0, 350, 119.75, 0, 0, 1])


def test_the_smaller_size_keeps_the_shape_and_is_never_larger() -> None:
    camera = Camera(np.eye(3), 1768, 994)
    assert smaller_size(camera, 720) == (1280, 720)
    assert smaller_size(camera, 0) is None
    assert smaller_size(camera, 994) is None and smaller_size(camera, 2000) is None
