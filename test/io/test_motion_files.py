"""MotionFiles: on the disk at once, complete or said not to be, also where the disk is full."""

import errno
import resource
import tracemalloc

import numpy as np
import pytest

from moro_ros.errors import ConfigError
from moro_ros.io import motion_files
from moro_ros.io.camera_file import camera_from_focal
from moro_ros.io.motion_files import AppendFile, MotionFiles
from moro_ros.io.recording import ROW, MotionRecording, load_recording


def made_row(track_id, frame):
    row = np.zeros((), ROW)
    row["stamps_ns"] = frame
    row["joints"] = track_id + np.arange(66).reshape(22, 3) / 100
    row["body_pose"] = frame
    row["state"][3] = 1
    return row


def fill(files, images, first=0):
    """Everybody in every third image, one person in the others."""
    for frame in range(first, first + images):
        files.add_image(frame)
        for track_id in (7, -2, 900) if frame % 3 == 0 else (7,):
            files.add(track_id, made_row(track_id, frame))


def test_the_table_is_that_of_a_recording_in_memory(tmp_path):
    files = MotionFiles(tmp_path / "out", overwrite=False)
    files.camera = camera_from_focal(500.0, 640, 480)
    fill(files, 1000)
    assert {path.name for path in files.finish()} == {"motion.npz", "joints.csv"}
    recording = MotionRecording(files.camera)
    recording.stamps_ns = list(range(1000))
    for frame in range(1000):
        for track_id in (7, -2, 900) if frame % 3 == 0 else (7,):
            recording.add(track_id, made_row(track_id, frame))
    recording.save(tmp_path / "whole.npz")
    with (
        np.load(tmp_path / "out" / "motion.npz") as found,
        np.load(tmp_path / "whole.npz") as expected,
    ):
        assert found.files == expected.files
        for name in expected.files:
            assert found[name].dtype == expected[name].dtype, name
            np.testing.assert_array_equal(found[name], expected[name], name)
    lines = (tmp_path / "out" / "joints.csv").read_text().splitlines()
    assert len(lines) == 1 + 22 * (1000 + 2 * 334)
    assert lines[1].startswith("0,7,pelvis,7.0000,7.0100,7.0200,")
    assert [path.name for path in tmp_path.joinpath("out").glob(".*")] == []


def test_an_image_without_people_is_in_the_table(tmp_path):
    files = MotionFiles(tmp_path, overwrite=False)
    files.add_image(5)
    files.finish()
    found = load_recording(tmp_path / "motion.npz")
    assert found.stamps_ns == [5] and found.people() == {}


@pytest.mark.slow
def test_memory_does_not_grow_with_the_recording(tmp_path):
    files = MotionFiles(tmp_path, overwrite=False)
    fill(files, 200)
    tracemalloc.start()
    fill(files, 6000, 200)
    _, recording_peak = tracemalloc.get_traced_memory()
    files.complete()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    rows = 10_000 * ROW.itemsize
    assert (tmp_path / files.temporary / "motion.npz").stat().st_size > rows
    assert recording_peak < 1e6
    # A thousand rows at a time.
    assert peak < 3e6 < 7e6 < rows
    files.discard()


class Disk:
    """A disk with room for so many bytes, whatever file they are in."""

    def __init__(self, monkeypatch, room):
        self.room = room
        write, cut = AppendFile.write, AppendFile.cut

        def limited(file, data):
            if len(data) > self.room:
                write(file, data[: self.room])
                self.room = 0
                raise OSError(errno.ENOSPC, "No space left on device")
            self.room -= len(data)
            return write(file, data)

        def freed(file, size):
            self.room += file.tell() - size
            cut(file, size)

        monkeypatch.setattr(AppendFile, "write", limited)
        monkeypatch.setattr(AppendFile, "cut", freed)


def check_whole(folder, images):
    """Both files hold the same images, from the first on."""
    found = load_recording(folder / "motion.npz")
    assert found.stamps_ns == list(range(images))
    assert found.people()[7]["stamps_ns"].tolist() == list(range(images))
    assert all(np.all(row["body_pose"] == row["stamps_ns"]) for row in found.people()[7])
    lines = (folder / "joints.csv").read_text().splitlines()
    rows = sum(map(len, found.people().values()))
    assert len(lines) == 1 + 22 * rows and lines[-1].count(",") == 9


@pytest.mark.parametrize("room", [300_000, 555_555, 1_000_001])
def test_a_full_disk_keeps_whole_images_in_both_files(tmp_path, monkeypatch, room):
    files = MotionFiles(tmp_path, overwrite=False)
    Disk(monkeypatch, room)
    with pytest.raises(OSError, match="No space left"):
        fill(files, 10_000)
    noted = files.images
    (missing,) = files.complete()
    kept = files.images
    assert missing.startswith(f"the last {noted - kept} images ([Errno 28]")
    assert noted - kept < 200 and (kept > 50 or room < 400_000)
    files.place()
    check_whole(tmp_path, kept)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["joints.csv", "motion.npz"]


def test_the_space_of_the_table_is_claimed_while_there_is_some(tmp_path, monkeypatch):
    """So the table can be completed whenever the disk becomes full."""
    files = MotionFiles(tmp_path, overwrite=False)
    claimed = []

    kept = motion_files.reserve

    def reserve(path, size):
        if size > 3_000_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        claimed.append(size)
        kept(path, size)

    monkeypatch.setattr("moro_ros.io.motion_files.reserve", reserve)
    with pytest.raises(OSError, match="No space left"):
        fill(files, 100_000)
    table = files.temporary / "motion.npz"
    assert table.stat().st_size == claimed[-1]
    assert table.stat().st_blocks * 512 >= claimed[-1]
    files.complete()
    assert table.stat().st_size < claimed[-1]
    files.place()
    check_whole(tmp_path, files.images)


@pytest.mark.parametrize("there", [False, True])
def test_a_disk_that_is_full_from_the_start_is_told_and_nothing_is_left(
    tmp_path, monkeypatch, there
):
    folder = tmp_path / "out"
    if there:
        folder.mkdir()
    Disk(monkeypatch, 10)
    with pytest.raises(ConfigError, match=r"No space left on device\). .* set --out to another"):
        MotionFiles(folder, overwrite=False, option="--out")
    assert list(tmp_path.rglob("*")) == [folder] * there


def test_a_limit_of_the_file_size_is_a_full_disk(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    files = MotionFiles(tmp_path, overwrite=False)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            fill(files, 100_000)
        assert len(files.complete()) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    files.place()
    check_whole(tmp_path, files.images)


def test_what_cannot_be_completed_is_discarded_by_finish(tmp_path, monkeypatch):
    folder = tmp_path / "new"
    files = MotionFiles(folder, overwrite=False)
    fill(files, 30)
    Disk(monkeypatch, 1000)
    with pytest.raises(OSError, match=r"Cannot complete the files in .*: the last 30 images"):
        files.finish()
    files.discard()
    assert not folder.exists()


def test_nothing_is_overwritten_that_appears_meanwhile(tmp_path):
    files = MotionFiles(tmp_path, overwrite=False)
    fill(files, 5)
    (tmp_path / "motion.npz").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"already contains motion\.npz"):
        files.finish()
    files.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["motion.npz"]
    with pytest.raises(ConfigError, match=r"already contains motion\.npz"):
        MotionFiles(tmp_path, overwrite=False)
