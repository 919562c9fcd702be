"""Depth messages to metres: the conventions of cameras, and what is wrong with a message."""

from __future__ import annotations

import array
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from moro_ros.errors import DepthError
from moro_ros.io.camera_file import camera_from_focal
from moro_ros.io.depth_messages import KEPT, depth_image
from moro_ros.io.transform_tree import TransformTree
from moro_ros.live.depth_memory import DepthMemory
from moro_ros.ros.conversions import camera_info_message, ns_to_stamp
from moro_ros.ros.depth_input import DepthInput
from moro_ros.ros.silence import SILENT_S

WIDTH, HEIGHT = 64, 48
INFO = camera_info_message(camera_from_focal(60.0, WIDTH, HEIGHT, "lens"), Header(frame_id="lens"))


def message(
    values: np.ndarray, encoding: str, frame_id: str = "lens", padding: int = 0, big: bool = False
) -> Image:
    """A depth message of values as they are sent, (H, W)."""
    kind = np.dtype(np.float32 if encoding.startswith("32") else np.uint16)
    rows = values.astype(kind.newbyteorder(">" if big else "<"))
    data = b"".join(row.tobytes() + bytes(padding) for row in rows)
    height, width = values.shape
    return Image(
        header=Header(frame_id=frame_id), height=height, width=width, encoding=encoding,
        step=width * kind.itemsize + padding, is_bigendian=big, data=array.array("B", data),
    )  # fmt: skip


def flat(value: float) -> np.ndarray:
    return np.full((HEIGHT, WIDTH), value)


def refused(kind: str, *arguments: Any) -> str:
    with pytest.raises(DepthError) as caught:
        depth_image(*arguments)
    assert caught.value.reason == kind
    return str(caught.value)


TREE = TransformTree()


@pytest.mark.parametrize(
    ("encoding", "value", "padding", "big"),
    [
        ("16UC1", 2500, 0, False),  # RealSense, Azure Kinect
        ("mono16", 2500, 6, False),
        ("16UC1", 2500, 0, True),
        ("32FC1", 2.5, 0, False),  # ZED, and the rectifying nodes of image_pipeline
        ("32FC1", 2.5, 8, True),
    ],
)
def test_millimetres_and_metres_are_understood(encoding, value, padding, big):
    values = flat(value)
    values[3, 4] = 0
    depth = depth_image(message(values, encoding, padding=padding, big=big), INFO, TREE, "lens")
    assert np.isnan(depth.metres[3, 4]) and depth.rotation is None
    assert np.nanmedian(depth.metres) == pytest.approx(2.5)
    assert depth.metres.shape == (HEIGHT, WIDTH) and depth.camera.matrix[0, 0] == 60.0


def test_nothing_and_infinity_are_holes():
    values = flat(1.0)
    values[0, :3] = np.nan, np.inf, -1.0
    depth = depth_image(message(values, "32FC1"), INFO, TREE, "lens")
    assert np.isnan(depth.metres[0, :3]).all() and np.isfinite(depth.metres[1:]).all()


def test_depth_in_another_frame_is_transformed_by_tf():
    """RealSense without alignment: the depth camera stands beside the colour camera."""
    depth = message(flat(2000), "16UC1", "depth_lens")
    info = CameraInfo(header=Header(frame_id="/depth_lens"), width=WIDTH, height=HEIGHT, k=INFO.k)
    text = refused("frame", depth, info, TREE, "lens")
    assert "'depth_lens'" in text and "'lens'" in text
    tree, link = TransformTree(), TransformStamped(child_frame_id="depth_lens")
    link.header.frame_id = "lens"
    link.transform.translation.x, link.transform.rotation.w = 0.015, 1.0
    tree.take_static(TFMessage(transforms=[link]))
    found = depth_image(depth, info, tree, "lens")
    np.testing.assert_allclose(found.in_depth_frame(np.array([[0.015, 0, 2]])), [[0, 0, 2]])


def test_depth_without_camera_info_is_named():
    assert "depth_info_topic" in refused("camera_info", message(flat(2), "32FC1"), None, TREE, "")
    empty = CameraInfo(width=WIDTH, height=HEIGHT)
    assert "cannot be used" in refused(
        "camera_info", message(flat(2), "32FC1"), empty, TREE, "lens"
    )


def test_the_camera_info_of_another_camera_is_named():
    text = refused("camera_info", message(flat(2), "32FC1", "depth"), INFO, TREE, "lens")
    assert "'depth'" in text and "'lens'" in text and "depth_info_topic" in text


def test_another_encoding_is_named():
    text = refused("encoding", message(flat(2), "rgb8"), INFO, TREE, "lens")
    assert "'rgb8'" in text and "16UC1" in text


def test_depth_of_another_size_than_its_camera_info_is_named():
    text = refused("size", message(flat(2)[:24, :32], "32FC1"), INFO, TREE, "lens")
    assert "32x24" in text and "64x48" in text


def test_millimetres_given_as_metres_are_named_and_the_reverse():
    assert "be in millimetres" in refused("unit", message(flat(2500), "32FC1"), INFO, TREE, "lens")
    assert "be in metres" in refused("unit", message(flat(3), "16UC1"), INFO, TREE, "lens")


def test_data_that_is_cut_off_is_named():
    short = message(flat(2500), "16UC1")
    short.data = short.data[:-10]
    assert "truncates it" in refused("data", short, INFO, TREE, "lens")
    short.step = 3
    assert "truncates it" in refused("data", short, INFO, TREE, "lens")
    empty = Image(encoding="16UC1")
    assert "0x0" in refused("data", empty, INFO, TREE, "lens")


MS = 1_000_000


class Desk:
    """A DepthInput that is told what comes, and the stamps [ms] of what it hands over."""

    def __init__(self) -> None:
        self.publishers = 0
        self.input = DepthInput(self, "depth", "")  # type: ignore[arg-type]
        self.input._on_info(INFO)

    def resolve_topic_name(self, name: str) -> str:
        return f"/{name}"

    def create_subscription(self, *_: Any) -> None: ...

    def count_publishers(self, _: str) -> int:
        return self.publishers

    def comes(self, at_ms: float) -> None:
        depth = message(flat(2500), "16UC1")
        depth.header.stamp = ns_to_stamp(1_000_000 * MS + round(at_ms * MS))
        self.input._on_image(depth)

    def handed(self, image_ms: float) -> list[int]:
        """What is handed over when the turn of an image has come."""
        found: list[int] = []
        offer = SimpleNamespace(offer=lambda depth: found.append(depth.stamp_ns))
        self.input.deliver(offer, TREE, "lens", 1_000_000 * MS + round(image_ms * MS))  # type: ignore[arg-type]
        return [round(stamp_ns / MS) - 1_000_000 for stamp_ns in found]


@pytest.mark.parametrize("latency_ms", [10, 100, 300])
def test_an_image_in_work_finds_its_own_depth_image(latency_ms: int) -> None:
    """Both are taken at 30 Hz; more depth images come while an image waits or is in work."""
    desk, came_ms = Desk(), 0
    for image_ms in range(0, 3000, 33):
        while came_ms <= image_ms + latency_ms:
            desk.comes(came_ms)
            came_ms += 33
        assert desk.handed(image_ms) == [image_ms]


def test_late_depth_images_are_handed_over_with_later_images() -> None:
    desk = Desk()
    for image_ms in range(0, 3000, 33):
        if image_ms >= 200:
            desk.comes(image_ms - 198)
        assert desk.handed(image_ms) == ([image_ms - 198] if image_ms >= 200 else [])


def test_of_more_depth_images_than_images_the_nearest_are_taken() -> None:
    desk, came_ms = Desk(), 0.0
    for image_ms in range(100, 3000, 100):
        while came_ms <= image_ms + 50:
            desk.comes(came_ms + 4.0)
            came_ms += 1000 / 60
        (taken_ms,) = desk.handed(image_ms)
        assert abs(taken_ms - image_ms) <= 9


@pytest.mark.parametrize("off_ms", [-5000, 5000])
def test_depth_of_another_clock_is_handed_over_once_per_image(off_ms: int) -> None:
    desk, memory = Desk(), DepthMemory(None)  # type: ignore[arg-type]
    for image in range(40):
        for part in (0, 11, 22):
            desk.comes(33 * image + part + off_ms)
        stamp_ns = 1_000_000 * MS + 33 * image * MS
        desk.input.deliver(memory, TREE, "lens", stamp_ns)
        memory.image_came(stamp_ns)
    assert "the same clock" in memory.problems["stamps"]


def test_what_waits_is_bounded_and_starts_anew_with_a_recording() -> None:
    desk = Desk()
    for number in range(2000):
        desk.comes(number)
    assert len(desk.input._queue) <= KEPT
    desk.handed(1999)
    desk.comes(0)
    assert desk.handed(0) == [0]


def test_depth_that_does_not_come_is_named() -> None:
    desk = Desk()
    assert desk.input.silence == ""
    desk.input._silence.received_s -= SILENT_S
    assert desk.input.silence == "No depth image on /depth for 5 s (no publisher)."
    desk.publishers = 1
    assert "(1 publisher)" in desk.input.silence
    desk.comes(0)
    assert desk.input.silence == ""


@pytest.fixture(scope="module")
def deep_bench(make_bench: Any) -> Any:
    bench = make_bench(depth_topic="depth/image", image_timeout_s=60.0)
    bench.be_answered()
    return bench


@pytest.mark.ros
def test_depth_topics_are_heard_and_what_is_wrong_is_said_once(deep_bench: Any) -> None:
    bench, node = deep_bench, deep_bench.client.node
    quiet = "No depth image on /depth/image for "
    bench.client.wait(lambda: quiet in bench.status()[0].message, "the silence")
    images = node.create_publisher(Image, "depth/image", 10)
    infos = node.create_publisher(CameraInfo, "depth/camera_info", 10)
    bench.client.wait(images.get_subscription_count, "the node on depth/image")
    bench.client.wait(infos.get_subscription_count, "the node on depth/camera_info")

    def shown(values: np.ndarray, info: CameraInfo | None) -> None:
        image, depth = bench.image(1), message(values, "16UC1", "test_optical_frame")
        depth.header = image.header
        if info is not None:
            info.header.frame_id = depth.header.frame_id
            infos.publish(info)
        images.publish(depth)
        bench.client.spin(0.2)
        bench.answer(image)

    for _ in range(3):
        shown(flat(2500), None)
    status, values = bench.fresh_status()
    assert "have no camera_info" in status.message
    assert bench.node.output().count("have no camera_info") == 1
    assert "are used" not in bench.node.output()
    shown(flat(2500), INFO)
    shown(flat(2500), INFO)
    bench.client.wait(lambda: bench.calls("depth"), "a depth image")
    call = bench.calls("depth")[-1]
    assert call["metres"] == pytest.approx(2.5) and call["aligned"]
    status, values = bench.fresh_status()
    assert "depth" not in status.message.lower()
    used = len(bench.calls("depth"))
    assert values["depth"] == f"/depth/image: {used} measurements" and used >= 2
    assert bench.node.output().count("Depth images of /depth/image are used") == 1
