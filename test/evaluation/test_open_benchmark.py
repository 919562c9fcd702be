"""The open benchmark: the same numbers for the same seed, zero for the truth, worse when hidden."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from moro_ros.config import PipelineConfig
from moro_ros.data.occlusion import CLEAN, ObservationNoise
from moro_ros.data.synthesis import ObservedMotion, look, place_cameras
from moro_ros.evaluation import open_decoding
from moro_ros.evaluation.ablations import compare, cut, look_ahead
from moro_ros.evaluation.open_benchmark import OpenProtocol, evaluate_open, score
from moro_ros.evaluation.open_decoding import (
    Decoding,
    OpenModel,
    WithoutMotion,
    recover,
    refined,
    shown,
)
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.live.load import load_stream
from moro_ros.live.sampling import decode_masked

SMALL = OpenProtocol(windows=6, frames=12, batch=4, meshes=4)


@pytest.fixture(scope="module")
def model() -> OpenModel:
    return OpenModel.of(load_stream(PipelineConfig()).model)


def observed_of(walking, body, noise: ObservationNoise, count: int = 3, frames: int = 12):
    rng = np.random.default_rng(0)
    windows = walking.draw(count, frames, rng, warp=False)
    return look(place_cameras(windows, torch.zeros(count, 10), body, rng), body, noise, rng)


def test_the_truth_scores_zero(walking, open_body):
    observed = observed_of(walking, open_body, ObservationNoise())
    place = observed.truth.translation
    local = (observed.joints - place[:, :, None]).numpy()
    rows: dict[str, list[np.ndarray]] = {}
    score(rows, local, place.numpy(), observed)
    for name in ("mpjpe_mm", "root_mm", "live_mm", "acceleration_error"):
        assert np.concatenate(rows[name], axis=None).max() < 1e-2, name
    shifted: dict[str, list[np.ndarray]] = {}
    score(shifted, local + 0.01, place.numpy(), observed)
    assert np.mean(shifted["mpjpe_mm"][0]) == pytest.approx(10 * 3**0.5, rel=1e-3)
    assert np.mean(shifted["pa_mpjpe_mm"][0]) < 0.1


@pytest.mark.slow
def test_same_seed_same_numbers_and_all_keys(walking, model):
    first = evaluate_open(model, walking, 1.0, SMALL)
    assert first == evaluate_open(model, walking, 1.0, SMALL)
    keys = {"mpjpe_mm", "pa_mpjpe_mm", "hidden_mm", "jitter", "jitter_truth", "pve_mm"}
    assert keys | {"mesh_jitter"} <= set(first)
    assert np.isfinite(list(first.values())).all()
    clear = evaluate_open(model, walking, 0.0, SMALL)
    assert clear["hidden_share"] < first["hidden_share"]
    assert "pve_mm" not in evaluate_open(model, walking, 0.0, replace(SMALL, meshes=0))


@pytest.mark.slow
def test_every_part_left_out_changes_what_it_is_a_part_of(walking, model):
    decodings = {
        "default": Decoding(),
        "no motion": Decoding(motion=False),
        "no smoother": Decoding(smoother=False),
        "five": Decoding(passes=5),
        "five, random": Decoding(passes=5, guided=False),
        "refined": Decoding(refine_steps=1),
    }
    table = compare(model, walking, SMALL, decodings)
    occluded = {name: rows["occluded"] for name, rows in table.items()}
    default = occluded["default"]
    assert occluded["no motion"]["mpjpe_mm"] != default["mpjpe_mm"]
    assert occluded["five"]["mpjpe_mm"] != occluded["five, random"]["mpjpe_mm"]
    assert occluded["refined"]["mpjpe_mm"] != default["mpjpe_mm"]
    assert occluded["refined"]["pve_mm"] == pytest.approx(default["pve_mm"], rel=0.2)
    # The smoother smooths the mesh alone.
    assert occluded["no smoother"]["mpjpe_mm"] == default["mpjpe_mm"]
    assert occluded["no smoother"]["mesh_jitter"] != default["mesh_jitter"]
    assert all(row["ms_per_frame"] > 0 for row in occluded.values())


def test_look_ahead_describes_the_same_frame_every_time(walking, model):
    protocol = OpenProtocol(windows=2, batch=2)
    table = look_ahead(model, walking, protocol, ahead=(0, 3))
    assert set(table) == {"0", "3"}
    observed = observed_of(walking, model.body, CLEAN, frames=10)
    part = cut(observed, 2, 8)
    assert torch.equal(part.joints, observed.joints[:, 2:8])
    assert torch.equal(part.truth.translation, observed.truth.translation[:, 2:8])
    assert part.boxes.size.shape == part.seen.shape[:2] == (3, 6)


def test_without_motion_the_tokens_do_not_matter(model, walking):
    observed = observed_of(walking, model.body, CLEAN)
    moro = model.loaded.moro
    observation = shown(model.loaded, observed, floor=False)
    features = moro.encode_frames(observation, observed.boxes.condition())
    bare = WithoutMotion(moro)
    context = bare.context(features)
    shape = (*features.box_condition.shape[:2], moro.num_tokens, moro.codebook.shape[1])
    given = (features, features.rotation, features.translation)
    with torch.no_grad():
        outputs = [
            bare.decode_window(codes, *given, context=context).rotation
            for codes in (torch.zeros(shape), torch.ones(shape))
        ]
    assert torch.equal(*outputs)


def test_refinement_moves_a_wrong_arm_onto_clean_keypoints(walking, open_body):
    observed: ObservedMotion = observed_of(walking, open_body, CLEAN, count=4, frames=16)
    truth = observed.truth
    rotations = torch.cat([truth.rotation[:, :, None], truth.body_rotations], 2)
    wrong = rotations.clone()
    wrong[:, :, 18] = wrong[:, :, 18] @ rotvec_to_matrix(torch.tensor([0.0, 0.5, 0.0]))
    skeleton = open_body.skeleton(torch.zeros(1, 10))
    found, place = refined(open_body, skeleton, wrong, truth.translation, observed, 3)

    def error(rotations: torch.Tensor, translation: torch.Tensor) -> float:
        rest = skeleton.joints[:, None, :22]
        _, joints = open_body.forward_kinematics(rotations, rest)
        wrist = joints[:, -1, 20] + translation[:, -1]
        sight = (
            wrist[:, :2] / wrist[:, 2:]
            - observed.joints[:, -1, 20, :2] / (observed.joints[:, -1, 20, 2:])
        )
        return float(sight.norm(dim=-1).mean())

    assert error(found, place) < 0.5 * error(wrong, truth.translation)


def test_a_model_without_a_rotation_head_is_refused(model, walking, monkeypatch):
    def without_head(*words, **options):
        decoding = decode_masked(*words, **options)
        return replace(decoding, output=replace(decoding.output, body_rotations=None))

    monkeypatch.setattr(open_decoding, "decode_masked", without_head)
    with pytest.raises(ValueError, match="no rotation head"):
        recover(model, observed_of(walking, model.body, CLEAN), Decoding())
