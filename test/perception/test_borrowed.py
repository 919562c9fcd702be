"""Which keypoints of a covered person lie on somebody in front."""

from __future__ import annotations

import numpy as np

from moro_ros.perception.blazepose import REGION_SCALE, Region
from moro_ros.perception.borrowed import SAME_PLACE, without_borrowed
from moro_ros.perception.sighting import MIRRORED, VISIBLE, Sighting
from moro_ros.types import KEYPOINTS

NAMES = list(KEYPOINTS)
DIAMETER_PX = 300.0
BODY = np.random.default_rng(2).uniform(-140, 140, (len(NAMES), 2)).astype(np.float32)
WRIST, ELBOW = NAMES.index("left_wrist"), NAMES.index("left_elbow")


def person(x_px: float, peak: float) -> Sighting:
    ones = np.ones(len(NAMES), np.float32)
    region = Region(np.array([x_px, 0.0]), DIAMETER_PX * REGION_SCALE, 0.0)
    points = BODY + np.array([x_px, 0.0], np.float32)
    return Sighting(points, ones.copy(), ones, region, 1.0, peaks=peak * ones)


def put(one: Sighting, row: int, other: Sighting, of: int, off: float = 0.0) -> None:
    """Place a point of one person beside that of another, `off` diameters away."""
    one.points_px[row] = other.points_px[of] + (off * DIAMETER_PX, 0.0)


def doubted(*people: Sighting) -> list[list[int]]:
    return [list(np.flatnonzero(p.visibility < VISIBLE)) for p in without_borrowed(people)]


def test_the_point_of_the_person_in_front_is_not_the_covered_one_s() -> None:
    front, covered = person(0.0, 0.9), person(400.0, 0.7)
    put(covered, WRIST, front, WRIST, 0.5 * SAME_PLACE)
    assert doubted(front, covered) == [[], [WRIST]]
    assert doubted(covered, front) == [[WRIST], []]


def test_left_and_right_may_be_confused() -> None:
    front, covered = person(0.0, 0.9), person(400.0, 0.7)
    put(covered, WRIST, front, MIRRORED[WRIST])
    assert doubted(front, covered) == [[], [WRIST]]


def test_other_points_and_points_apart_are_their_own() -> None:
    front, covered = person(0.0, 0.9), person(400.0, 0.7)
    put(covered, WRIST, front, ELBOW)
    put(covered, ELBOW, front, ELBOW, 1.5 * SAME_PLACE)
    assert doubted(front, covered) == [[], []]


def test_what_nobody_sees_there_is_not_borrowed() -> None:
    front, covered = person(0.0, 0.9), person(400.0, 0.7)
    put(covered, WRIST, front, WRIST)
    front.visibility[WRIST] = 0.2
    assert doubted(front, covered) == [[WRIST], []]


def test_own_ankles_side_by_side_stay() -> None:
    alone, other = person(0.0, 0.9), person(400.0, 0.7)
    left, right = NAMES.index("left_ankle"), NAMES.index("right_ankle")
    put(alone, left, alone, right)
    alone.peaks[left] = 0.6
    assert doubted(alone, other) == [[], []]
    assert doubted(alone) == [[]] and without_borrowed([]) == []


def test_of_three_people_at_one_place_the_sharpest_has_the_point() -> None:
    people = [person(0.0, 0.6), person(400.0, 0.9), person(800.0, 0.7)]
    for one in people:
        put(one, WRIST, people[1], WRIST)
    assert doubted(*people) == [[WRIST], [], [WRIST]]
