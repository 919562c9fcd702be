"""Who is who in several views: people are told apart, broken tracks joined, ghosts left out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from moro_ros.evaluation.association import associate, only
from moro_ros.evaluation.multiview import triangulate
from moro_ros.geometry.camera import project
from moro_ros.geometry.views import View
from moro_ros.types import NUM_KEYPOINTS, Camera, Frame, Keypoints, PersonObservation

MATRIX = np.array([[1500.0, 0, 960], [0, 1500, 960], [0, 0, 1]])
FRAMES = 24


@pytest.fixture(scope="module")
def views() -> tuple[View, ...]:
    made = []
    for number, angle in enumerate(np.deg2rad([10, 100, 190, 280])):
        rotation = Rotation.from_euler("y", angle).as_matrix()
        made.append(View(f"cam{number}", Camera(MATRIX, 1920, 1920), rotation, np.array([0, 0, 5])))
    return tuple(made)


@pytest.fixture(scope="module")
def people() -> np.ndarray:
    """Two people 1.2 m apart who move a little, (2, F, K, 3) m."""
    rng = np.random.default_rng(1)
    shape = rng.uniform(-0.4, 0.4, (2, 1, NUM_KEYPOINTS, 3))
    walk = np.linspace(0, 0.5, FRAMES)[None, :, None, None]
    return shape + walk + np.array([[-0.6, 0, 0], [0.6, 0, 0.2]])[:, None, None]


def observation(view: View, points: np.ndarray, track_id: int, noise: np.ndarray):
    inside = torch.from_numpy(points @ view.rotation.T + view.translation)
    pixels = project(inside, torch.from_numpy(MATRIX)).numpy() + noise
    full = np.ones(NUM_KEYPOINTS)
    return PersonObservation(track_id, np.zeros(4), 1.0, Keypoints(pixels, full, full))


def test_people_are_told_apart_and_a_broken_track_is_joined(views, people) -> None:
    rng = np.random.default_rng(0)
    frames = []
    for row, view in enumerate(views):
        of_view = []
        for number in range(FRAMES):
            # In the second view the first person gets a new id half way.
            ids = (10 * row + 1 + (5 if row == 1 and number >= 12 else 0), 10 * row + 2)
            seen = tuple(
                observation(view, people[i, number], ids[i], rng.normal(0, 3, (NUM_KEYPOINTS, 2)))
                for i in (0, 1)
            )
            of_view.append(Frame(number, view.camera, seen))
        frames.append(of_view)
    found = associate(views, frames)
    expected = {
        frozenset({(0, 1), (1, 11), (1, 16), (2, 21), (3, 31)}),
        frozenset({(0, 2), (1, 12), (2, 22), (3, 32)}),
    }
    assert set(found) == expected
    for person in found:
        truth = triangulate(views, only(frames, person))
        target = people[0] if (0, 1) in person else people[1]
        assert float(np.nanmax(np.abs(truth.points - target))) < 0.05


def test_whom_too_few_views_see_has_no_truth(views, people) -> None:
    nothing = np.zeros((NUM_KEYPOINTS, 2))
    frames = [
        [
            Frame(n, view.camera, (observation(view, people[0, n], 1, nothing),) if row < 2 else ())
            for n in range(FRAMES)
        ]
        for row, view in enumerate(views)
    ]
    assert associate(views, frames) == []


def test_only_keeps_one_person_and_drops_blind_boxes(views, people) -> None:
    nothing = np.zeros((NUM_KEYPOINTS, 2))
    both = tuple(observation(views[0], people[i, 0], i + 1, nothing) for i in (0, 1))
    blind = PersonObservation(1, np.zeros(4), 1.0, None)
    frames = [[Frame(0, views[0].camera, both), Frame(1, views[0].camera, (blind, both[1]))]]
    (kept,) = only(frames, frozenset({(0, 1), (3, 2)}))
    assert [[p.track_id for p in frame.people] for frame in kept] == [[1], []]
