"""Synthetic observations: cameras see people upright, boxes hold them, occluders hide them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from moro_ros.data.occlusion import CLEAN, OCCLUDERS, ObservationNoise, add_noise
from moro_ros.data.synthesis import look, place_cameras, pose_keypoints
from moro_ros.network.inputs import PersonBoxes


@pytest.fixture()
def truth(walking, open_body):
    rng = np.random.default_rng(0)
    windows = walking.draw(12, 24, rng)
    betas = torch.from_numpy(rng.normal(size=(12, 10))).float()
    return place_cameras(windows, betas, open_body, rng)


def test_people_stand_upright_in_front_of_the_camera(truth, open_body):
    joints, _ = pose_keypoints(truth, open_body)
    assert (joints[..., 2] > 0.2).all()
    assert (joints[:, :, 15, 1] < joints[:, :, 7, 1]).all()  # the head is above, y points down


def test_the_camera_is_static_and_motion_stays_metric(truth, walking):
    speed = truth.translation.diff(dim=1).norm(dim=-1) * 30
    assert (speed > 0.5).all() and (speed < 1.8).all()


def test_clean_observations_are_the_projected_keypoints(truth, open_body):
    observed = look(truth, open_body, CLEAN, np.random.default_rng(0))
    plane = observed.keypoints[..., :2] / observed.keypoints[..., 2:]
    half = observed.boxes.size[..., None, None] / 2
    back = observed.observation[..., :2] * half + observed.boxes.center[..., None, :]
    near = (back - plane).norm(dim=-1)[observed.seen]
    assert near.max() < 1e-4
    inside = (plane.abs() < truth.half_image[:, None, None]).all(-1)
    assert torch.equal(observed.seen, inside)
    assert (observed.observation[..., 2][observed.seen] > 0.5).all()
    assert (observed.observation[..., 2][~observed.seen] < 0.5).all()


def test_occlusion_hides_a_fair_share(truth, open_body):
    noise = replace(ObservationNoise(), occlusion=1.0)
    clear = replace(noise, occlusion=0.0)
    hidden = look(truth, open_body, noise, np.random.default_rng(0)).seen.float().mean()
    open_view = look(truth, open_body, clear, np.random.default_rng(0)).seen.float().mean()
    assert 0.3 < hidden < open_view - 0.1


@pytest.mark.parametrize("occluder", OCCLUDERS)
def test_every_occluder_hides_something_sometimes_and_never_all_windows(occluder):
    rng = np.random.default_rng(0)
    points = torch.from_numpy(rng.normal(size=(40, 19, 2))).float() * 0.1
    box = PersonBoxes(torch.zeros(40, 2), torch.full((40,), 0.5))
    shares = [occluder(points, box, rng).float().mean().item() for _ in range(60)]
    assert max(shares) > 0.05
    assert min(shares) < 0.9


def test_noise_is_of_the_size_asked_for():
    points = torch.zeros(64, 40, 19, 2)
    size = torch.full((64, 40), 2.0)
    noise = replace(CLEAN, fast_min=0.01, fast_max=0.01)
    spread = add_noise(points, size, noise, np.random.default_rng(0)).std()
    assert abs(float(spread) - 0.02) < 0.001
    still = add_noise(points, size, CLEAN, np.random.default_rng(0))
    assert torch.equal(still, points)
