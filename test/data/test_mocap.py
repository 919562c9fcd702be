"""Open motion: windows, mirroring, recombination and the errors of a bad file."""

import numpy as np
import pytest
import torch

from moro_ros.body.topology import MIRRORED_JOINTS
from moro_ros.data.mocap import (
    MotionWindows,
    load_motion,
    mirror,
    recombine,
    resample_motion,
    resampled_length,
)
from moro_ros.errors import DataError
from moro_ros.geometry.rotation import rotvec_to_matrix


def test_windows_are_continuous_and_of_the_asked_length(walking):
    windows = walking.draw(6, 40, np.random.default_rng(0))
    assert windows.rotations.shape == (6, 40, 22, 3)
    step = windows.translation.diff(dim=1).norm(dim=-1)
    assert step.max() < 1.45 / 30  # 1 m/s, at most 1.4 times as fast


def test_without_warp_the_speed_is_the_clip_s_own(walking):
    windows = walking.draw(4, 40, np.random.default_rng(0), warp=False)
    step = windows.translation.diff(dim=1).norm(dim=-1)
    torch.testing.assert_close(step, torch.full_like(step, 1 / 30), atol=1e-4, rtol=0)


def test_a_clip_shorter_than_the_window_is_played_back_and_forth(walking):
    windows = walking.draw(2, 150, np.random.default_rng(0), warp=False)
    y = windows.translation[..., 1]
    assert (y.diff(dim=1) > 0).any() and (y.diff(dim=1) < 0).any()
    assert y.diff(dim=1).abs().max() < 1.1 / 30


def test_mirroring_twice_gives_the_motion_back(walking):
    windows = walking.draw(3, 10, np.random.default_rng(0))
    chosen = torch.tensor([True, False, True])
    once = mirror(windows, chosen)
    assert not torch.equal(once.rotations[0], windows.rotations[0])
    assert torch.equal(once.rotations[1], windows.rotations[1])
    twice = mirror(once, chosen)
    torch.testing.assert_close(twice.rotations, windows.rotations)
    torch.testing.assert_close(twice.translation, windows.translation)


def test_mirroring_mirrors_the_joints_in_space(walking, open_body):
    windows = walking.draw(1, 5, np.random.default_rng(0))
    rotations = windows.rotations + 0.3 * torch.randn(
        windows.rotations.shape, generator=torch.Generator().manual_seed(1)
    )
    windows = MotionWindows(rotations, windows.translation)
    mirrored = mirror(windows, torch.tensor([True]))
    flip, order = torch.tensor([-1.0, 1.0, 1.0]), list(MIRRORED_JOINTS)
    rest = open_body.joint_template[:22]
    symmetric = (rest + rest[order] * flip) / 2
    _, joints = open_body.forward_kinematics(rotvec_to_matrix(windows.rotations[0]), symmetric)
    _, other = open_body.forward_kinematics(rotvec_to_matrix(mirrored.rotations[0]), symmetric)
    torch.testing.assert_close(other[:, order] * flip, joints, atol=1e-5, rtol=0)


def test_recombination_takes_only_the_upper_body(walking):
    windows = walking.draw(2, 10, np.random.default_rng(0))
    mixed = recombine(windows, torch.tensor([1, 0]), torch.tensor([True, False]))
    assert torch.equal(mixed.rotations[0, :, 16], windows.rotations[1, :, 16])
    assert torch.equal(mixed.rotations[0, :, 1], windows.rotations[0, :, 1])
    assert torch.equal(mixed.rotations[1], windows.rotations[1])


@pytest.mark.parametrize(("source", "target"), [(120, 30), (119.9990, 30), (100, 30), (24, 30)])
def test_resampling_keeps_time(source, target):
    time = np.arange(201, dtype=np.float32) / source
    rotations = np.zeros((201, 22, 3), np.float32)
    rotations[:, 5, 0] = 2 * time
    places = np.stack([time, 0 * time, 0 * time], 1)
    turned, moved = resample_motion(rotations, places, source, target)
    expected = np.arange(len(moved)) / target
    assert len(moved) == resampled_length(201, source, target)
    assert abs(expected[-1] - time[-1]) < 1 / target
    np.testing.assert_allclose(moved[:, 0], expected, atol=1e-4)
    np.testing.assert_allclose(
        np.cos(turned[:, 5, 0]), np.cos(2 * expected), atol=1e-3
    )  # of any length of the vector, the angle counts


def test_subjects_are_chosen_or_named(walking):
    assert walking.only_subjects(("b",)).subjects.tolist() == ["b"]
    with pytest.raises(DataError, match="the file has a, b"):
        walking.only_subjects(("z",))


def test_bad_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        load_motion(tmp_path / "absent.npz")
    np.savez(tmp_path / "poor.npz", rot=np.zeros((3, 22, 3)))
    with pytest.raises(DataError, match="trans"):
        load_motion(tmp_path / "poor.npz")
    common = {"subjects": ["a"], "category": ["x"], "names": ["n"], "fps": 30}
    np.savez(
        tmp_path / "short.npz",
        rot=np.zeros((3, 22, 3)), trans=np.zeros((3, 3)), lengths=[4], **common,
    )  # fmt: skip
    with pytest.raises(DataError, match="clip lengths"):
        load_motion(tmp_path / "short.npz")
