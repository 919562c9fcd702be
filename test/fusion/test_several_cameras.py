"""The benchmark of several cameras, on the stage, whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from moro_ros.evaluation.multiview import Truth
from moro_ros.evaluation.pose2sim import Trial, TruePerson
from moro_ros.evaluation.several_cameras import fused_scores, score_choice
from moro_ros.recover.fusion.playback import Taken

IMAGES = 10


@pytest.fixture()
def trial(stage):
    """Two cameras and two people; the second camera calls the first of them 7."""
    views = stage.views[:2]
    cameras = [
        [Taken(*stage.look(view, number / 30, ids)) for number in range(IMAGES)]
        for view, ids in zip(views, ((1, 2), (7, 2)), strict=True)
    ]
    people = []
    for number, (name, tracks) in enumerate([("child", ((0, 1), (1, 7))), ("adult", ((1, 2),))]):
        motions = [stage.person(number, image / 30) for image in range(IMAGES)]
        points = np.stack([stage.keypoints(motion) for motion in motions])
        joints = np.concatenate([motion.joints for motion in motions])
        truth = Truth(points, np.zeros(points.shape[:2]), joints)
        people.append(TruePerson(truth, frozenset(tracks), name))
    frames = tuple(tuple(one.frame for one in camera) for camera in cameras)
    return Trial("stage", views, frames, tuple(people)), cameras


def test_two_cameras_are_nearer_to_the_truth_than_one(stage, trial) -> None:
    trial, cameras = trial
    scores = fused_scores(trial, stage.body, cameras, trial.people)
    found = {(one.person, one.cameras): one for one in scores}
    assert {key: one.choices for key, one in found.items()} == {
        ("child", 1): 2, ("adult", 1): 1, ("child", 2): 1, ("adult", 2): 1,
    }  # fmt: skip
    alone, together = found["child", 1], found["child", 2]
    assert together.world_mm < 30 and together.root_m < 0.03 and together.mpjpe_mm < 30
    # Each network puts everybody 12 % too far away.
    assert alone.world_mm == pytest.approx(1e3 * alone.root_m, rel=0.05)
    assert 400 < alone.world_mm < 600
    # Tracks are compared in three images before they are joined.
    assert alone.coverage == 1.0 and together.coverage == (IMAGES - 2) / IMAGES
    assert 0.5 < together.within <= 1.0


def test_only_people_of_the_chosen_cameras_are_scored(stage, trial) -> None:
    trial, cameras = trial
    (one,) = score_choice(trial, stage.body, cameras, trial.people, (0,))
    assert one.person == "child" and one.coverage == 1.0
    strangers = [replace(person, tracks=frozenset({(0, 9)})) for person in trial.people]
    (one,) = score_choice(trial, stage.body, cameras, strangers, (0,))
    assert one.coverage == 0.0 and np.isnan(one.world_mm)
