"""Folders of motion files become one open motion file; bad ones are named, never half written."""

import os

import numpy as np
import pytest

from moro_ros.data import import_motion
from moro_ros.data.import_motion import (
    ImportedClip,
    Skipped,
    category_of,
    clip_name,
    find_motion,
    import_files,
    read_categories,
    save_motion,
    subject_of,
)
from moro_ros.data.mocap import load_motion
from moro_ros.data.retarget import SourceMotion, target_skeleton, whole_parts
from moro_ros.errors import DataError


def clip(name="a", frames=40, **more):
    fields = {
        "subject": "s", "category": "other", "rotations": np.zeros((frames, 22, 3), np.float32),
        "translation": np.zeros((frames, 3), np.float32), **more,
    }  # fmt: skip
    return ImportedClip(name, **fields)


def test_a_written_file_is_open_motion(tmp_path):
    rng = np.random.default_rng(0)
    rotations = rng.normal(size=(40, 22, 3)).astype(np.float32)
    places = rng.normal(size=(40, 3)).astype(np.float32)
    clips = [clip("13_29", rotations=rotations, translation=places, subject="13"), clip("b", 31)]
    save_motion(clips, tmp_path / "new" / "train.npz")
    motion = load_motion(tmp_path / "new" / "train.npz")
    np.testing.assert_allclose(motion.rotations[:40], rotations, atol=2e-3)
    np.testing.assert_array_equal(motion.translation[:40], places)
    assert motion.lengths.tolist() == [40, 31] and motion.fps == 30
    assert motion.names.tolist() == ["13_29", "b"] and motion.subjects.tolist() == ["13", "s"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "train.npz"
    save_motion([clip("old")], path)

    def full(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(import_motion.np, "savez_compressed", full)
    with pytest.raises(DataError, match="disk full"):
        save_motion([clip("new")], path)
    monkeypatch.undo()
    assert load_motion(path).names.tolist() == ["old"]
    assert os.listdir(tmp_path) == ["train.npz"]


def test_skeletons_are_found_beside_or_by_subject(tmp_path):
    for name in ("02/02.asf", "02/02_01.amc", "03/03_01.amc", "x/only.asf", "x/walk.amc", "a.BVH"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = {file.path.name: file.skeleton for file in find_motion(tmp_path)}
    assert found["02_01.amc"].name == "02.asf" and found["walk.amc"].name == "only.asf"
    assert found["03_01.amc"] is None and found["a.BVH"] is None


def test_nothing_to_import_is_said(tmp_path):
    with pytest.raises(DataError, match=r"no file \*\.bvh or \*\.amc"):
        find_motion(tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        find_motion(tmp_path / "absent")


def test_unusable_files_are_skipped_with_their_reason(tmp_path, open_body):
    (tmp_path / "a.bvh").write_text("HIERARCHY")
    (tmp_path / "03_01.amc").touch()
    (tmp_path / "04").mkdir()
    (tmp_path / "04" / "04.asf").write_text(":root")
    (tmp_path / "04" / "04_01.amc").touch()
    target = target_skeleton(open_body)
    results = list(import_files(find_motion(tmp_path), tmp_path, target))
    assert all(isinstance(result, Skipped) for result in results)
    reasons = {result.path.name: result.reason for result in results}
    assert "not a BVH file" in reasons["a.bvh"]
    assert "no ASF file" in reasons["03_01.amc"]
    assert "04.asf cannot be used" in reasons["04_01.amc"]


def test_one_odd_file_does_not_lose_the_others(tmp_path, open_body, monkeypatch):
    """Neither one that is too short nor one that brings up a fault of the program."""
    target = target_skeleton(open_body)
    rest = target.rest

    def source(frames, size=1.0):
        turns = np.tile(np.eye(3) * size, (frames, 22, 1, 1))
        return SourceMotion(turns, rest, np.zeros((frames, 3)), 120.0)

    sources = {
        "a": [source(1)], "b": [source(300), source(1), source(130)], "c": [source(300)],
        "d": [source(300, np.nan)],
    }  # fmt: skip

    def read(file, *_):
        if file.path.stem == "c":
            raise ZeroDivisionError("odd")
        return iter(sources[file.path.stem])

    for name in sources:
        (tmp_path / f"{name}.bvh").touch()
    monkeypatch.setattr(import_motion, "read_source", read)
    results = list(import_files(find_motion(tmp_path), tmp_path, target))
    clips = {r.name: len(r.translation) for r in results if isinstance(r, ImportedClip)}
    assert clips == {"b_s0": 75, "b_s1": 33}
    assert all(np.isfinite(r.rotations).all() for r in results if isinstance(r, ImportedClip))
    reasons = {r.path.stem: r.reason for r in results if isinstance(r, Skipped)}
    assert reasons == {
        "a": "it lasts 0.03 s; a motion of 1 s or more is needed",
        "c": "it cannot be converted (ZeroDivisionError: odd)",
        "d": "its values give no valid position or rotation",
    }


def test_names_subjects_and_categories(tmp_path):
    wave = tmp_path / "141" / "141_16-wave_hello.bvh"
    assert (clip_name(wave), subject_of(wave, tmp_path)) == ("141_16", "141")
    assert category_of(wave, {}) == "gesture"
    assert category_of(wave, {"141_16": "other"}) == "other"
    plain = tmp_path / "anna" / "take.bvh"
    assert (clip_name(plain), subject_of(plain, tmp_path)) == ("take", "anna")
    assert category_of(plain, {}) == "other"
    table = tmp_path / "categories.csv"
    table.write_text("141_16,gesture\ntake, walk_run\n")
    assert read_categories(table) == {"141_16": "gesture", "take": "walk_run"}
    table.write_text("\ufeffName,Category\n141_16,gesture\n", encoding="utf-8")
    assert read_categories(table) == {"141_16": "gesture"}
    table.write_text("\ufeff141_16,gesture\n", encoding="utf-8")
    assert read_categories(table) == {"141_16": "gesture"}
    table.write_text("141_16,waving\n")
    with pytest.raises(DataError, match="'141_16,waving'; expected a name and one of walk_run"):
        read_categories(table)


def test_clips_are_cut_at_tracking_errors(open_body):
    target = target_skeleton(open_body)
    rotations = np.zeros((120, 22, 3), np.float32)
    places = np.zeros((120, 3), np.float32)
    assert whole_parts(rotations, places, target) == [slice(0, 120)]
    rotations[50:, 3, 2] = 1.0  # 57 degrees within a frame
    parts = whole_parts(rotations, places, target)
    assert [(part.start, part.stop) for part in parts] == [(0, 46), (54, 120)]
    rotations[:] = 0
    rotations[20, 16, 2] = 1.5  # an arm that flies off for one frame
    parts = whole_parts(rotations, places, target)
    assert [(part.start, part.stop) for part in parts] == [(25, 120)]
