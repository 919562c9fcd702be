"""The benchmark of distances: its metrics, and that its depth images show the person."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from moro_ros.data.mocap import MotionWindows
from moro_ros.data.synthesis import look, place_cameras
from moro_ros.errors import DataError
from moro_ros.evaluation.floor_contact import Contact
from moro_ros.evaluation.open_worlds import NOISE
from moro_ros.evaluation.place_benchmark import NEAR, Sample, evaluate_place, metrics
from moro_ros.evaluation.place_scenes import (
    CLOTHES_M,
    DEPTH_CAMERA,
    DEPTH_EVERY,
    Rendered,
    depth_scenes,
    true_meshes,
)
from moro_ros.types import DEPTH, FLOOR


def test_metrics_of_samples():
    samples = [
        Sample(0.1, -0.1, 0.0, 0.06, 50.0, 0.05, DEPTH, Contact((-0.02, 0.01), 0.0)),
        Sample(0.3, 0.2, 0.22, 0.3, 70.0, 0.15, FLOOR, Contact((0.06,), 0.1)),
    ]
    found = metrics(samples, DEPTH)
    assert found["root_m"] == pytest.approx(0.2) and found["mpjpe_mm"] == pytest.approx(60.0)
    assert found["within_1_sigma"] == 0.5 and found["within_2_sigma"] == 1.0
    assert found["named"] == 0.5 and found["wrists_m"] == pytest.approx(0.1)
    assert found["sole_m"] == pytest.approx(0.03) and found["through"] == 0.5


def test_nobody_on_an_object_is_placed_on_the_floor(walking, open_body):
    class Stream:
        body = open_body

    up = np.array([0.0, 0.0, 0.2], np.float32)
    motion = replace(walking, translation=walking.translation + up)
    with pytest.raises(DataError, match="on the floor"):
        next(evaluate_place(Stream(), motion, 1, 4, 0))  # type: ignore[arg-type]


def test_a_depth_image_has_the_person_where_they_are(open_body):
    rng = np.random.default_rng(3)
    place = torch.zeros(2, 6, 3)
    place[..., 2] = 0.95
    turns = torch.zeros(2, 6, 22, 3)
    turns[:, :, 0] = torch.tensor([np.pi / 2, 0.0, 0.0])  # y up onto z up
    truth = place_cameras(MotionWindows(turns, place), torch.zeros(2, 10), open_body, rng, NEAR)
    observed = look(truth, open_body, NOISE, rng)
    images = Rendered(open_body, observed, 0, true_meshes(open_body, observed, 0))
    found = depth_scenes(images.bare, observed, 0, 3)
    assert sorted(found) == list(range(0, 6, DEPTH_EVERY))
    pelvis = truth.translation[0, 0].numpy()
    column, row = np.rint(pelvis[:2] / pelvis[2] * 150.0 + [120, 90]).astype(int)
    metres = found[0].depth.metres
    around = metres[row - 2 : row + 3, column - 2 : column + 3]
    assert metres.shape == (DEPTH_CAMERA.height, DEPTH_CAMERA.width)
    assert np.nanmedian(around) == pytest.approx(pelvis[2] - 0.1, abs=0.1)
    assert not found[0].hides(observed.keypoints[0, 0].numpy()).any()
    posts = depth_scenes(images.bare, observed, 0, 3, post=True)
    hidden = posts[0].hides(observed.keypoints[0, 0].numpy())
    assert 0 < hidden.sum() < len(hidden)
    column, row = np.argwhere(posts[0].post)[0][::-1]
    away_m = np.nanmedian(posts[0].depth.metres[row : row + 5, column : column + 3])
    assert away_m < pelvis[2] - 0.1
    column, row = np.rint(pelvis[:2] / pelvis[2] * 150.0 + [120, 90]).astype(int)
    around = (slice(row - 2, row + 3), slice(column - 2, column + 3))
    nearer_m = images.bare[0][around] - images.clothed[0][around]
    assert np.median(nearer_m) == pytest.approx(CLOTHES_M, abs=0.01)
