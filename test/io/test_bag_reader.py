"""Recordings are read without their metadata.yaml, and what cannot be read says why."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from moro_ros.errors import ConfigError
from moro_ros.io.bag_reader import ZSTD, open_bag
from moro_ros.ros.bag import known_types

KINDS = {"mcap": StoragePlugin.MCAP, "db3": StoragePlugin.SQLITE3}


def write(
    folder: Path, kind: str, first: int = 0, count: int = 10,
    packed: Callable[[bytes], bytes] = bytes,
) -> Path:  # fmt: skip
    """Messages of two topics, 10 ns apart; returns the file."""
    store = known_types()
    with Writer(folder, version=9, storage_plugin=KINDS[kind]) as writer:
        names = ("/odd", "/even") if first else ("/even", "/odd")
        made = {n: writer.add_connection(n, "std_msgs/msg/String", typestore=store) for n in names}
        for index in range(first, first + count):
            topic = made["/odd" if index % 2 else "/even"]
            writer.write(topic, 1000 + 10 * index, packed(index.to_bytes(8, "little")))
    return folder / f"{folder.name}.{kind}"


def everything(path: Path) -> list[tuple[str, int, int]]:
    reader = open_bag(str(path))
    found = [(c.topic, ns, int.from_bytes(data, "little")) for c, ns, data in reader.messages()]
    reader.close()
    return found


def expected(count: int) -> list[tuple[str, int, int]]:
    return [("/odd" if i % 2 else "/even", 1000 + 10 * i, i) for i in range(count)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", ["whole", "missing", "empty", "cut", "names another file"])
def test_metadata_need_not_be_there(tmp_path: Path, kind: str, damage: str) -> None:
    write(tmp_path / "walk", kind)
    metadata = tmp_path / "walk" / "metadata.yaml"
    text = metadata.read_text()
    if damage == "missing":
        metadata.unlink()
    elif damage != "whole":
        changes = {"empty": "", "cut": text[:200], "names another file": text.replace("walk", "x")}
        metadata.write_text(changes[damage])
    reader = open_bag(str(tmp_path / "walk"))
    assert (reader.start_time, reader.duration) == (1000, 91)
    assert sorted((c.topic, c.msgcount) for c in reader.connections) == [("/even", 5), ("/odd", 5)]
    odd = [c for c in reader.connections if c.topic == "/odd"]
    assert [ns for _, ns, _ in reader.messages(odd, 1025, 1070)] == [1030, 1050]
    reader.close()
    assert everything(tmp_path / "walk") == expected(10)
    assert everything(tmp_path / "walk" / f"walk.{kind}") == expected(10)


def test_missing_metadata_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """`moro predict` opens a recording three times."""
    write(tmp_path / "walk", "mcap")
    (tmp_path / "walk" / "metadata.yaml").unlink()
    for _ in range(3):
        open_bag(str(tmp_path / "walk")).close()
    assert len(caplog.records) == 1 and "it has no metadata.yaml" in caplog.text


@pytest.mark.parametrize("kind", KINDS)
def test_the_parts_of_a_recording_follow_one_another(tmp_path: Path, kind: str) -> None:
    """In the order of their times, whatever their names and the numbers of their topics."""
    folder = tmp_path / "walk"
    folder.mkdir()
    for name, first in (("walk_10", 0), ("walk_9", 10), ("walk_1", 20), ("empty", 30)):
        made = write(tmp_path / name, kind, first, 0 if name == "empty" else 10)
        shutil.copy(made, folder)
    assert everything(folder) == expected(30)
    reader = open_bag(str(folder))
    assert (reader.start_time, reader.duration) == (1000, 291)
    assert sorted((c.id, c.msgcount) for c in reader.connections) == [(1, 15), (2, 15)]
    # A topic of one part alone is not asked of the others.
    odd = [c for c in reader.connections if c.topic == "/odd"]
    assert [int.from_bytes(data, "little") for _, _, data in reader.messages(odd)][9:] == [
        19, 21, 23, 25, 27, 29
    ]  # fmt: skip
    reader.close()


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    def reason(path: Path) -> str:
        with pytest.raises(ConfigError, match="bag: ") as error:
            open_bag(str(path))
        return str(error.value)

    assert "does not exist" in reason(tmp_path / "nowhere")
    (tmp_path / "none").mkdir()
    assert "has no metadata.yaml" in reason(tmp_path / "none")
    (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0")
    assert "recording of ROS 1; convert it" in reason(tmp_path / "old.bag")
    for kind in KINDS:
        for name, content in (("empty", b""), ("noise", bytes(range(256)) * 20)):
            folder = tmp_path / f"{name}_{kind}"
            folder.mkdir()
            (folder / f"a.{kind}").write_bytes(content)
            assert "cannot read" in reason(folder)
    cut = write(tmp_path / "cut", "mcap")
    cut.write_bytes(cut.read_bytes()[:-50])
    assert "recover it first (`mcap recover`)" in reason(tmp_path / "cut")
    write(tmp_path / "packed", "db3", packed=lambda data: ZSTD + data)
    (tmp_path / "packed" / "metadata.yaml").unlink()
    assert "messages are compressed, and metadata.yaml is missing" in reason(tmp_path / "packed")
