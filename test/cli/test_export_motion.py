"""`moro export` of recorded motion: what is wrong is said in one sentence, and nothing is left."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import numpy as np
import pytest

from moro_ros.cli import cli, export_motion
from moro_ros.io.recording import MotionRecording, load_recording, row_of

FORMS = sorted(export_motion.FORMS)
LIBRARIES = {"gltf": "pygltflib", "c3d": "ezc3d"}


@pytest.fixture()
def recording(posed, tmp_path: Path) -> Path:
    """motion.npz of persons 1 and 2, ten frames each, in a folder of its own."""
    motion = MotionRecording()
    motion.stamps_ns = [k * 33_333_333 for k in range(10)]
    for number in (1, 2):
        for stamp in motion.stamps_ns:
            pelvis = (float(number), 0.0, 3.0)
            motion.add(number, row_of(posed(np.zeros((22, 3)), pelvis, None, number, stamp)))
    path = tmp_path / "recorded" / "motion.npz"
    path.parent.mkdir()
    motion.save(path)
    return path


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refused(capsys, *words: object) -> str:
    """The one sentence with which a command is refused."""
    assert cli.main(["export", *map(str, words)]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("moro export: ") and output.err.count("\n") == 1
    return str(output.err)


@pytest.mark.parametrize("form", FORMS)
def test_files_are_written_beside_the_recording(recording, form, capsys):
    pytest.importorskip(LIBRARIES.get(form, "numpy"))
    assert cli.main(["export", form, str(recording.parent), "--people", "2"]) == 0
    written = [name for name in files(recording.parent) if name != "motion.npz"]
    assert len(written) == 1
    output = capsys.readouterr().out
    assert written[0] in output and "up; origin: the camera" in output
    rate = "Frame rate: 30 Hz; 0 of 10 frames are interpolated." in output
    assert rate == export_motion.FORMS[form].constant
    assert "Person 2: 0.000 to 0.300 s\n" in output


def test_a_c3d_file_has_as_many_frames_as_programs_can_count(recording, capsys):
    pytest.importorskip("ezc3d")
    motion = load_recording(recording)
    row = motion.people()[1][0].copy()
    row["stamps_ns"] = 65_600 * 33_333_333
    motion.add(1, row)
    motion.stamps_ns.append(int(row["stamps_ns"]))
    motion.save(recording)
    said = refused(capsys, "c3d", recording, "--people", "1")
    assert "would have 65601 frames, but C3D files have up to 65534: give --fps 29.96 or" in said
    assert files(recording.parent) == ["motion.npz"]
    assert cli.main(["export", "c3d", str(recording), "--people", "1", "--fps", "29.96"]) == 0


@pytest.mark.parametrize("form", FORMS)
def test_a_recording_may_have_any_name(recording, form):
    pytest.importorskip(LIBRARIES.get(form, "numpy"))
    named = recording.with_name("Übung 歩く.npz")
    recording.rename(named)
    assert cli.main(["export", form, str(named), "--people", "1"]) == 0
    assert len(files(named.parent)) == 2


def test_markers_are_not_written_over_a_live_recording(recording):
    recording.with_suffix(".mcap").write_text("recorded")
    assert cli.main(["export", "mcap", str(recording), "--force"]) == 0
    assert recording.with_suffix(".mcap").read_text() == "recorded"
    assert (recording.parent / "motion_markers.mcap").is_file()


@pytest.mark.parametrize("form", FORMS)
def test_an_existing_file_is_replaced_only_with_force(recording, form, capsys):
    pytest.importorskip(LIBRARIES.get(form, "numpy"))
    assert cli.main(["export", form, str(recording)]) == 0
    capsys.readouterr()
    before = files(recording.parent)
    for name in set(before) - {"motion.npz"}:
        (recording.parent / name).write_text("kept")
    assert "--force" in refused(capsys, form, recording)
    assert files(recording.parent) == before
    kept = [name for name in before if (recording.parent / name).read_bytes() == b"kept"]
    assert len(kept) == len(before) - 1
    assert cli.main(["export", form, str(recording), "--force"]) == 0
    assert files(recording.parent) == before
    assert all((recording.parent / name).read_bytes() != b"kept" for name in before)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--people", "7"], "has no person 7; --people accepts: 1, 2"),
        (["--people", "two"], "--people: got 'two', expected ids"),
        (["--camera-height", "1.5"], "--camera-height and --camera-pitch: got one"),
    ],
)
def test_what_is_wrong_is_said(recording, form, options, message, capsys):
    out = recording.parent / "a" / "b"
    assert message in refused(capsys, form, recording, "--out", out, *options)
    assert files(recording.parent) == ["motion.npz"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fps", "0"], "--fps: got 0, expected 1 to 1000 Hz"),
        (["--fps", "nan"], "--fps: got nan"),
        (["--max-gap", "-1"], "--max-gap: got -1, expected 0 to 3600 s"),
        (["--body", "absent.npz"], "absent.npz: cannot be read as a body model"),
    ],
)
def test_values_out_of_range_are_refused(recording, options, message, capsys):
    assert message in refused(capsys, "bvh", recording, *options)
    assert files(recording.parent) == ["motion.npz"]


@pytest.mark.parametrize("form", FORMS)
def test_a_recording_of_nobody_is_refused(form, tmp_path, capsys):
    MotionRecording().save(tmp_path / "motion.npz")
    assert "contains no people" in refused(capsys, form, tmp_path)
    assert files(tmp_path) == ["motion.npz"]


@pytest.mark.parametrize("form", FORMS)
def test_motion_in_the_world_is_not_exported_as_that_of_a_camera(recording, form, capsys):
    motion = load_recording(recording)
    motion.frame_id = "world"
    motion.save(recording)
    said = refused(capsys, form, recording)
    assert "is in the frame 'world'" in said and "moro fuse with --frame CAMERA" in said
    assert files(recording.parent) == ["motion.npz"]
    motion.frame_id = "front_optical_frame"
    motion.save(recording)
    assert cli.main(["export", "csv", str(recording)]) == 0


@pytest.mark.parametrize("form", FORMS)
def test_a_damaged_file_is_refused(recording, form, capsys):
    recording.write_bytes(recording.read_bytes()[:2000])
    assert "is not a motion.npz of moro_ros" in refused(capsys, form, recording)
    absent = recording.parent / "absent.npz"
    assert f"There is no {absent}: expected" in refused(capsys, form, absent)
    assert files(recording.parent) == ["motion.npz"]


@pytest.mark.parametrize("form", FORMS)
def test_a_folder_that_cannot_be_written_is_refused(recording, form, capsys):
    pytest.importorskip(LIBRARIES.get(form, "numpy"))
    blocked = recording.parent / "motion.npz" / "below"
    assert "Cannot write to the folder" in refused(capsys, form, recording, "--out", blocked)
    assert files(recording.parent) == ["motion.npz"]


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_left_on_a_full_disk(recording, form, capsys):
    """A limit of the file size is to a program what a full disk is."""
    pytest.importorskip(LIBRARIES.get(form, "numpy"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
    try:
        message = refused(capsys, form, recording, "--out", recording.parent / "new" / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "Cannot write to the folder" in message
    assert files(recording.parent) == ["motion.npz"]


@pytest.mark.parametrize("form", LIBRARIES)
def test_a_missing_library_is_named_with_the_pip_command(recording, form, monkeypatch, capsys):
    library = LIBRARIES[form]
    monkeypatch.delitem(sys.modules, library, raising=False)

    class Absent:
        def find_spec(self, name, path=None, target=None):
            if name == library:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    out = recording.parent / "out"
    assert f"pip install {library}" in refused(capsys, form, recording, "--out", out)
    assert files(recording.parent) == ["motion.npz"]


def test_motion_of_another_body_is_refused(recording, capsys):
    motion = load_recording(recording)
    other = MotionRecording()
    other.stamps_ns = motion.stamps_ns
    for number, rows in motion.people().items():
        for row in rows:
            row["joints"][4] += 0.1
            other.add(number, row)
    other.save(recording)
    for form in set(FORMS) - {"csv"}:
        assert "recorded with another body" in refused(capsys, form, recording)
    assert files(recording.parent) == ["motion.npz"]
    assert cli.main(["export", "csv", str(recording)]) == 0
