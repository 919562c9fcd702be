"""Lost trajectory statistics are found again from a network that was trained with them."""

from __future__ import annotations

import types

import numpy as np
import pytest
import torch
from torch import Tensor

from moro_ros.errors import CheckpointError
from moro_ros.geometry.rotation import rotation_6d_to_matrix
from moro_ros.geometry.trajectory import canonical_trajectory, integrate_trajectory
from moro_ros.network.decoder import DecoderOutput
from moro_ros.network.moro import FrameFeatures
from moro_ros.tools import trajectory_statistics
from moro_ros.tools.official_files import TrajectoryStatistics
from moro_ros.tools.trajectory_statistics import Clip, estimate_statistics, regress


def test_regression_finds_mean_and_std():
    rng = np.random.default_rng(0)
    mean, std = rng.normal(size=9), rng.uniform(0.01, 2, 9)
    predicted = rng.normal(size=(500, 9)) + 0.3
    found = regress(predicted, predicted * std + mean + 1e-4 * rng.normal(size=(500, 9)))
    np.testing.assert_allclose(found.std, std, rtol=1e-2)
    np.testing.assert_allclose(found.mean, mean, atol=1e-3)


def test_a_channel_without_motion_is_named():
    predicted = np.random.default_rng(0).normal(size=(50, 9))
    motion = predicted.copy()
    predicted[:, 7] = 1.0
    motion[:, 2] *= -1
    with pytest.raises(CheckpointError, match=r"Channels \[2, 7\]"):
        regress(predicted, motion)


class TrainedNetwork:
    """Behaves as a network trained with hidden statistics, but is half misled by a wrong guess."""

    def __init__(self, mean: Tensor, std: Tensor, trajectories: dict[int, tuple[Tensor, Tensor]]):
        self.mean, self.std, self.trajectories = mean, std, trajectories
        self.trajectory_mean, self.trajectory_std = torch.zeros(9), torch.ones(9)

    def set_trajectory_statistics(self, mean: Tensor, std: Tensor) -> None:
        self.trajectory_mean, self.trajectory_std = mean, std

    def encode_frames(self, crops: Tensor, box: Tensor) -> FrameFeatures:
        rotation, translation = self.trajectories[int(crops[0, 0, 0, 0, 0])]
        return FrameFeatures(crops, box, rotation, translation)

    def decode(self, features: FrameFeatures) -> DecoderOutput:
        right = canonical_trajectory(features.rotation, features.translation, self.mean, self.std)
        misled = canonical_trajectory(
            features.rotation, features.translation, self.trajectory_mean, self.trajectory_std
        )
        nothing = torch.zeros(0)
        return DecoderOutput(
            nothing, nothing, features.rotation, features.translation, (right + misled) / 2
        )


def test_the_iteration_finds_the_statistics_of_training(monkeypatch):
    torch.manual_seed(0)
    std = torch.tensor([0.004, 0.02, 0.03, 0.02, 0.003, 0.02, 0.01, 0.02, 0.03])
    mean = torch.tensor([1.0, 0, 0, 0, 1.0, 0, 0, 0, 0.01])
    trajectories, clips = {}, []
    for number in range(6):
        first = rotation_6d_to_matrix(torch.randn(1, 6))
        trajectories[number] = integrate_trajectory(
            torch.randn(1, 60, 9), mean, std, first, torch.randn(1, 3)
        )
        clips.append(Clip(torch.full((60, 1, 1, 1), number), torch.zeros(60, 3)))
    model = TrainedNetwork(mean, std, trajectories)
    monkeypatch.setattr(
        trajectory_statistics, "decode_masked",
        lambda model, features, passes: types.SimpleNamespace(output=model.decode(features)),
    )  # fmt: skip
    found = estimate_statistics(model, clips)
    assert np.abs(found.std / std.numpy() - 1).max() < 0.02
    assert np.abs(found.mean - mean.numpy()).max() < 1e-3
    assert torch.equal(model.trajectory_std, torch.from_numpy(found.std))


def test_too_little_motion_is_refused():
    clip = Clip(torch.zeros(60, 3, 4, 4), torch.zeros(60, 3))
    with pytest.raises(CheckpointError, match="in 60 frames; at least"):
        estimate_statistics(None, [clip], TrajectoryStatistics(np.zeros(9), np.ones(9)))
