"""Hidden legs: the height of the trunk above the floor places people, as surely as it can."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from moro_ros.body.size import BodySize
from moro_ros.live.placing import Placing
from moro_ros.recover.ground import GroundPlane
from moro_ros.recover.place import Clue, PersonPlace, RunningClue, Unplaced
from moro_ros.recover.seat import LEGS, Seat, scale_clue
from moro_ros.recover.steady_pose import BodyPose
from moro_ros.types import FLOOR, STATURE

LEVEL = GroundPlane(np.array([0.0, -1.0, 0.0]), 1.9)


def clue(true_m: float, pelvis_m: float, camera_m: float, size: float):
    """Return the clue of a person whom the network estimates `size` times as large and far."""
    return scale_clue(true_m * size, (camera_m - pelvis_m) * size, camera_m)


@pytest.mark.parametrize("size", [0.75, 0.9, 1.0, 1.15])
@pytest.mark.parametrize(("true_m", "pelvis_m"), [(1.75, 0.56), (1.62, 0.52), (1.75, 0.93)])
def test_a_high_camera_places_seated_and_standing_adults(true_m, pelvis_m, size):
    found = clue(true_m, pelvis_m, 2.0, size)
    assert found.log_scale == pytest.approx(-math.log(size), abs=0.08)
    assert abs(found.log_scale + math.log(size)) < 2.0 * found.sigma < 0.2


def test_a_camera_as_high_as_the_pelvis_tells_only_what_is_known_of_people():
    found = clue(1.7, 0.55, 0.56, 0.8)
    assert found.log_scale == pytest.approx(-math.log(0.8), abs=0.15)
    assert found.sigma > 0.08


def test_where_a_child_who_stands_fits_as_well_it_is_unsure():
    child, adult = clue(1.05, 0.56, 0.75, 1.0), clue(1.7, 0.56, 2.0, 1.0)
    assert child.sigma > 0.1 and child.sigma > 1.5 * adult.sigma
    assert abs(child.log_scale) < 2.5 * child.sigma


@pytest.mark.parametrize("pelvis_m", [0.12, 0.25])
def test_it_is_unsure_of_somebody_who_neither_sits_nor_stands(pelvis_m):
    found = clue(1.7, pelvis_m, 1.6, 1.0)
    assert abs(found.log_scale) < 2.0 * found.sigma and found.sigma > 0.08


def look(seat: Seat, person: Unplaced, height_sigma: float = 0.0) -> Clue | None:
    seat.look(person)
    return seat.clue(person, LEVEL, height_sigma)


def seen(image: int, legs: bool, betas: torch.Tensor | None = None) -> Unplaced:
    """A seated adult whom the network makes a child of 1.3 m standing nearer."""
    joints = np.zeros((22, 3))
    joints[:, 1], joints[:, 2] = 1.03, 2.0
    observed = np.ones(22, bool)
    observed[LEGS] = legs
    betas = torch.zeros(10) if betas is None else betas
    pose = BodyPose(torch.eye(3).expand(1, 22, 3, 3), torch.ones(1, 3), betas)
    return Unplaced(
        pose, joints, np.zeros(4), observed, False, image * 33_333_333, None, 1.3, 1.3 / 1.7
    )


def test_it_waits_until_legs_that_were_seen_are_hidden_for_a_while():
    seat = Seat()
    assert look(seat, seen(0, legs=False)) is not None
    assert look(seat, seen(1, legs=True)) is None
    clues = [look(seat, seen(image, legs=False)) for image in range(2, 30)]
    assert clues[10] is None and clues[-1] is not None
    unseen = seen(30, legs=False)
    unseen.observed[:] = False
    assert look(seat, unseen) is None


def test_a_person_at_a_table_is_placed_and_teaches_no_stature(open_body):
    placing = Placing(open_body, reads_floor=True)
    placing.set_floor(LEVEL)
    betas = BodySize(open_body).with_stature(torch.zeros(10), 1.3)
    for image in range(60):
        placed = placing.place(1, seen(image, legs=False, betas=betas), learn=True)
    assert placed is not None and placed.place.source == FLOOR
    assert 1.1 < float(placed.pose.translation[0, 2]) < 1.35
    assert placing.stature(1) is None


def test_an_unsure_floor_makes_it_unsure():
    sure, unsure = (look(Seat(), seen(0, legs=False), sigma) for sigma in (0.0, 0.09))
    assert sure is not None and unsure is not None
    assert unsure.log_scale == sure.log_scale and unsure.sigma > math.hypot(sure.sigma, 0.09)


def test_clues_of_a_seat_are_forgotten_once_feet_give_better_ones():
    """Otherwise a stature would be learned from them, and the right floor refused."""
    running = RunningClue(FLOOR)
    for image in range(90):
        running.add(Clue(-0.1, 0.1), image * 33_333_333, teaches=False)
    running.add(Clue(-0.4, 0.03), 90 * 33_333_333)
    found = running.at(90 * 33_333_333)
    assert running.teaches and found is not None and found.log_scale == -0.4


def test_the_network_makes_a_seat_no_surer():
    """The seat's clue already contains the network's estimate of the size."""
    sigmas = []
    for teaches in (False, True):
        place = PersonPlace()
        place.running[FLOOR].add(Clue(0.05, 0.1), 0, teaches)
        found = place.update(0, 0.5, False, True)
        assert found is not None and 0.0 < found[0] < 0.04
        sigmas.append(found[1].sigma)
    assert sigmas[0] > 0.1 > 0.08 > sigmas[1]


def test_a_known_stature_replaces_the_seat_at_once(open_body):
    placing = Placing(open_body, reads_floor=True)
    placing.set_floor(LEVEL)
    betas = BodySize(open_body).with_stature(torch.zeros(10), 1.3)
    for image in range(30):
        placing.place(1, seen(image, legs=False, betas=betas), learn=True)
    placing.set_stature(1, 1.3)
    for image in range(30, 60):
        placed = placing.place(1, seen(image, legs=False, betas=betas), learn=True)
    assert placed is not None and placed.place.source == STATURE
    assert float(placed.pose.translation[0, 2]) == pytest.approx(1.0, abs=0.02)


def test_without_a_floor_hidden_legs_make_a_known_stature_less_sure(open_body):
    betas = BodySize(open_body).with_stature(torch.zeros(10), 1.3)
    sigmas = []
    for legs in (True, False):
        placing = Placing(open_body, reads_floor=True)
        placing.set_stature(1, 1.2)
        for image in range(30):
            placed = placing.place(1, seen(image, legs=legs, betas=betas), learn=True)
        assert placed is not None and placed.place.source == STATURE
        sigmas.append(placed.place.sigma)
    assert 1.15 * sigmas[0] < sigmas[1]
