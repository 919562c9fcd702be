"""A recording is what every supported rosbag2 reads, also where the disk was full."""

import errno
from pathlib import Path

import pytest
import yaml
from rosbags.rosbag2 import Reader

from moro_ros.io.motion_files import AppendFile
from moro_ros.ros.bag import MotionBag


def test_humble_can_read_the_metadata(tmp_path):
    bag = MotionBag(tmp_path / "walk")
    bag.add_topic("/tf", "tf2_msgs/msg/TFMessage")
    bag.write("/tf", 1, b"\x00\x01\x00\x00\x00\x00\x00\x00")
    bag.close()
    text = (tmp_path / "walk" / "metadata.yaml").read_text(encoding="utf-8")
    information = yaml.safe_load(text)["rosbag2_bagfile_information"]
    assert information["storage_identifier"] == "mcap"
    for topic in information["topics_with_message_count"]:
        # Humble parses a string; from version 9 on it is a list, on which it stops.
        assert isinstance(topic["topic_metadata"]["offered_qos_profiles"], str)


def test_a_compressed_bag_is_smaller_and_holds_the_same(tmp_path: Path) -> None:
    text = bytes(4) + b"the same again and again " * 4000
    sizes = []
    for name in ("plain", "compressed"):
        bag = MotionBag(tmp_path / name, compressed=name == "compressed")
        bag.add_topic("/text", "std_msgs/msg/String")
        for stamp in range(30):
            bag.write("/text", stamp, text)
        assert bag.close() == ""
        with Reader(bag.path.parent) as reader:
            assert [bytes(data) for _, _, data in reader.messages()] == [text] * 30
        sizes.append(bag.path.stat().st_size)
    assert sizes[1] < 0.1 * sizes[0]


@pytest.mark.parametrize("room", [1_050_000, 2_500_000, 4_194_000])
def test_a_bag_on_a_full_disk_is_whole_up_to_its_last_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """It has an index, and the messages are those that were written, in order, none twice."""
    bag = MotionBag(tmp_path / "walk")
    bag.add_topic("/text", "std_msgs/msg/String")
    write = AppendFile.write

    def limited(file: AppendFile, data: bytes) -> int:
        left = room - file.tell()
        if len(data) > left:
            write(file, data[:left])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data)

    monkeypatch.setattr(AppendFile, "write", limited)
    written = 0
    with pytest.raises(OSError, match="No space left"):
        while True:
            bag.write("/text", written, written.to_bytes(4, "little") * 2500)
            written += 1
    if room < 1_060_000:
        with pytest.raises(OSError, match="No space left"):
            bag.close()
        return
    assert bag.close() == "the end of walk.mcap ([Errno 28] No space left on device)"
    with Reader(bag.path) as reader:
        found = [(stamp, bytes(data)) for _, stamp, data in reader.messages()]
        assert reader.message_count == len(found)
        assert (reader.start_time, reader.end_time) == (0, len(found))
    assert found == [(i, i.to_bytes(4, "little") * 2500) for i in range(len(found))]
    # A chunk has a megabyte, and one is given up for the index.
    assert written - len(found) < 220
