"""Training's world: cameras stand above the given floor, detectors err as they should."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from moro_ros.data.detection import (
    FEET,
    HEAD,
    HIPS,
    LEGS,
    OCCLUDERS,
    Detector,
    below_the_chest,
    head_and_one_arm,
    next_person,
    person_in_front,
)
from moro_ros.data.dice import Dice, draw_shapes
from moro_ros.data.filming import AT_TABLE, camera_places, film, place_around, sitting
from moro_ros.data.occlusion import CLEAN, LIMBS, ObservationNoise
from moro_ros.data.synthesis import MIN_DEPTH, pose_keypoints
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.network.inputs import PersonBoxes

CLIPS = 200
FLOOR = torch.arange(CLIPS) % 2 == 0


@pytest.fixture()
def truth(walking):
    windows = walking.draw(CLIPS, 12, np.random.default_rng(0))
    rotations = rotvec_to_matrix(windows.rotations)
    return place_around(rotations, windows.translation, torch.zeros(CLIPS, 10), Dice(1))


def test_the_world_is_wide_and_the_floor_lies_below(truth):
    depth = truth.translation[..., 2].mean(1)
    assert depth.quantile(0.05) < 1.0 and depth.quantile(0.95) > 6.0
    assert truth.height.min() < 0.5 and truth.height.max() > 3.0
    # The walking person's pelvis is 0.95 m above the floor, whatever the camera.
    pelvis = (truth.up[:, None] * truth.translation).sum(-1) + truth.height[:, None]
    torch.testing.assert_close(pelvis, torch.full_like(pelvis, 0.95), atol=2e-3, rtol=0)


def test_clean_detections_are_the_projections(truth, open_body):
    observed = film(truth, open_body, Detector(CLEAN), Dice(2))
    assert observed.observation.shape[2] == 19
    plane = observed.keypoints[..., :2] / observed.keypoints[..., 2:]
    half = observed.boxes.size[..., None, None] / 2
    back = observed.observation[..., :2] * half + observed.boxes.center[..., None, :]
    wrong = (back - plane).norm(dim=-1) > 1e-3 * observed.boxes.size[..., None]
    # What no error model of this noise causes are jumps and guessed hips.
    assert wrong[observed.seen].float().mean() < 0.1
    assert (observed.observation[..., 2][observed.seen] >= 0.5).all()
    assert (observed.observation[..., 2][~observed.seen] < 0.5).all()


def test_a_known_floor_is_nearly_right(truth, open_body):
    observed = film(truth, open_body, Detector(ObservationNoise()), Dice(3), floor=FLOOR)
    row = observed.observation[:, :, -1]
    assert torch.equal(row, row[:, :1].expand_as(row))
    known = row[:, 0, 3] > 0
    assert torch.equal(known, FLOOR)
    assert not row[~known].any()
    normal = row[known, 0, :3]
    height = 1.0 / normal.norm(dim=-1)
    assert (height / truth.height[known] - 1).abs().max() < 0.15
    assert ((normal * height[:, None]) * truth.up[known]).sum(-1).min() > 0.99


def test_one_seed_draws_one_world(truth, open_body):
    first, second = (
        film(truth, open_body, Detector(ObservationNoise()), Dice(4), floor=FLOOR).observation
        for _ in range(2)
    )
    assert torch.equal(first, second)


def test_only_people_who_sit_are_often_behind_a_table(walking, open_body):
    windows = walking.draw(CLIPS, 12, np.random.default_rng(0))
    upright = rotvec_to_matrix(windows.rotations)
    seated = upright.clone()
    bent = rotvec_to_matrix(torch.tensor([-1.5, 0.0, 0.0]))
    seated[FLOOR, :, 1:3] = bent  # both hips
    truth = place_around(seated, windows.translation, torch.zeros(CLIPS, 10), Dice(1))
    joints, _ = pose_keypoints(truth, open_body)
    assert torch.equal(sitting(joints, truth.up), FLOOR)
    few = ObservationNoise(occlusion=0.001, ghosts=0.0)
    observed = film(truth, open_body, Detector(few), Dice(2))
    in_view = (observed.keypoints[..., 2] > MIN_DEPTH).all(-1).all(-1)
    legless = ~observed.seen[..., list(LEGS)].any(-1).any(-1)
    shown = observed.seen[..., list(HEAD)].any(-1).any(-1) & in_view
    behind = legless[shown & FLOOR].float().mean()
    assert AT_TABLE - 0.15 < behind - legless[shown & ~FLOOR].float().mean() < AT_TABLE + 0.15
    clean = film(truth, open_body, Detector(CLEAN), Dice(2))
    again = ~clean.seen[..., list(LEGS)].any(-1).any(-1)
    assert again[shown & FLOOR].float().mean() < behind - 0.15


def test_single_frames_need_no_time(truth, open_body):
    alone = replace(
        truth,
        rotation=truth.rotation[:, :1],
        translation=truth.translation[:, :1],
        body_rotations=truth.body_rotations[:, :1],
    )
    observed = film(alone, open_body, Detector(ObservationNoise()), Dice(5), floor=FLOOR)
    assert observed.observation.shape == (CLIPS, 1, 20, 4)
    assert 0.3 < observed.seen.float().mean() < 0.9
    assert bool(torch.isfinite(observed.observation).all())


def points(frames: int = 24) -> tuple[torch.Tensor, PersonBoxes]:
    spread = 0.1 * torch.randn(60, 1, 19, 2, generator=torch.Generator().manual_seed(0))
    box = PersonBoxes(torch.zeros(60, frames, 2), torch.full((60, frames), 0.5))
    return spread.expand(-1, frames, -1, -1), box


@pytest.mark.parametrize("occluder", OCCLUDERS)
def test_every_occluder_hides_something_in_some_clips(occluder):
    hidden = occluder(*points(), Dice(6))
    assert hidden.shape == (60, 24, 19)
    assert hidden.any() and not hidden.all()


def test_a_table_hides_all_legs_and_hips():
    hidden = below_the_chest(*points(), Dice(7))
    assert hidden[..., list(LEGS + HIPS)].all()
    assert set(FEET) < set(LEGS)


def test_half_of_the_tables_leave_the_arms():
    arms = [place for limb in LIMBS[:2] for place in limb]
    hidden = below_the_chest(*points(), Dice(7))[..., arms].any(-1).any(-1)
    assert 0.3 < hidden.float().mean() < 0.7


def test_a_person_in_front_hides_what_is_behind_their_body():
    shown, box = points()
    hidden = person_in_front(shown, box, Dice(11))
    other = next_person(shown, box, Dice(11))
    nearest = (shown[:, :, :, None] - other[:, :, None]).norm(dim=-1).amin(-1)
    assert nearest[hidden].median() < nearest[~hidden].median()
    far = torch.full_like(shown, 100.0)
    far[0] = shown[0]
    alone = person_in_front(far, box, Dice(11))
    assert not alone[2:].any()


def test_jumps_end_on_another_person(truth, open_body):
    shown, box = points()
    moved, jumped = Detector(CLEAN).jumps(shown, box, Dice(12))
    assert 0 < jumped.float().mean() < 0.1
    assert (moved[~jumped] == shown[~jumped]).all()
    assert (moved[jumped] != shown[jumped]).any(-1).all()


def test_some_cameras_look_straight_down():
    distance, height = camera_places(4000, Dice(13))
    below = torch.rad2deg(torch.atan2(height - 0.9, distance))
    assert below.max() > 85
    assert 0.02 < (below > 60).float().mean() < 0.1
    assert distance.max() > 8 and height.min() < 0.3


def test_head_and_one_arm_are_left():
    hidden = head_and_one_arm(*points(), Dice(8))
    worst = hidden[hidden.any(-1)]
    assert (worst.sum(-1) == 19 - len(HEAD) - len(LIMBS[0]) - 1).all()
    assert not worst[:, list(HEAD)].any()


def test_hidden_hips_are_guessed_as_real_detectors_do(truth, open_body):
    noise = replace(ObservationNoise(), occlusion=1.0, ghosts=0.0)
    observed = film(truth, open_body, Detector(noise), Dice(9))
    legs, hips = observed.seen[..., list(LEGS)].any(-1), observed.seen[..., list(HIPS)].all(-1)
    assert 0.2 < hips[~legs].float().mean() < 0.8


def test_people_of_all_sizes():
    _, scale = draw_shapes(2000, 0.5, Dice(10))
    size = scale.exp()
    assert (size == 1).float().mean() == pytest.approx(0.5, abs=0.05)
    assert 0.53 <= size.min() < 0.6 and size.max() < 1.16
