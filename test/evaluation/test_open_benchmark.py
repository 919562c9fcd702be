"""The open benchmark: the same numbers for the same seed, zero for the truth, worse when hidden."""

import numpy as np
import pytest
import torch

from moro_ros.data.occlusion import ObservationNoise
from moro_ros.data.synthesis import look, place_cameras
from moro_ros.evaluation.open_benchmark import OpenProtocol, evaluate_open, score
from moro_ros.model_config import KeypointsConfig, MoroConfig
from moro_ros.network.build import build_moro

NUMBERS = MoroConfig(
    layout="frame", image="keypoints", trajectory="box", rotation_head=True, dim=32, heads=4,
    mlp_ratio=2, encoder_depth=1, decoder_depth=1, num_tokens=6, num_codes=32, logit_rank=8,
    keypoints=KeypointsConfig(hidden=32, blocks=1),
)  # fmt: skip


def test_the_truth_scores_zero(walking, open_body):
    rng = np.random.default_rng(0)
    windows = walking.draw(3, 12, rng, warp=False)
    truth = place_cameras(windows, torch.zeros(3, 10), open_body, rng)
    observed = look(truth, open_body, ObservationNoise(), rng)
    local = observed.joints - truth.translation[:, :, None]
    rows: dict[str, list[np.ndarray]] = {}
    score(rows, local.numpy(), truth.translation.numpy(), observed)
    for name in ("mpjpe_mm", "root_mm", "live_mm", "acceleration_error"):
        assert np.concatenate(rows[name], axis=None).max() < 1e-2, name
    shifted: dict[str, list[np.ndarray]] = {}
    score(shifted, local.numpy() + 0.01, truth.translation.numpy(), observed)
    assert np.mean(shifted["mpjpe_mm"][0]) == pytest.approx(10 * 3**0.5, rel=1e-3)
    assert np.mean(shifted["pa_mpjpe_mm"][0]) < 0.1


def test_same_seed_same_numbers_and_all_keys(walking, open_body):
    torch.manual_seed(0)
    model = build_moro(NUMBERS)
    protocol = OpenProtocol(windows=6, frames=12, batch=4)
    first = evaluate_open(model, open_body, walking, 1.0, protocol)
    again = evaluate_open(model, open_body, walking, 1.0, protocol)
    assert first == again
    assert {"mpjpe_mm", "pa_mpjpe_mm", "hidden_mm", "jitter", "jitter_truth"} <= set(first)
    assert np.isfinite(list(first.values())).all()
    clear = evaluate_open(model, open_body, walking, 0.0, protocol)
    assert clear["hidden_share"] < first["hidden_share"]
