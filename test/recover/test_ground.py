"""The ground that is learned from standing feet."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from moro_ros.body.topology import CONTACT_JOINTS, JOINT_NAMES
from moro_ros.recover import ground
from moro_ros.recover.ground import (
    GIVEN_SIGMA,
    JOINT_HEIGHT_M,
    LEARNED_SIGMA,
    LEAST_UPRIGHT,
    MEMORY,
    MOST_PEOPLE,
    PERSON_SIGMA,
    GroundEstimator,
    GroundPlane,
    fit_ground,
    upright_axis,
)
from moro_ros.recover.one_floor import PRIOR_SIGMA
from moro_ros.recover.place import Clue, PersonPlace
from moro_ros.types import DEPTH, Place

NECK = JOINT_NAMES.index("neck")


def bones(joints, feet, neck, pelvis) -> None:
    """Fill joints (1, 22, 3) in: straight bones between feet (4, 3), pelvis and neck."""
    joints[0, list(CONTACT_JOINTS)], joints[0, NECK], joints[0, 0] = feet, neck, pelvis
    for share, name in ((0.25, "spine1"), (0.5, "spine2"), (0.75, "spine3")):
        joints[0, JOINT_NAMES.index(name)] = pelvis + share * (neck - pelvis)
    for side, ankle in (("left", feet[0]), ("right", feet[2])):
        joints[0, JOINT_NAMES.index(f"{side}_hip")] = pelvis
        joints[0, JOINT_NAMES.index(f"{side}_knee")] = 0.5 * (pelvis + ankle)


def stand(up, place, rng, lean=0.05, seat=None):
    """Joints (1, 22, 3) of somebody on the ground at place; seat: (3,), where they look, seated."""
    across = np.linalg.svd(up[None])[2][1:]
    joints = np.zeros((1, 22, 3))
    feet = place + rng.uniform(-0.15, 0.15, (4, 2)) @ across + JOINT_HEIGHT_M[:, None] * up
    feet += rng.normal(0, 0.02, (4, 3))
    axis = up + rng.normal(0, lean, 3)
    middle = feet[[0, 2]].mean(axis=0)
    if seat is None:
        bones(joints, feet, middle + 1.38 * axis, middle + 0.83 * axis)
        return joints
    # Hips behind the ankles, knees above them: as on a chair.
    pelvis = middle + 0.42 * up - 0.42 * seat
    bones(joints, feet, pelvis + 0.55 * axis, pelvis)
    for side, ankle in (("left", feet[0]), ("right", feet[2])):
        joints[0, JOINT_NAMES.index(f"{side}_knee")] = ankle + 0.42 * up
    return joints


def walk(up, height, rng, reach, frames=80, lean=0.05):
    """Standing people on the plane height below the lens, seen by a camera whose up is given."""
    across = np.linalg.svd(up[None])[2][1:]
    for _ in range(frames):
        yield stand(up, rng.uniform(-reach, reach, 2) @ across - height * up, rng, lean)


@pytest.mark.parametrize(("reach", "tilt"), [(0.3, 0.0), (2.5, 0.35), (4.0, -0.7)])
def test_the_ground_is_found_under_a_tilted_camera(open_body, motion_of, reach, tilt):
    rng = np.random.default_rng(4)
    up = Rotation.from_euler("xz", [tilt, 0.1]).apply([0.0, -1.0, 0.0])
    estimator = GroundEstimator()
    template = replace(motion_of(open_body, frames=1), velocity=np.zeros((1, 22, 3)))
    for joints in walk(up, 1.6, rng, reach):
        estimator.add(replace(template, joints=joints))
    plane = estimator.plane
    assert np.degrees(np.arccos(plane.normal @ up)) < 2.0
    assert np.linalg.norm(plane.normal) == pytest.approx(1.0)
    assert plane.heights(np.zeros(3)) == pytest.approx(1.6, abs=0.05)


def test_wide_contacts_know_the_slope_better_than_leaning_people():
    rng = np.random.default_rng(5)
    up = np.array([0.0, -1.0, 0.0])
    flat = rng.uniform(-3, 3, (300, 2))
    points = np.stack([flat[:, 0], np.full(300, 1.5), flat[:, 1] + 4], 1)
    points[:, 1] += rng.normal(0, 0.02, 300)
    leaning = Rotation.from_euler("x", 8, degrees=True).apply(up)
    plane = fit_ground(points, leaning).plane
    assert np.degrees(np.arccos(plane.normal @ up)) < 1.5
    # Some contacts that are none (a foot on a step) do not move it.
    points[:30, 1] -= 0.4
    assert np.degrees(np.arccos(fit_ground(points, leaning).plane.normal @ up)) < 2.0


HEIGHT = 1.5
TILTED_UP = Rotation.from_euler("x", 0.4).apply([0.0, -1.0, 0.0])
AHEAD = Rotation.from_euler("x", 0.4).apply([0.0, 0.0, 1.0])


@pytest.fixture
def learned(open_body, motion_of):
    """learned(places, seats): the ground learned from people at (metres ahead, height)."""
    template = replace(motion_of(open_body, frames=1), velocity=np.zeros((1, 22, 3)))

    def learn(places, seat=None) -> GroundEstimator:
        rng, estimator = np.random.default_rng(8), GroundEstimator()
        for ahead_m, height_m in places:
            place = (3.0 + ahead_m) * AHEAD + (height_m - HEIGHT) * TILTED_UP
            estimator.add(replace(template, joints=stand(TILTED_UP, place, rng, seat=seat)))
        return estimator

    return learn


def tilt_deg(plane: GroundPlane) -> float:
    return float(np.degrees(np.arccos(min(1.0, plane.normal @ TILTED_UP))))


STAIRS = [(0.35 * step, 0.17 * step) for step in range(6)]


@pytest.mark.parametrize(
    ("places", "step_m"),
    [
        ([(0.0, 0.0)] * 60 + [(0.5, 0.17)] * 30, 0.17),
        ([(0.0, 0.0)] * 60 + [(1.0, 0.17)] * 30, 0.17),
        ([(0.0, 0.17)] * 30 + [(1.0, 0.0)] * 60, 0.17),
        # Up and down the stairs, and longer below them.
        ((STAIRS * 5 + [(-0.3, 0.0)] * 15) * 3, 0.17),
    ],
)
def test_steps_and_stairs_are_no_slope(learned, places, step_m):
    """Of two heights that of the longer stand is the ground; before, a slope of 8 to 26 degrees."""
    estimator = learned(places)
    assert tilt_deg(estimator.plane) < 3.0
    below = estimator.plane.heights(3.0 * AHEAD - HEIGHT * TILTED_UP)
    assert below == pytest.approx(0.0, abs=0.05)
    assert estimator.step_m == pytest.approx(step_m, abs=0.06)


def test_one_level_is_no_two(learned):
    estimator = learned([(0.02 * image, 0.0) for image in range(120)])
    assert estimator.step_m == 0.0 and tilt_deg(estimator.plane) < 3.0


def test_a_row_of_seated_people_does_not_tilt_the_ground(learned):
    """Their necks are 1 m from their ankles, and behind them."""
    rng = np.random.default_rng(9)
    joints = stand(TILTED_UP, 3.0 * AHEAD, rng, seat=AHEAD)
    assert np.linalg.norm(joints[0, NECK] - joints[0, list(CONTACT_JOINTS)].mean(0)) > 0.9
    assert learned([(0.5 * image % 3, 0.0) for image in range(90)], AHEAD).plane is None
    estimator = learned([(0.5 * image % 3, 0.0) for image in range(30)])
    alone = tilt_deg(estimator.plane)
    for image in range(90):
        place = (3.0 + 0.5 * image % 3) * AHEAD - HEIGHT * TILTED_UP
        joints = stand(TILTED_UP, place, rng, seat=AHEAD)[0]
        estimator.add_pose(joints, np.zeros((22, 3)), np.ones(4), np.ones(22, bool))
    assert alone < 3.0 and tilt_deg(estimator.plane) < 3.0


def test_a_few_images_of_somebody_tell_no_ground(learned):
    """They may lean; before, the first contact of a walker made the seated people's ground."""
    assert learned([(0.0, 0.0)] * (LEAST_UPRIGHT - 1)).plane is None
    assert learned([(0.0, 0.0)] * (LEAST_UPRIGHT + 20)).plane is not None


def test_somebody_who_has_fallen_does_not_turn_the_ground(learned):
    """Who lies is as straight as who stands, and the feet touch the ground."""
    estimator = learned([(0.02 * image, 0.0) for image in range(60)])
    rng = np.random.default_rng(4)
    lying = stand(AHEAD, 3.0 * AHEAD - HEIGHT * TILTED_UP, rng)[0]
    assert upright_axis(lying) is not None
    for _ in range(300):
        estimator.add_pose(lying, np.zeros((22, 3)), np.ones(4), np.ones(22, bool))
    assert tilt_deg(estimator.plane) < 5.0


def test_one_sure_contact_does_not_make_the_ground_sure():
    rng, estimator = np.random.default_rng(3), GroundEstimator()

    def seen(count, place) -> None:
        for _ in range(count):
            where = rng.uniform(2.0, 5.0) * AHEAD - HEIGHT * TILTED_UP
            joints = stand(TILTED_UP, where, rng)[0]
            estimator.add_pose(joints, np.zeros((22, 3)), np.ones(4), np.ones(22, bool), place)

    seen(499, None)
    seen(1, Place(DEPTH, 0.01, 1.0, 0.01))
    seen(51, None)
    assert 0.1 < estimator.sigma < PERSON_SIGMA + 0.01
    seen(500, Place(DEPTH, 0.01, 1.0, 0.01))
    assert 0.01 < estimator.sigma < 0.03


@pytest.mark.parametrize("stature_m", [None, 1.7, 1.1])
def test_a_stature_that_is_set_makes_the_ground_trusted(stature_m):
    """The network takes everybody for 1.7 m tall."""
    place, rng, estimator = PersonPlace(), np.random.default_rng(3), GroundEstimator()
    # A clue without worth, for a place without a stature.
    place.running[DEPTH].add(Clue(0.0, 9.0), 0)
    if stature_m is not None:
        place.stature.give(stature_m)
    for image in range(60):
        found = place.update(image * 33_333_333, math.log(1.7), False, False)
        assert found is not None
        scale = math.exp(found[0])
        where = 3.0 * AHEAD - HEIGHT * TILTED_UP
        joints = stand(TILTED_UP, where, rng)[0]
        estimator.add_pose(joints, np.zeros((22, 3)), np.ones(4), np.ones(22, bool), found[1])
    assert (estimator.sigma <= LEARNED_SIGMA) == (stature_m is not None)
    assert scale == pytest.approx((stature_m or 1.7) / 1.7, rel=0.06)


def stand_together(sizes, images=120, levels=None, place=None) -> GroundEstimator:
    """The ground learned from people whom the network takes for adults; sizes: true, by track id.

    levels: height [m] of where each stands, by track id and image; place: of the first person.
    """
    rng, estimator = np.random.default_rng(8), GroundEstimator()
    for image in range(images):
        for track_id, size in sizes.items():
            height_m = 0.0 if levels is None else levels[track_id][image]
            ahead_m = 2.5 + track_id + rng.uniform(-0.3, 0.3)
            where = ahead_m * AHEAD + (height_m - HEIGHT) * TILTED_UP
            joints = stand(TILTED_UP, where / size, rng)[0]
            sure = place if track_id == min(sizes) else None
            estimator.add_pose(
                joints, np.zeros((22, 3)), np.ones(4), np.ones(22, bool), sure, track_id
            )
    return estimator


@pytest.mark.parametrize(
    "sizes", [(1.0, 0.7), (1.0, 1.0, 0.7), (1.04, 0.96), (1.0, 0.75, 0.65), (0.97, 0.55)]
)
def test_people_of_different_sizes_stand_on_one_floor(sizes):
    """Before, adult and child stood at two heights, 0.6 m apart."""
    estimator = stand_together(dict(enumerate(sizes)))
    assert estimator.plane.heights(np.zeros(3)) == pytest.approx(HEIGHT, rel=0.1)
    assert estimator.step_m == 0.0 and tilt_deg(estimator.plane) < 3.0
    assert estimator.sigma > PRIOR_SIGMA
    assert estimator.trusted() == (estimator.plane, estimator.sigma, False)


def test_a_child_who_stands_longer_does_not_lower_the_ground():
    """Nor does an adult who has left: before, the ground was 2.1 m below the camera."""
    estimator = stand_together({1: 1.0, 2: 0.7}, 60)
    rng = np.random.default_rng(2)
    for _ in range(600):
        joints = stand(TILTED_UP, (4.5 * AHEAD - HEIGHT * TILTED_UP) / 0.7, rng)[0]
        estimator.add_pose(joints, np.zeros((22, 3)), np.ones(4), np.ones(22, bool), None, 2)
    assert estimator.plane.heights(np.zeros(3)) == pytest.approx(HEIGHT, rel=0.1)


def test_only_children_are_as_unsure_as_only_adults():
    estimator = stand_together({1: 0.7, 2: 0.65})
    assert estimator.plane.heights(np.zeros(3)) > 1.2 * HEIGHT
    assert estimator.sigma > PRIOR_SIGMA > LEARNED_SIGMA


def test_a_person_of_known_size_makes_the_shared_ground_sure():
    known = Place(DEPTH, 0.02, 1.0, 0.02)
    estimator = stand_together({1: 1.0, 2: 0.7, 3: 0.6}, place=known)
    assert estimator.plane.heights(np.zeros(3)) == pytest.approx(HEIGHT, rel=0.03)
    assert estimator.sigma < 0.04 and estimator.step_m == 0.0


def test_one_person_on_two_levels_is_on_a_step_beside_a_child():
    step = [0.17 * (image % 3 == 0) for image in range(180)]
    estimator = stand_together({1: 1.0, 2: 0.7}, 180, {1: step, 2: [0.0] * 180})
    assert estimator.step_m == pytest.approx(0.17, abs=0.06)
    assert estimator.plane.heights(np.zeros(3)) == pytest.approx(HEIGHT, rel=0.1)


def test_nobody_is_as_tall_as_somebody_on_a_table():
    """Known people stay at their distance, and one of them is on another level."""
    known = Place(DEPTH, 0.02, 1.0, 0.02)
    levels = {1: [0.0] * 120, 2: [0.75] * 120}
    estimator = stand_together({1: 1.0, 2: 1.0}, 120, levels, known)
    assert estimator.step_m == pytest.approx(0.75, abs=0.06)


def test_one_person_alone_is_not_resized(learned, monkeypatch):
    monkeypatch.setattr(ground, "sizes_on_one_floor", None)
    assert learned([(0.02 * image, 0.0) for image in range(60)]).people == 1


def test_the_contacts_of_the_newest_people_are_kept():
    estimator = stand_together(dict.fromkeys(range(MOST_PEOPLE), 1.0), 40)
    assert estimator.people == MOST_PEOPLE
    kept = [len(contacts) for contacts in estimator._contacts.values()]
    assert sum(kept) == MEMORY and max(kept) - min(kept) < 10, "of each as many"
    rng = np.random.default_rng(1)
    joints = stand(TILTED_UP, 4.5 * AHEAD - HEIGHT * TILTED_UP, rng)[0]
    estimator.add_pose(joints, np.zeros((22, 3)), np.ones(4), np.ones(22, bool), None, 99)
    assert len(estimator._contacts) == MOST_PEOPLE and 0 not in estimator._contacts


def test_a_plane_that_is_kept_is_as_sure_as_before(learned):
    estimator = learned([(0.02 * image, 0.0) for image in range(120)])
    before = estimator.sigma
    assert 0.1 < before < 0.2
    estimator.keep()
    assert estimator.sigma == before
    estimator.keep(GroundPlane(TILTED_UP, 1.5))
    assert estimator.sigma == GIVEN_SIGMA
    estimator.reset()
    assert estimator.sigma == np.inf


def test_who_does_not_stand_says_nothing_and_a_kept_plane_stays(open_body, motion_of):
    rng = np.random.default_rng(6)
    up = np.array([0.0, -1.0, 0.0])
    still = replace(motion_of(open_body, frames=1), velocity=np.zeros((1, 22, 3)))
    swinging = replace(still, velocity=np.full((1, 22, 3), 1.0))
    lifted = replace(still, contact=np.full((1, 4), 0.3))
    unseen = replace(still, observed=np.zeros((1, 22), bool))
    estimator = GroundEstimator()
    for joints in walk(up, 1.0, rng, 2.0):
        for template in (swinging, lifted, unseen):
            estimator.add(replace(template, joints=joints))
    assert estimator.plane is None
    assert estimator.keep() is None and not estimator.kept
    plane = GroundPlane(up, 2.0)
    assert estimator.keep(plane) is plane
    for joints in walk(up, 1.0, rng, 2.0):
        estimator.add(replace(still, joints=joints))
    assert estimator.plane is plane
    estimator.reset()
    assert estimator.plane is None and not estimator.kept
