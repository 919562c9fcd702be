"""Readers of result files: each is given a tiny file in the layout that its project writes."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from moro_ros.body.body_model import BodyModel
from moro_ros.data.pickles import read_pickle
from moro_ros.errors import BodyModelError, DataError
from moro_ros.evaluation.readers.bodies import Bodies, RestJoints, load_rest_joints, posed_joints
from moro_ros.evaluation.readers.methods import (
    READERS,
    read_gvhmr,
    read_moro,
    read_prompthmr,
    read_rohm,
    read_tokenhmr,
    read_wham,
    rohm_truths,
)
from moro_ros.io.recording import ROW, MotionRecording
from moro_ros.resources import share_path

FRAMES = 5
RNG = np.random.default_rng(7)
POSE = 0.3 * RNG.normal(size=(FRAMES, 24, 3))
PLACE = RNG.normal([0, 0, 4], 0.2, (FRAMES, 3))
BETAS = RNG.normal(size=(FRAMES, 10))


@pytest.fixture(scope="module")
def body() -> RestJoints:
    return load_rest_joints(share_path("models", "open_body", "OPEN_NEUTRAL.npz"))


@pytest.fixture(scope="module")
def bodies(body) -> Bodies:
    return {"smpl": body, "smplx": body}


@pytest.fixture(scope="module")
def expected(body) -> np.ndarray:
    rotations = Rotation.from_rotvec(POSE.reshape(-1, 3)).as_matrix().reshape(FRAMES, 24, 3, 3)
    return posed_joints(body, rotations, BETAS, PLACE)


def test_joints_of_parameters_are_the_body_models(body, open_body: BodyModel) -> None:
    with torch.no_grad():
        posed = open_body(
            torch.tensor(BETAS).float(),
            torch.tensor(POSE[:, 0]).float(),
            torch.tensor(POSE[:, 1:22].reshape(FRAMES, 63)).float(),
            torch.tensor(PLACE).float(),
        )
    rotations = Rotation.from_rotvec(POSE.reshape(-1, 3)).as_matrix().reshape(FRAMES, 24, 3, 3)
    found = posed_joints(body, rotations, BETAS, PLACE)
    np.testing.assert_allclose(found, posed.joints[:, :22].numpy(), atol=1e-4)


def dump(path: Path, values: Any, by: str, compress: int = 0) -> Path:
    """Write with joblib as the projects do, or as a plain pickle."""
    if by == "joblib":
        pytest.importorskip("joblib").dump(values, path, compress=compress)
    else:
        path.write_bytes(pickle.dumps(values, protocol=2))
    return path


@pytest.mark.parametrize(("by", "compress"), [("joblib", 0), ("joblib", 3), ("pickle", 0)])
def test_wham(tmp_path, bodies, expected, by, compress) -> None:
    person = {
        "pose": POSE.reshape(FRAMES, 72).astype(np.float32),
        "trans": PLACE.astype(np.float32),
        "pose_world": POSE.reshape(FRAMES, 72),
        "trans_world": PLACE,
        "betas": BETAS.astype(np.float32),
        "verts": np.zeros((FRAMES, 6890, 3), np.float32),
        "frame_ids": np.arange(3, 3 + FRAMES),
    }
    path = dump(tmp_path / "wham_output.pkl", {0: person, 4: person}, by, compress)
    first, second = read_wham(path, bodies)
    assert (first.person, second.person) == ("0", "4") and first.placed
    assert first.frames.tolist() == [3, 4, 5, 6, 7]
    np.testing.assert_allclose(first.joints, expected, atol=1e-5)
    assert first.vertices is not None and first.vertices.shape == (FRAMES, 6890, 3)


def test_gvhmr(tmp_path, bodies, expected) -> None:
    part = {
        "global_orient": torch.tensor(POSE[:, 0]),
        "body_pose": torch.tensor(POSE[:, 1:22].reshape(FRAMES, 63)),
        "betas": torch.tensor(BETAS),
        "transl": torch.tensor(PLACE),
    }
    path = tmp_path / "hmr4d_results.pt"
    torch.save(
        {"smpl_params_global": part, "smpl_params_incam": part, "net_outputs": {"x": [1.0]}}, path
    )
    (person,) = read_gvhmr(path, bodies)
    assert person.frames.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(person.joints, expected, atol=1e-6)


def test_prompthmr(tmp_path, bodies, expected) -> None:
    rotations = np.tile(np.eye(3), (FRAMES, 55, 1, 1))
    rotations[:, :22] = (
        Rotation.from_rotvec(POSE[:, :22].reshape(-1, 3)).as_matrix().reshape(FRAMES, 22, 3, 3)
    )
    camera = {"rotmat": rotations, "shape": BETAS, "trans": PLACE, "pose": POSE[:, :22]}
    people = {1: {"frames": np.arange(10, 10 + FRAMES), "track_id": 1, "smplx_cam": camera}}
    results = {"camera": {"img_focal": np.float32(900)}, "people": people, "has_tracks": True}
    path = dump(tmp_path / "results.pkl", results, "joblib")
    (person,) = read_prompthmr(path, bodies)
    assert person.person == "1" and person.frames.tolist() == [10, 11, 12, 13, 14]
    np.testing.assert_allclose(person.joints, expected, atol=1e-6)


def test_tokenhmr(tmp_path, bodies, expected) -> None:
    rotations = Rotation.from_rotvec(POSE.reshape(-1, 3)).as_matrix().reshape(FRAMES, 24, 3, 3)
    tracks = {
        f"frame_{n:06d}.jpg": {
            "time": n,
            "tid": [7] if n != 2 else [],
            "smpl": [
                {
                    "global_orient": rotations[n, :1],
                    "body_pose": rotations[n, 1:],
                    "betas": BETAS[n],
                }
            ]
            if n != 2
            else [],
            "camera": [np.array([0, 0, 50.0])],
        }
        for n in range(FRAMES)
    }
    path = dump(tmp_path / "demo_video.pkl", tracks, "joblib", compress=3)
    (person,) = read_tokenhmr(path, bodies)
    assert person.person == "7" and not person.placed
    assert person.frames.tolist() == [0, 1, 3, 4]
    relative = expected - expected[:, :1]
    found = person.joints - person.joints[:, :1]
    np.testing.assert_allclose(found, relative[[0, 1, 3, 4]], atol=1e-6)


def test_rohm(tmp_path, bodies) -> None:
    scene = RNG.normal(size=(2, 6, 22, 3))
    clip_from_scene = np.tile(np.eye(4), (2, 1, 1))
    clip_from_scene[:, :3, :3] = Rotation.random(2, random_state=1).as_matrix()
    clip_from_scene[:, :3, 3] = RNG.normal(size=(2, 3))
    inside = np.einsum("cab,cfjb->cfja", clip_from_scene[:, :3, :3], scene)
    inside += clip_from_scene[:, None, None, :3, 3]
    values = {
        "repr_name_list": ["a", "b"],
        "rec_ric_data_rec_list_from_smpl": inside[:, :5],
        "trans_scene2cano_list": clip_from_scene,
        "joints_gt_scene_coord_list": scene,
        "mask_joint_vis_list": np.ones((2, 6, 22)),
        "recording_name": "recording_1",
    }
    path = dump(tmp_path / "recording_1.pkl", values, "pickle")
    found = read_rohm(path, bodies)
    assert [person.person for person in found] == ["0", "1"]
    np.testing.assert_allclose(found[1].joints, scene[1, :5], atol=1e-9)
    true = rohm_truths(path)
    np.testing.assert_allclose(true[1].joints, scene[1, :5])
    assert true[0].visible is not None and true[0].visible.all()
    del values["joints_gt_scene_coord_list"]
    with pytest.raises(DataError, match="PROX has none"):
        rohm_truths(dump(path, values, "pickle"))


def test_moro(tmp_path, bodies) -> None:
    recording = MotionRecording()
    recording.stamps_ns = [100, 200, 300, 400]
    for stamp in (200, 400):
        row = np.zeros((), ROW)
        row["stamps_ns"], row["joints"] = stamp, stamp
        recording.add(5, row)
    path = tmp_path / "motion.npz"
    recording.save(path)
    (person,) = read_moro(path, bodies)
    assert person.person == "5" and person.frames.tolist() == [1, 3]
    assert person.joints[1, 0, 0] == 400


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch evil",)


@pytest.mark.parametrize("by", ["pickle", "joblib"])
def test_a_pickle_that_would_run_something_is_refused(tmp_path, monkeypatch, by) -> None:
    monkeypatch.chdir(tmp_path)
    path = dump(tmp_path / "bad.pkl", {"pose": np.zeros(3), "x": Evil()}, by)
    with pytest.raises(DataError, match="not an array"):
        read_pickle(path)
    assert not (tmp_path / "evil").exists()


def test_arrays_of_objects_are_refused(tmp_path) -> None:
    path = dump(tmp_path / "bad.pkl", {"x": np.array([Evil()], object)}, "joblib")
    with pytest.raises(DataError, match="is not allowed"):
        read_pickle(path)


def test_column_major_and_empty_arrays_survive_joblib(tmp_path) -> None:
    column = np.asfortranarray(np.arange(12.0).reshape(3, 4))
    values = {"a": column, "b": np.zeros((0, 3)), "c": np.int64(4), "d": [np.ones(2, np.float16)]}
    found = read_pickle(dump(tmp_path / "x.pkl", values, "joblib"))
    np.testing.assert_array_equal(found["a"], column)
    assert found["b"].shape == (0, 3) and found["c"] == 4 and found["d"][0].tolist() == [1, 1]


@pytest.mark.parametrize("method", sorted(READERS))
def test_a_damaged_file_is_a_data_error(tmp_path, bodies, method) -> None:
    path = tmp_path / "broken"
    path.write_bytes(b"not a result file")
    with pytest.raises(DataError, match="broken"):
        READERS[method](path, bodies)
    with pytest.raises(DataError):
        READERS[method](tmp_path / "missing", bodies)


def test_another_layout_says_what_was_expected(tmp_path, bodies) -> None:
    path = dump(tmp_path / "w.pkl", {0: {"pose": np.zeros((4, 66))}}, "pickle")
    with pytest.raises(DataError, match=r"pose has shape \(4, 66\), expected \(frames, 72\)"):
        read_wham(path, bodies)
    path = dump(tmp_path / "w.pkl", {0: {"trans": np.zeros((4, 3))}}, "pickle")
    with pytest.raises(DataError, match="pose is missing"):
        read_wham(path, bodies)


def test_parameters_need_their_body(tmp_path) -> None:
    with pytest.raises(BodyModelError, match="--body smpl=FILE"):
        read_wham(tmp_path / "any.pkl", {})
    with pytest.raises(BodyModelError, match="v_template"):
        load_rest_joints(tmp_path / "none.npz")
