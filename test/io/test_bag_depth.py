"""The depth images of a recording: which image gets which, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from depth_bag import COLOUR, DEPTH, IMAGE, START_NS, TF, DepthBag, ns
from rosbags.rosbag2 import StoragePlugin

from moro_ros.errors import ConfigError, DepthError
from moro_ros.geometry.depth_image import DepthImage
from moro_ros.io.bag_depth import BagDepth, DepthUse, with_next
from moro_ros.live.depth_memory import DepthMemory
from moro_ros.types import Camera

CAMERA = Camera(np.array([[60.0, 0, 32], [0, 60.0, 24], [0, 0, 1]]), 64, 48)
FLAT = np.full((48, 64), 2500.0)


class Taker:
    """Takes what is delivered for an image."""

    def __init__(self) -> None:
        self.used = 0
        self.problems: dict[str, str] = {}
        self.images: list[DepthImage] = []
        self.reasons: list[DepthError] = []

    def offer(self, depth: DepthImage) -> None:
        self.images.append(depth)

    def refuse(self, error: DepthError) -> None:
        self.reasons.append(error)


def bag_of(times_s: np.ndarray | list[float], latency_s: float = 0.0, **more: object) -> DepthBag:
    """A recording with depth images taken at some times and recorded later."""
    bag = DepthBag(CAMERA)
    bag.infos()
    for time_s in times_s:
        bag.depth(time_s, FLAT, time_s + latency_s, **more)  # type: ignore[arg-type]
    return bag


def delivered(
    path: Path, images_s: np.ndarray | list[float], latency_s: float = 0.0, info_topic: str = ""
) -> list[Taker]:
    """What each image gets; images are recorded some time after they were taken."""
    found = []
    with BagDepth(str(path), DEPTH, info_topic) as depth:
        for image_s, next_s in with_next([float(time_s) for time_s in images_s]):
            taker = Taker()
            next_ns = None if next_s is None else ns(next_s)
            depth.deliver(taker, "lens", ns(image_s), ns(image_s + latency_s), next_ns)
            found.append(taker)
    return found


def times_s(takers: list[Taker]) -> list[list[float]]:
    """The times of the depth images that each image gets."""
    return [[round((d.stamp_ns - START_NS) * 1e-9, 3) for d in taker.images] for taker in takers]


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize(
    ("rate_hz", "depth_hz", "off_s", "image_latency_s", "depth_latency_s"),
    [
        (30, 30, 0.0, 0.0, 0.0),
        (30, 30, 0.005, 0.0, 0.7),  # depth is recorded much later
        (30, 30, 0.0, 0.7, 0.0),  # images are
        (5, 5, 0.02, 0.0, 0.1),  # depth is always taken after the image
        (10, 90, 0.004, 0.1, 0.0),
    ],
)
def test_every_image_gets_the_nearest_depth_image(
    tmp_path: Path,
    storage: StoragePlugin,
    rate_hz: int,
    depth_hz: int,
    off_s: float,
    image_latency_s: float,
    depth_latency_s: float,
) -> None:
    images_s, depths_s = np.arange(2 * rate_hz) / rate_hz, np.arange(2 * depth_hz) / depth_hz
    bag = bag_of(depths_s + off_s, depth_latency_s).write(tmp_path / "bag", storage)
    found = times_s(delivered(bag, images_s, image_latency_s))
    nearest = [depths_s[np.abs(depths_s + off_s - one).argmin()] + off_s for one in images_s]
    assert [len(one) for one in found] == [1] * len(images_s)
    np.testing.assert_allclose([one[0] for one in found], nearest, atol=1e-3)


@pytest.mark.parametrize("image_latency_s", [0.0, 0.5])
def test_after_a_gap_no_depth_image_is_missing(tmp_path: Path, image_latency_s: float) -> None:
    images_s = np.arange(150) / 30
    gap = (images_s > 1.01) & (images_s < 3.99)
    bag = bag_of(images_s[~gap]).write(tmp_path / "bag")
    found = times_s(delivered(bag, images_s, image_latency_s))
    expected = [[] if empty else [round(s, 3)] for s, empty in zip(images_s, gap, strict=True)]
    assert found == expected


def test_the_end_of_the_depth_images_is_not_the_end_of_the_images(tmp_path: Path) -> None:
    bag = bag_of([0.0, 0.1]).write(tmp_path / "bag")
    assert times_s(delivered(bag, [0.0, 0.1, 0.2, 5.0])) == [[0.0], [0.1], [], []]


@pytest.mark.parametrize("off_s", [-500.0, 500.0])
def test_depth_of_another_clock_is_named(tmp_path: Path, off_s: float) -> None:
    bag = DepthBag(CAMERA)
    bag.infos()
    for number in range(60):
        bag.depth(number / 30 + off_s, FLAT, number / 30)
    memory = DepthMemory(None)  # type: ignore[arg-type]
    with BagDepth(str(bag.write(tmp_path / "bag")), DEPTH) as depth:
        use = DepthUse(depth, memory, "lens")
        for number in range(60):
            use.before(ns(number / 30), ns(number / 30), ns((number + 1) / 30))
            memory.image_came(ns(number / 30))
            use.after()
    assert "Both must be stamped with the same clock" in use.unused
    assert use.unused.startswith("Depth was not used in ") and "of 60 images" in use.unused
    assert use.used == f"0 measurements of people in the depth images of {DEPTH}"


def test_depth_without_stamps_has_the_times_of_recording(tmp_path: Path) -> None:
    """As images without stamps."""
    bag = bag_of([0.0, 0.1, 0.2], stamped=False).write(tmp_path / "bag")
    assert times_s(delivered(bag, [0.0, 0.1, 0.2])) == [[0.0], [0.1], [0.2]]


@pytest.mark.parametrize("topic", ["/tf", "/tf_static"])
def test_depth_of_a_camera_beside_is_transformed_by_the_recorded_tf(
    tmp_path: Path, topic: str
) -> None:
    bag = DepthBag(CAMERA)
    bag.infos(frame="depth_lens")
    # Static transforms are recorded once, sometimes late.
    bag.transform(topic, "mast", "lens", 0.0, 0.01 if topic == "/tf" else 0.9)
    bag.transform(topic, "mast", "depth_lens", 0.015, 0.01 if topic == "/tf" else 0.9)
    for number in range(10):
        bag.depth(0.1 * number, FLAT, frame="depth_lens")
    bag.depth(1.0, FLAT, frame="/lens")
    found = delivered(bag.write(tmp_path / "bag"), np.arange(11) / 10)
    beside = [taker.images[0] for taker in found[1:10]]
    for depth in beside:
        moved = depth.in_depth_frame(np.array([[0.015, 0.0, 2.0]]))
        np.testing.assert_allclose(moved, [[0.0, 0.0, 2.0]], atol=1e-9)


def test_the_newest_transform_of_the_time_counts(tmp_path: Path) -> None:
    bag = DepthBag(CAMERA)
    bag.infos(frame="depth_lens")
    for time_s, x_m in ((0.0, 0.1), (2.5, 0.2)):
        bag.transform("/tf", "lens", "depth_lens", x_m, time_s)
    for number in range(50):
        bag.depth(0.1 * number + 0.001, FLAT, frame="depth_lens")
    found = delivered(bag.write(tmp_path / "bag"), np.arange(50) / 10)
    moved = [-taker.images[0].translation[0] for taker in found]
    assert moved[:20] == pytest.approx([0.1] * 20) and moved[30:] == pytest.approx([0.2] * 20)


def no_tf(bag: DepthBag) -> None:
    bag.infos(frame="depth_lens")
    bag.depth(0.0, FLAT, frame="depth_lens")


def no_info(bag: DepthBag) -> None:
    bag.infos(DepthBag.info_of(COLOUR))
    bag.depth(0.0, FLAT)


def another_camera(bag: DepthBag) -> None:
    bag.infos(frame="other")
    bag.depth(0.0, FLAT)


def other_encoding(bag: DepthBag) -> None:
    bag.infos()
    bag.depth(0.0, FLAT, encoding="rgb8")


def other_unit(bag: DepthBag) -> None:
    bag.infos()
    bag.depth(0.0, FLAT, encoding="32FC1")


def other_size(bag: DepthBag) -> None:
    bag.infos()
    bag.depth(0.0, FLAT[:24, :32])


def cut_off(bag: DepthBag) -> None:
    bag.infos()
    bag.depth(0.0, FLAT, cut=10)


def damaged(bag: DepthBag) -> None:
    bag.infos()
    bag.depth(1.0, FLAT)
    bag.damaged(DEPTH, IMAGE, 0.0)


def damaged_info(bag: DepthBag) -> None:
    bag.damaged(DepthBag.info_of(DEPTH), "sensor_msgs/msg/CameraInfo", 0.0)
    bag.depth(0.0, FLAT)


def damaged_tf(bag: DepthBag) -> None:
    bag.infos()
    bag.damaged("/tf_static", TF, 0.0)
    bag.depth(0.0, FLAT)


@pytest.mark.parametrize(
    ("fill", "reason", "told"),
    [
        (no_tf, "frame", "in the frame 'depth_lens', which TF does not connect"),
        (no_info, "camera_info", "Set depth_info_topic to the camera_info topic"),
        (another_camera, "camera_info", "their camera_info is in 'other'"),
        (other_encoding, "encoding", "encoding is 'rgb8'; expected 16UC1"),
        (other_unit, "unit", "seems to be in millimetres"),
        (other_size, "size", "is 32x24 pixels but its camera_info is for 64x48"),
        (cut_off, "data", "truncates it"),
        (damaged, "data", f"A message of {DEPTH} is damaged and skipped"),
        (damaged_info, "data", "A message of /cam/depth/camera_info is damaged"),
        (damaged_tf, "data", "A message of /tf_static is damaged"),
    ],
)
def test_what_is_wrong_is_told_and_stops_nothing(
    tmp_path: Path, fill: Callable[[DepthBag], None], reason: str, told: str
) -> None:
    bag = DepthBag(CAMERA)
    fill(bag)
    first, *rest = delivered(bag.write(tmp_path / "bag"), [0.0, 0.1, 1.0])
    assert [told in str(e) for e in first.reasons if e.reason == reason][-1]
    if fill is damaged:
        assert [len(taker.images) for taker in rest] == [0, 1]


def test_topics_that_were_not_recorded_are_refused_with_those_that_were(tmp_path: Path) -> None:
    bag = bag_of([0.0])
    bag.image(0.0)
    path = str(bag.write(tmp_path / "bag"))
    with pytest.raises(ConfigError) as caught:
        BagDepth(path, "/depth")
    expected = f"--depth-topic: got '/depth', expected one of {COLOUR}, {DEPTH}, as recorded."
    assert str(caught.value) == expected
    with pytest.raises(ConfigError, match="--depth-info-topic: got '/info', expected one of /cam"):
        BagDepth(path, DEPTH, "/info")
    with pytest.raises(ConfigError, match="cannot read"):
        BagDepth(str(tmp_path / "nothing"), DEPTH)


def test_a_topic_without_messages_is_told(tmp_path: Path) -> None:
    bag = DepthBag(CAMERA)
    bag.infos()
    bag.damaged(DEPTH, IMAGE, 0.0)
    (taker,) = delivered(bag.write(tmp_path / "bag"), [0.0])
    assert str(taker.reasons[-1]) == f"{DEPTH} has no usable messages."


def test_items_are_paired_with_the_next() -> None:
    assert list(with_next([])) == [] and list(with_next([1])) == [(1, None)]
    assert list(with_next([None, 2])) == [(None, 2), (2, None)]
