"""The images of a recording as frames: whose time they carry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from moro_ros.errors import DataError
from moro_ros.io.bag_frames import BagFrames
from moro_ros.io.frames import Part

STORE = get_typestore(Stores.ROS2_JAZZY)
KIND = "sensor_msgs/msg/Image"
DAMAGED_NS = 1
RECORDED_NS = [1_600_000_000_000_000_000 + 40_000_000 * n for n in range(4)]


def write(folder: Path, stamps_ns: list[int]) -> Path:
    """A recording of small grey images."""
    types = STORE.types
    with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topic = writer.add_connection("/image_raw", KIND, typestore=STORE)
        for recorded_ns, stamp_ns in zip(RECORDED_NS, stamps_ns, strict=True):
            stamp = types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, 10**9))
            header = types["std_msgs/msg/Header"](stamp, "lens")
            image = types[KIND](header, 2, 3, "mono8", 0, 3, np.zeros(6, np.uint8))
            data = bytes(STORE.serialize_cdr(image, KIND))
            writer.write(topic, recorded_ns, data if stamp_ns != DAMAGED_NS else data[:20])
    return folder


def test_frames_have_the_stamps_of_the_images(tmp_path: Path) -> None:
    stamps_ns = [7_000_000_000 + ns for ns in (0, 30, 50, 100)]
    frames = BagFrames(write(tmp_path / "bag", stamps_ns), own_camera=False)
    assert frames.origin_ns == stamps_ns[0]
    assert [frame.stamp_ns for frame in frames] == [0, 30, 50, 100]
    assert frames.report() == ""
    frames.close()


def test_images_without_stamps_have_the_times_of_recording_and_it_is_told(tmp_path: Path) -> None:
    """As of drivers that leave the header empty: all but the first were left out."""
    frames = BagFrames(write(tmp_path / "bag", [0, 0, 0, 0]), own_camera=False)
    for _ in range(2):
        assert [frame.stamp_ns for frame in frames] == [0, 40_000_000, 80_000_000, 120_000_000]
        assert frames.report() == (
            f"{tmp_path / 'bag'}: 4 images have no stamp, so the times at which they were recorded "
            "are used."
        )
    assert frames.origin_ns == RECORDED_NS[0]
    frames.close()


def test_a_slow_recording_has_its_own_length(tmp_path: Path, monkeypatch) -> None:
    slow_ns = [RECORDED_NS[0] + 5_000_000_000 * n for n in range(4)]
    monkeypatch.setitem(globals(), "RECORDED_NS", slow_ns)
    frames = BagFrames(write(tmp_path / "bag", slow_ns), own_camera=False)
    assert frames.rate_hz == pytest.approx(0.2)
    assert [frame.stamp_ns for frame in Part(frames, start_s=12.0)] == [15_000_000_000]
    frames.close()


@pytest.mark.parametrize("first", [0, 2])
def test_damaged_messages_are_skipped_and_told(tmp_path: Path, first: int) -> None:
    stamps_ns = [7_000_000_000 + 10 * n for n in range(4)]
    stamps_ns[first] = DAMAGED_NS
    frames = BagFrames(write(tmp_path / "bag", stamps_ns), own_camera=False)
    for _ in range(2):
        expected = [0, 10, 20] if first == 0 else [0, 10, 30]
        assert [frame.stamp_ns for frame in frames] == expected
        assert "1 images were skipped, the last one because: It is damaged (" in frames.report()
    frames.close()


def test_a_damaged_calibration_is_told(tmp_path: Path) -> None:
    info = "sensor_msgs/msg/CameraInfo"
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        writer.add_connection("/image_raw", KIND, typestore=STORE)
        topic = writer.add_connection("/camera_info", info, typestore=STORE)
        writer.write(topic, RECORDED_NS[0], b"\0\1\0\0abc")
    with pytest.raises(DataError, match=r"/camera_info of .* is damaged .*--focal PX"):
        BagFrames(tmp_path / "bag")
