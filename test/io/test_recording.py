"""motion.npz and joints.csv give back what was put in."""

from pathlib import Path

import numpy as np
import pytest

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.errors import DataError
from moro_ros.io import recording as rec
from moro_ros.types import DEPTH, BodyMotion, Camera, Place, SmplxParams

CAMERA = Camera(np.diag([500.0, 510.0, 1.0]), 640, 480, (0.1, -0.2, 0.0, 0.0, 0.0), "plumb_bob")


def motion(track_id: int, frames: int, seed: int) -> BodyMotion:
    random = np.random.default_rng(seed)
    return BodyMotion(
        track_id=track_id,
        stamps_ns=1_700_000_000_123_456_789 + np.arange(frames) * 33_333_333,
        joints=random.normal(size=(frames, 22, 3)).astype(np.float32),
        joint_rotations=np.tile(np.eye(3, dtype=np.float32), (frames, 22, 1, 1)),
        velocity=np.zeros((frames, 22, 3), np.float32),
        covariance=np.tile(np.diag([0.01, 0.01, 0.09]).astype("f4"), (frames, 22, 1, 1)),
        confidence=random.random((frames, 22), dtype=np.float32),
        observed=random.random((frames, 22)) > 0.5,
        contact=random.random((frames, 4), dtype=np.float32),
        smplx=SmplxParams(
            random.normal(size=10).astype(np.float32),
            random.normal(size=(frames, 3)).astype(np.float32),
            random.normal(size=(frames, 63)).astype(np.float32),
            random.normal(size=(frames, 3)).astype(np.float32),
        ),
        vertices=None,
        token_ids=np.zeros((frames, 4), np.int64),
        keypoints_seen=np.arange(frames) % 2 == 0,
        held=np.zeros(frames, bool),
        place=Place(DEPTH, 0.02),
    )


def filled() -> tuple[rec.MotionRecording, list[BodyMotion]]:
    recording = rec.MotionRecording(CAMERA)
    motions = [motion(7, 3, seed=1), motion(2, 2, seed=2)]
    recording.stamps_ns = motions[0].stamps_ns.tolist()
    for one in motions:
        for frame in range(len(one.stamps_ns)):
            recording.add(one.track_id, rec.row_of(one, frame))
    return recording, motions


def test_npz_has_the_documented_keys_and_the_same_values(tmp_path: Path) -> None:
    recording, motions = filled()
    recording.save(tmp_path / "motion.npz")
    with np.load(tmp_path / "motion.npz", allow_pickle=False) as arrays:
        documented = {
            line.split()[0] for line in (rec.__doc__ or "").splitlines() if line.startswith("    ")
        }
        keys = {name.replace("7/", "<id>/") for name in arrays.files if not name.startswith("2/")}
        assert keys <= documented
        assert arrays["ids"].tolist() == [2, 7]
        for one in motions:
            prefix = f"{one.track_id}/"
            assert np.array_equal(arrays[prefix + "stamps_ns"], one.stamps_ns)
            assert np.array_equal(arrays[prefix + "joints"], one.joints)
            assert np.array_equal(arrays[prefix + "body_pose"], one.smplx.body_pose)
            assert np.array_equal(arrays[prefix + "state"] == rec.OBSERVED, one.observed)
            assert arrays[prefix + "betas"].shape == (len(one.stamps_ns), 10)


def test_load_is_the_inverse_of_save(tmp_path: Path) -> None:
    recording, _ = filled()
    recording.save(tmp_path / "motion.npz")
    loaded = rec.load_recording(tmp_path / "motion.npz")
    assert loaded.stamps_ns == recording.stamps_ns
    assert loaded.camera is not None
    assert loaded.camera.distortion == CAMERA.distortion
    assert np.array_equal(loaded.camera.matrix, CAMERA.matrix)
    for track_id, rows in recording.people().items():
        assert np.array_equal(loaded.people()[track_id], rows)


def test_a_recording_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    recording, _ = filled()
    recording.save(tmp_path / "motion.npz")
    with np.load(tmp_path / "motion.npz") as arrays:
        kept = {name: a for name, a in arrays.items() if not name.endswith(rec.ADDED)}
    np.savez(tmp_path / "old.npz", **kept)
    rows = rec.load_recording(tmp_path / "old.npz").people()[7]
    assert np.array_equal(rows["joints"], recording.people()[7]["joints"])
    assert not rows["sigma"].any() and (rows["place_source"] == 0).all()


def test_an_empty_recording_is_valid(tmp_path: Path) -> None:
    rec.MotionRecording().save(tmp_path / "motion.npz")
    loaded = rec.load_recording(tmp_path / "motion.npz")
    assert loaded.camera is None
    assert loaded.people() == {}


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    for content in (b"", b"not an archive", b"PK\x03\x04 cut off"):
        (tmp_path / "x.npz").write_bytes(content)
        with pytest.raises(DataError, match=r"x\.npz"):
            rec.load_recording(tmp_path / "x.npz")
    np.savez(tmp_path / "y.npz", other=1)
    with pytest.raises(DataError, match=r"y\.npz"):
        rec.load_recording(tmp_path / "y.npz")
    with pytest.raises(DataError, match=r"missing\.npz"):
        rec.load_recording(tmp_path / "missing.npz")


def test_arrays_that_do_not_belong_together_are_a_damaged_file(tmp_path: Path) -> None:
    recording, _ = filled()
    recording.save(tmp_path / "motion.npz")
    with np.load(tmp_path / "motion.npz") as arrays:
        contents = dict(arrays)
    for name, value in (("7/joints", contents["7/joints"][:1]), ("ids", np.array(7))):
        np.savez(tmp_path / "damaged.npz", **{**contents, name: value})
        with pytest.raises(DataError, match=r"damaged\.npz is not a motion\.npz"):
            rec.load_recording(tmp_path / "damaged.npz")
    with (tmp_path / "array.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DataError, match=r"array\.npz is not a motion\.npz"):
        rec.load_recording(tmp_path / "array.npz")


def test_csv_has_one_line_per_joint() -> None:
    one = motion(3, 2, seed=5)
    lines = rec.csv_lines(3, rec.row_of(one, 1)).splitlines()
    assert len(lines) == 22
    header = rec.CSV_HEADER.strip().split(",")
    for index, line in enumerate(lines):
        cell = dict(zip(header, line.split(","), strict=True))
        assert (cell["id"], cell["joint"]) == ("3", JOINT_NAMES[index])
        assert int(cell["stamp_ns"]) == one.stamps_ns[1]
        place = [float(cell[axis]) for axis in "xyz"]
        assert place == pytest.approx(one.joints[1, index].tolist(), abs=6e-5)
        hidden = "inferred" if one.keypoints_seen[1] else "extrapolated"
        assert cell["state"] == ("observed" if one.observed[1, index] else hidden)
        assert (cell["sigma"], cell["place_source"]) == ("0.3000", "depth")
