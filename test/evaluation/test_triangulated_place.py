"""Several cameras at one person: one motion, one set of offsets, and the shares of the metrics."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from moro_ros.data.occlusion import CLEAN
from moro_ros.evaluation.live_benchmark import images_of
from moro_ros.evaluation.multiview import normalised
from moro_ros.evaluation.open_worlds import CHILDREN, World
from moro_ros.evaluation.triangulated_place import (
    APART_DEG,
    film,
    scored,
    squared_distance,
    turned,
)
from moro_ros.geometry.views import intersect
from moro_ros.types import STATURE, TRIANGULATED, Place

OFFSET_M = 0.05


@pytest.fixture()
def scenes(walking, open_body):
    world = World(noise=replace(CLEAN, definition_m=OFFSET_M), size=CHILDREN)
    return list(film(walking, open_body, world, 3, 8, 4))


def test_all_cameras_film_the_same_motion_from_other_sides(scenes) -> None:
    for scene in scenes:
        truths = [observed.joints[0].numpy() for observed in scene.observed]
        for view, truth in zip(scene.views, truths, strict=True):
            np.testing.assert_allclose(view.inside(truths[0]), truth, atol=2e-4)
        pelvis = truths[0][0, 0]
        lines = [
            (view.centre - pelvis) / np.linalg.norm(view.centre - pelvis) for view in scene.views
        ]
        for one, two in combinations(lines, 2):
            assert abs(one @ two) < np.cos(np.radians(APART_DEG)) + 1e-3
    places = [scene.views[1].centre for scene in scenes]
    assert np.linalg.norm(places[0] - places[1]) > 0.01, "people have different cameras"


def test_the_offsets_of_the_detector_are_the_same_for_all_cameras(scenes) -> None:
    scene = scenes[0]
    people = [[image.people[0] for image in images_of(one)] for one in scene.observed]
    points = np.stack(
        [
            np.stack([normalised(person.keypoints, view) for person in of_view])
            for view, of_view in zip(scene.views, people, strict=True)
        ]
    )
    rays = intersect(scene.views, points, np.ones(points.shape[:3]))
    off = rays - scene.observed[0].keypoints[0].numpy()
    assert np.ptp(off, axis=0).max() < 1e-3, "the rays meet at a constant offset"
    assert 0.8 * CHILDREN[0] * OFFSET_M < off.std() < 1.2 * CHILDREN[1] * OFFSET_M


def test_turned_cameras_stay_where_they_are(scenes) -> None:
    views = scenes[0].views
    off = turned(views, 0.5, np.random.default_rng(1))
    degrees = []
    for view, wrong in zip(views, off, strict=True):
        np.testing.assert_allclose(wrong.centre, view.centre, atol=1e-6)
        cosine = (np.trace(wrong.rotation @ view.rotation.T) - 1.0) / 2.0
        degrees.append(np.degrees(np.arccos(cosine)))
    assert 0.1 < np.mean(degrees) < 2.0 and len(set(np.round(degrees, 6))) == len(views)


def test_shares_are_of_the_ellipsoid_and_of_the_named_source(posed) -> None:
    motion = posed(np.zeros((22, 3)))
    covariance = np.tile(np.diag([0.01, 0.04, 0.09]).astype(np.float32), (1, 22, 1, 1))
    motion = replace(motion, covariance=covariance, place=Place(TRIANGULATED, 0.1))
    true = motion.joints[0].astype(np.float64)
    near, far = true.copy(), true.copy()
    near[:, 1] += 0.2  # one sigma
    far[:, 0] += 0.25  # 2.5 sigma: outside of the 68, inside of the 95 % ellipsoid
    far[5, 0] += 0.1
    np.testing.assert_allclose(squared_distance(motion, near), 1.0, rtol=1e-3)
    alone = replace(motion, place=Place(STATURE, 0.1))
    found = scored(
        [(motion, near), (motion, far), (alone, far), (replace(motion, place=None), far)]
    )
    assert found["pelvis_68"] == 0.5 and found["pelvis_95"] == 1.0
    assert found["joints_68"] == 0.5 and found["joints_95"] == pytest.approx(43 / 44)
    assert found["named"] == 0.5
    # The largest sigma, 0.3 m, is along z, along which both are right.
    assert found["sigma_m"] == pytest.approx(0.3, rel=1e-4) and found["within_1_sigma"] == 1.0
    assert found["along_m"] == pytest.approx(0.0, abs=1e-6)
    assert found["root_m"] == pytest.approx(0.225, rel=1e-4)


def test_without_a_triangulated_image_only_the_share_is_known(posed) -> None:
    assert scored([(posed(np.zeros((22, 3))), np.zeros((22, 3)))]) == {"named": 0.0}
    assert scored([]) == {"named": 0.0}
