"""Lost trajectory statistics are found again from a network that was trained with them."""

from __future__ import annotations

import types
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from moro_ros.cli import trajectory_statistics
from moro_ros.cli.official_files import TrajectoryStatistics
from moro_ros.cli.trajectory_statistics import (
    Clip,
    estimate_statistics,
    person_clips,
    regress,
)
from moro_ros.cli.video_options import video_input
from moro_ros.errors import CheckpointError
from moro_ros.geometry.rotation import rotation_6d_to_matrix
from moro_ros.geometry.trajectory import canonical_trajectory, integrate_trajectory
from moro_ros.network.decoder import DecoderOutput
from moro_ros.network.moro import FrameFeatures
from moro_ros.types import Keypoints, PersonObservation


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


class Walker:
    """A front-end that sees one person, and a second one from the fifth to the tenth look on."""

    def __init__(self) -> None:
        self.looks = 0

    def observe(self, image: np.ndarray, stamp_ns: int) -> tuple[PersonObservation, ...]:
        self.looks += 1
        keypoints = Keypoints(np.zeros((19, 2)), np.zeros(19), np.zeros(19))
        box = np.array([40, 20, 80, 120], np.float32)
        seen = [PersonObservation(1, box, 1.0, keypoints)]
        if 5 <= self.looks <= 10:
            seen.append(PersonObservation(2, box + 60, 1.0, keypoints))
        elif self.looks > 10:
            seen.append(PersonObservation(2, box + 60, 1.0, None))  # only predicted
        return tuple(seen)


def test_clips_follow_each_person_at_about_30_frames_per_second(tmp_path):
    path = str(tmp_path / "v.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 60.0, (200, 160))
    for _ in range(150):
        writer.write(np.full((160, 200, 3), (0, 0, 255), np.uint8))  # BGR: red
    writer.release()
    video = video_input(Path(path), 100.0, None)
    clips = list(person_clips(video, Walker()))
    assert [len(clip.crops) for clip in clips] == [6, 60, 15]
    first = clips[1]
    assert first.crops.shape == (60, 3, 256, 192)
    red, green, blue = first.crops[0, :, 128, 96].tolist()
    assert red > 240 and green < 10 and blue < 10
    # Box around (60, 70), 100 px high, widened by 1.2; principal point (100, 80).
    torch.testing.assert_close(first.box_condition[0], torch.tensor([-0.4, -0.1, 1.2]))
