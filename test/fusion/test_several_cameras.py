"""The benchmark of several cameras, on the stage, whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from moro_ros.cli import evaluate_cameras
from moro_ros.evaluation.multiview import Truth
from moro_ros.evaluation.pose2sim import Trial, TruePerson
from moro_ros.evaluation.several_cameras import METHODS, fused_scores, score_choice
from moro_ros.recover.fusion.playback import Taken
from moro_ros.types import KEYPOINTS, NUM_KEYPOINTS

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
    found = {(one.person, one.cameras): one for one in scores if one.method == "body"}
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


def test_the_same_keypoints_are_triangulated_without_a_body(stage, trial) -> None:
    """On this stage keypoints are exact; one wrist is seen by one camera only."""
    trial, cameras = trial
    wrist = list(KEYPOINTS).index("left_wrist")
    for frame in trial.frames[1]:
        for person in frame.people:
            person.keypoints.visibility[wrist] = 0.0
    scores = fused_scores(trial, stage.body, cameras, trial.people)
    methods = {one.method: one for one in scores if one.person == "child" and one.cameras == 2}
    assert tuple(methods) == METHODS
    body, plain = methods["body"], methods["triangulated"]
    assert plain.coverage == pytest.approx(1 - 1 / NUM_KEYPOINTS)
    assert plain.keypoints_mm < 1 and plain.shared_mm < 1 and plain.bends_deg < 1
    assert methods["smoothed"].keypoints_mm < 10
    # Only the body has the wrist. Both rows compare the same other points.
    assert np.isnan(plain.alone_mm) and 0 < body.alone_mm < 200
    share = 1 / NUM_KEYPOINTS
    both = (1 - share) * body.shared_mm + share * body.alone_mm
    assert body.keypoints_mm == pytest.approx(both, rel=1e-3)
    assert np.isnan(plain.world_mm) and np.isnan(plain.within)
    # One camera triangulates nothing.
    (alone,) = (one for one in scores if one.person == "child" and one.cameras == 1)
    assert alone.method == "body" and np.isnan(alone.shared_mm) and np.isnan(alone.alone_mm)


def test_one_plot_has_all_cameras_and_one_both_methods(stage, trial, monkeypatch) -> None:
    trial, cameras = trial
    scores = fused_scores(trial, stage.body, cameras, trial.people)
    drawn = {}

    def draw(title, labels, series) -> np.ndarray:
        drawn[title] = list(labels), {name: len(bars) for name, bars in series.items()}
        return np.zeros((1, 1, 3), np.uint8)

    monkeypatch.setattr(evaluate_cameras, "bar_chart", draw)
    assert set(evaluate_cameras.charts([("stage", one) for one in scores])) == {
        "cameras", "triangulation",
    }  # fmt: skip
    (labels, joints), (of_both, shared) = drawn.values()
    assert labels == ["cameras: 1", "cameras: 2"] and of_both == ["cameras: 2"]
    assert joints == {"stage, child": 2, "stage, adult": 2}
    assert shared == {
        f"stage, {name}, {method}": 1
        for name in ("child", "adult")
        for method in ("body", "triangulated")
    }


def test_only_people_of_the_chosen_cameras_are_scored(stage, trial) -> None:
    trial, cameras = trial
    (one,) = score_choice(trial, stage.body, cameras, trial.people, (0,))
    assert one.person == "child" and one.coverage == 1.0
    strangers = [replace(person, tracks=frozenset({(0, 9)})) for person in trial.people]
    (one,) = score_choice(trial, stage.body, cameras, strangers, (0,))
    assert one.coverage == 0.0 and np.isnan(one.world_mm)
