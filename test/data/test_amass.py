"""AMASS: files of the published layout come back as clips at 30 Hz."""

import numpy as np
import pytest

from moro_ros.data.amass import open_amass
from moro_ros.data.posed import pose_clip
from moro_ros.errors import DataError


def write(path, frames=121, rate=120.0, **more):
    rng = np.random.default_rng(frames)
    path.parent.mkdir(parents=True, exist_ok=True)
    pose = np.cumsum(rng.normal(size=(frames, 165)) * 0.002, 0)
    arrays = {
        "gender": "neutral",
        "mocap_frame_rate": rate,
        "betas": rng.normal(size=16),
        "trans": np.cumsum(rng.normal(size=(frames, 3)) * 0.002, 0),
        "poses": pose,
        "root_orient": pose[:, :3],
        "pose_body": pose[:, 3:66],
    }
    arrays.update(more)
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return arrays


def test_a_file_comes_back_at_30_hz(tmp_path, open_body):
    wrote = write(tmp_path / "ACCAD" / "s1" / "walk_stageii.npz")
    amass = open_amass(tmp_path)
    assert len(amass) == 1 and amass.lengths.tolist() == [31]
    clip = amass.clip(0)
    assert (clip.name, clip.subject, clip.fps) == ("ACCAD/s1/walk", "ACCAD/s1", 30)
    np.testing.assert_allclose(clip.fit.params.transl, wrote["trans"][::4], atol=1e-6)
    np.testing.assert_allclose(clip.fit.params.body_pose, wrote["pose_body"][::4], atol=1e-6)
    posed = pose_clip(clip, open_body)
    rest = open_body.skeleton(posed.betas[None]).joints[0, 0].numpy()
    np.testing.assert_allclose(posed.joints[:, 0], wrote["trans"][::4] + rest, atol=1e-5)
    assert clip.has_measured_truth and clip.fit.placed and clip.camera is None


def test_rates_that_are_no_multiple_are_interpolated(tmp_path):
    wrote = write(tmp_path / "CMU" / "01" / "01_01_stageii.npz", 101, 100.0)
    amass = open_amass(tmp_path, "train")
    clip = amass.clip(0)
    assert len(clip) == amass.lengths[0] == 31
    np.testing.assert_allclose(clip.fit.params.transl[3], wrote["trans"][10], atol=1e-5)
    middle = wrote["trans"][3] * (2 / 3) + wrote["trans"][4] / 3
    np.testing.assert_allclose(clip.fit.params.transl[1], middle, atol=1e-5)


def test_poses_alone_are_enough(tmp_path):
    wrote = write(tmp_path / "SSM" / "s" / "a_stageii.npz", root_orient=None, pose_body=None)
    clip = open_amass(tmp_path).clip(0)
    np.testing.assert_allclose(clip.fit.params.global_orient, wrote["poses"][::4, :3], atol=1e-6)


def test_splits_are_by_subset(tmp_path):
    for subset in ("ACCAD", "Eyes_Japan_Dataset", "SFU", "TotalCapture"):
        for name in ("a", "b"):
            write(tmp_path / subset / "s" / f"{name}_stageii.npz")
    assert len(open_amass(tmp_path, "train")) == 4
    assert len(open_amass(tmp_path, "test")) == 4
    assert len(open_amass(tmp_path, "val")) == 2
    assert len(open_amass(tmp_path, "all")) == 8


def test_what_is_missing_or_damaged_is_named(tmp_path):
    with pytest.raises(DataError, match=r"SMPL-X N(.|\n)*amass\.is\.tue\.mpg\.de|amass\.is\.tue"):
        open_amass(tmp_path / "absent")
    (tmp_path / "ACCAD").mkdir()
    with pytest.raises(DataError, match=r"_stageii\.npz is missing"):
        open_amass(tmp_path)
    (tmp_path / "ACCAD" / "a_poses.npz").write_bytes(b"")
    with pytest.raises(DataError, match=r"a_poses\.npz(.|\n)*SMPL\+H"):
        open_amass(tmp_path)
    (tmp_path / "ACCAD" / "cut_stageii.npz").write_bytes(b"PK\x03\x04 no more")
    with pytest.raises(DataError, match=r"cut_stageii\.npz is damaged"):
        open_amass(tmp_path)


def test_a_file_without_its_arrays_is_refused(tmp_path):
    write(tmp_path / "ACCAD" / "s" / "a_stageii.npz", betas=None)
    with pytest.raises(DataError, match="the arrays betas are missing"):
        open_amass(tmp_path).clip(0)
    write(tmp_path / "ACCAD" / "s" / "a_stageii.npz", mocap_frame_rate=None)
    with pytest.raises(DataError, match="mocap_frame_rate is missing"):
        open_amass(tmp_path)
    with pytest.raises(DataError, match="no split 'later'"):
        open_amass(tmp_path, "later")
