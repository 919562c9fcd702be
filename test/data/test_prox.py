"""PROX: recordings, keypoints and fitted bodies of the published layout."""

import json
import pickle

import numpy as np
import pytest

from moro_ros.data.posed import pose_clip, project_clip
from moro_ros.data.prox import open_prox, person_boxes
from moro_ros.errors import DataError

RECORDING = "N3OpenArea_00157_01"


def write_recording(root, person, fits=True):
    names = [f"s001_frame_{i + 1:05d}__00.01.00.{33 * i:03d}" for i in range(len(person.transl))]
    for index, name in enumerate(names):
        person.write_image(root / "recordings" / RECORDING / "Color" / f"{name}.jpg")
        points = np.zeros((25, 3))
        points[1:9, :2], points[1:9, 2] = person.pixels[index, :8], 0.9
        stranger = np.full((25, 3), 0.05)
        people = [{"pose_keypoints_2d": p.ravel().tolist()} for p in (stranger, points)]
        write_json(root / "keypoints" / RECORDING / f"{name}_keypoints.json", {"people": people})
        if fits:
            fit = {
                **person.fit(person.pose, person.transl, index),
                "pose_embedding": np.zeros((1, 32)),
            }
            folder = root / "PROXD" / RECORDING / "results" / name
            folder.mkdir(parents=True)
            (folder / "000.pkl").write_bytes(pickle.dumps(fit, protocol=2))
    write_json(
        root / "calibration" / "Color.json", {"camera_mtx": person.matrix.tolist(), "k": [0.1]}
    )


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def test_a_recording_comes_back(tmp_path, person, open_body):
    write_recording(tmp_path, person)
    prox = open_prox(tmp_path)
    assert prox.lengths.tolist() == [6]
    clip = prox.clip(0)
    posed = pose_clip(clip, open_body)
    np.testing.assert_allclose(posed.joints, person.joints, atol=1e-4)
    pixels = project_clip(clip, posed.joints).numpy()
    np.testing.assert_allclose(pixels[:, :8], clip.points_px[:, 1:9, :2], atol=0.1)
    assert clip.mirrored and not clip.has_measured_truth and clip.subject == "00157"
    assert clip.stamps_ns[:2].tolist() == [60_000_000_000, 60_033_000_000]
    low, high = person.pixels[0, :8].min(0), person.pixels[0, :8].max(0)
    assert clip.boxes_px[0, 2] == pytest.approx(1.2 * (high - low).max(), rel=1e-4)
    assert prox.clip(0, slice(2, 4)).points_px.shape == (2, 25, 3)


def test_fits_and_keypoints_may_be_absent(tmp_path, person):
    write_recording(tmp_path, person, fits=False)
    clip = open_prox(tmp_path).clip(0)
    assert clip.fit is None and clip.visible is None
    mask = np.ones((6, 25))
    mask[3, 20] = 0
    (tmp_path / "mask_joint" / RECORDING).mkdir(parents=True)
    np.save(tmp_path / "mask_joint" / RECORDING / "mask_joint.npy", mask)
    assert np.argwhere(~open_prox(tmp_path).clip(0).visible).tolist() == [[3, 20]]


def test_a_box_stays_while_nobody_is_seen():
    points = np.zeros((3, 25, 3), np.float32)
    points[1, :2] = [[100, 100, 1], [200, 300, 1]]
    boxes = person_boxes(points)
    assert boxes[0].tolist() == [150, 150, 120]
    assert boxes[1].tolist() == boxes[2].tolist() == pytest.approx([150, 200, 240])


def test_what_is_missing_or_damaged_is_named(tmp_path, person):
    with pytest.raises(DataError, match=r"recordings/\*/Color is missing(.|\n)*prox\.is\.tue"):
        open_prox(tmp_path)
    write_recording(tmp_path, person)
    prox = open_prox(tmp_path)
    next(tmp_path.rglob("*_00002__*_keypoints.json")).unlink()
    with pytest.raises(DataError, match=r"frame_00002.*_keypoints\.json is missing"):
        prox.clip(0)
    (tmp_path / "calibration" / "Color.json").write_text("[[1, 2")
    with pytest.raises(DataError, match=r"Color\.json is damaged"):
        prox.clip(0, slice(0, 1))
    (tmp_path / "calibration" / "Color.json").unlink()
    with pytest.raises(DataError, match=r"Color\.json is missing"):
        prox.clip(0, slice(0, 1))
