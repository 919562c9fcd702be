"""EgoBody: recordings of the published layout in every view, and the occlusion benchmark."""

import csv
import json
import pickle

import numpy as np
import pytest

from moro_ros.data.egobody import open_egobody
from moro_ros.data.posed import pose_clip, project_clip
from moro_ros.errors import DataError

RECORDING = "recording_20210907_S02_S01_01"
FIRST = 101


def write_recording(root, person):
    """The person as seen by sub_1; the fits lie in the master's frame."""
    master_from_sub = person.rigid((0.1, -0.6, 0.05), (1.5, 0.1, 0.8))
    pose, transl = person.moved(master_from_sub)
    fits = root / "smplx_interactee_train" / RECORDING / "body_idx_1" / "results"
    for index in range(len(pose)):
        fit = {
            **person.fit(pose, transl, index),
            "gender": "female",
            "left_hand_pose": np.zeros((1, 12)),
        }
        folder = fits / f"frame_{FIRST + index:05d}"
        folder.mkdir(parents=True)
        (folder / "000.pkl").write_bytes(pickle.dumps(fit))
    for view in ("master", "sub_1"):
        person.write_image(root / "kinect_color" / RECORDING / view / f"frame_{FIRST:05d}.jpg")
        write_json(
            root / "kinect_cam_params" / f"kinect_{view}" / "Color.json",
            {"camera_mtx": person.matrix.tolist(), "k": [0.1, 0, 0, 0, 0, 0, 0, 0]},
        )
    calibration = root / "calibrations" / RECORDING / "cal_trans"
    write_json(calibration / "kinect_11to12_color.json", {"trans": master_from_sub.tolist()})
    write_table(root / "data_splits.csv", [{"train": RECORDING, "val": "", "test": ""}])
    write_table(
        root / "data_info_release.csv",
        [
            {
                "recording_name": RECORDING, "scene_name": "cab_e",
                "body_idx_0": "0 male", "body_idx_1": "1 female",
            }
        ],
    )  # fmt: skip
    return master_from_sub


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_table(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_occluded(root, frames):
    row = {
        "recording_name": RECORDING, "scene_name": "cab_e", "view": "sub_1", "target_idx": 1,
        "target_gender": "female", "target_start_frame": FIRST + 1,
        "target_end_frame": FIRST + frames,
    }  # fmt: skip
    write_table(root / "egobody_occ_info.csv", [row])
    mask = np.ones((frames - 1, 24))
    mask[2, 5] = 0
    path = root / "mask_joint" / RECORDING / "sub_1" / "mask_joint.npy"
    path.parent.mkdir(parents=True)
    np.save(path, mask)


def test_every_view_shows_the_same_person(tmp_path, person, open_body):
    master_from_sub = write_recording(tmp_path, person)
    egobody = open_egobody(tmp_path)
    assert [clip.view for clip in egobody.tracks] == ["master", "sub_1"]
    clip = egobody.clip(1)
    assert clip.fit.gender == "female" and clip.fps == 30 and len(clip) == 6
    posed = pose_clip(clip, open_body)
    np.testing.assert_allclose(posed.joints, person.joints, atol=1e-4)
    np.testing.assert_allclose(project_clip(clip, posed.joints), person.pixels, atol=0.1)
    assert clip.camera.distortion[0] == 0.1
    master = egobody.clip(0)
    seen = pose_clip(master, open_body).joints.numpy()
    expected = person.joints @ master_from_sub[:3, :3].T + master_from_sub[:3, 3]
    np.testing.assert_allclose(seen, expected, atol=1e-4)
    assert clip.images[0].is_file() and clip.stamps_ns[0] == pytest.approx(FIRST / 30 * 1e9)


def test_the_occlusion_benchmark_has_its_frames_and_masks(tmp_path, person):
    write_recording(tmp_path, person)
    write_occluded(tmp_path, 6)
    egobody = open_egobody(tmp_path, "occ")
    assert egobody.lengths.tolist() == [5]
    clip = egobody.clip(0, slice(1, 4))
    assert clip.visible.shape == (3, 22)
    assert np.argwhere(~clip.visible).tolist() == [[1, 5]]
    assert clip.images[0].name == f"frame_{FIRST + 2:05d}.jpg"


def test_what_is_missing_or_damaged_is_named(tmp_path, person):
    with pytest.raises(
        DataError, match=r"data_splits\.csv is missing(.|\n)*egobody\.inf\.ethz\.ch"
    ):
        open_egobody(tmp_path)
    write_recording(tmp_path, person)
    with pytest.raises(DataError, match=r"smplx_interactee_val"):
        open_egobody(tmp_path, "val")
    with pytest.raises(DataError, match=r"egobody_occ_info\.csv is missing"):
        open_egobody(tmp_path, "occ")
    egobody = open_egobody(tmp_path)
    fit = next(tmp_path.rglob("frame_00103/000.pkl"))
    fit.write_bytes(fit.read_bytes()[:40])
    with pytest.raises(DataError, match=r"frame_00103/000\.pkl is damaged"):
        egobody.clip(0)
    fit.unlink()
    with pytest.raises(DataError, match=r"frame_00103/000\.pkl is missing"):
        egobody.clip(0)
    assert len(egobody.clip(0, slice(0, 2))) == 2  # the other frames are whole
    path = tmp_path / "calibrations" / RECORDING / "cal_trans" / "kinect_11to12_color.json"
    write_json(path, {"trans": (2 * np.eye(4)).tolist()})
    with pytest.raises(DataError, match="rigid"):
        egobody.clip(1, slice(0, 2))


def test_a_gap_in_the_frames_cuts_the_clip(tmp_path, person):
    write_recording(tmp_path, person)
    fit = next(tmp_path.rglob("frame_00103"))
    (fit / "000.pkl").unlink()
    fit.rmdir()
    assert open_egobody(tmp_path).lengths.tolist() == [2, 3, 2, 3]
