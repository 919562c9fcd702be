"""What sources say of a distance is weighed by their sigma, ages, and is told with its source."""

from __future__ import annotations

import math

import numpy as np
import pytest

from moro_ros.recover.place import (
    GIVEN_STATURE_SIGMA,
    PRIOR_SIGMA,
    Clue,
    PersonPlace,
    RunningClue,
    Stature,
    fuse,
)
from moro_ros.recover.uncertainty import UncertaintyTable, joint_covariance
from moro_ros.types import DEPTH, FLOOR, PRIOR, STATURE

SECOND = 1_000_000_000
ADULT = math.log(1.7)


def told(place: PersonPlace, stamp_ns: int, log_network: float = ADULT) -> tuple[float, int]:
    found = place.update(stamp_ns, log_network, False, True)
    assert found is not None
    return found[0], found[1].source


def test_without_a_source_nothing_is_said():
    assert PersonPlace().update(0, ADULT, False, True) is None


def test_a_sure_source_outweighs_the_prior_and_is_named():
    fused = fuse({DEPTH: Clue(0.1, 0.01)})
    assert fused.source == DEPTH and fused.clue.log_scale == pytest.approx(0.1, abs=0.002)
    assert fused.clue.sigma < 0.01
    unsure = fuse({FLOOR: Clue(0.02, 0.5)})
    assert unsure.source == PRIOR and abs(unsure.clue.log_scale) < 0.01
    assert unsure.clue.sigma == pytest.approx(PRIOR_SIGMA, rel=0.1)


@pytest.mark.parametrize("rate_hz", [30, 120, 240])
def test_an_image_is_placed_a_second_time_after_the_longest_delay(rate_hz):
    """motion.refined_lag of 60 frames at 30 Hz."""
    place = PersonPlace()
    place.stature.give(1.2)
    stamps_ns = [image * SECOND // rate_hz for image in range(2 * rate_hz + 1)]
    first, *_ = [place.update(stamp_ns, ADULT, False, True) for stamp_ns in stamps_ns]
    assert first is not None and place.at(0) == first


def test_a_child_is_not_drawn_towards_an_adult():
    """The prior's sigma is an adult's: what contradicts it by five of them is a child."""
    fused = fuse({FLOOR: Clue(-0.45, 0.05)})
    assert fused.clue.log_scale == pytest.approx(-0.45, abs=0.01)


def test_a_network_that_was_given_the_floor_is_a_floor_s_word():
    assert fuse({}, floor_input=True).source == FLOOR
    assert fuse({}).source == PRIOR


def test_the_clue_of_a_lost_source_ages():
    running = RunningClue(DEPTH)
    assert running.at(0) is None
    running.add(Clue(0.2, 0.01), 0)
    ages = [running.at(seconds * SECOND) for seconds in (0, 1, 10)]
    assert all(clue is not None and clue.log_scale == 0.2 for clue in ages)
    sigmas = [clue.sigma for clue in ages if clue is not None]
    assert sigmas[0] < 0.02 < sigmas[1] < sigmas[2] and sigmas[2] > PRIOR_SIGMA
    running.add(Clue(0.3, 0.01), 11 * SECOND)
    newest = running.at(11 * SECOND)
    assert newest is not None and newest.log_scale == pytest.approx(0.3, abs=1e-3)


def test_noise_of_one_source_is_averaged():
    rng = np.random.default_rng(1)
    running = RunningClue(FLOOR)
    for image in range(120):
        running.add(Clue(0.1 + 0.05 * rng.normal(), 0.05), image * SECOND // 30)
    found = running.at(4 * SECOND)
    assert found is not None and found.log_scale == pytest.approx(0.1, abs=0.03)


def test_a_given_stature_is_kept_against_what_is_measured():
    stature = Stature()
    stature.give(1.1)
    stature.learn(math.log(1.7), 0.01, 1.0)
    assert stature.log_m == math.log(1.1) and stature.sigma == GIVEN_STATURE_SIGMA


def test_a_given_stature_that_depth_contradicts_is_named_after_a_while():
    """An adult was set to be 1.10 m tall; depth agrees with the network's 1.70 m."""
    place = PersonPlace()
    place.stature.give(1.1)
    found = []
    for image in range(150):
        place.running[DEPTH].add(Clue(0.0, 0.02), image * SECOND // 30)
        place.update(image * SECOND // 30, ADULT, False, False)
        found.append(place.stature.measured_m)
    assert found[60] is None and found[95] == pytest.approx(1.7, rel=0.01)
    assert place.stature.log_m == math.log(1.1), "the user's word is kept"
    assert place.stature.body_m == pytest.approx(1.7, rel=0.01), "but not used"
    later = place.update(60 * SECOND, ADULT, False, False)
    assert later is not None and later[0] == pytest.approx(0.0, abs=0.02), "depth is lost"
    place.stature.give(1.65)
    place.update(61 * SECOND, ADULT, False, False)
    assert place.stature.measured_m is None and place.stature.body_m == pytest.approx(1.65)


def test_a_stature_is_learned_and_then_holds_without_its_source():
    """Depth says 10 % farther and larger; when it is lost the person stays where they were."""
    place = PersonPlace()
    for image in range(90):
        place.running[DEPTH].add(Clue(0.1, 0.01), image * SECOND // 30)
        told(place, image * SECOND // 30)
    assert place.stature.log_m == pytest.approx(ADULT + 0.1, abs=0.01)
    assert told(place, 3 * SECOND)[1] == DEPTH
    log_scale, source = told(place, 60 * SECOND)
    assert source == STATURE and log_scale == pytest.approx(0.1, abs=0.035)


@pytest.mark.parametrize("stature_m", [0.2, 7.2, 3300.0])
def test_nobody_is_learned_to_be_that_tall(stature_m):
    stature = Stature()
    stature.learn(math.log(stature_m), 0.03, 1.0)
    assert stature.log_m is None
    for _ in range(60):
        stature.learn(ADULT, 0.03, 1 / 30)
    for _ in range(600):
        stature.learn(math.log(stature_m), 0.03, 1 / 30)
    assert stature.log_m == pytest.approx(ADULT)


def test_a_stature_is_no_surer_than_the_floor_that_taught_it():
    """The images share the error of the camera's height; depth does not have it."""
    sigmas = {}
    for sources in ((FLOOR,), (FLOOR, DEPTH)):
        place = PersonPlace()
        place.floor_sigma = 0.1
        for image in range(600):
            for source in sources:
                place.running[source].add(Clue(-0.36, 0.02), image * SECOND // 30)
            place.update(image * SECOND // 30, ADULT, False, True)
        sigmas[sources] = place.stature.sigma
    assert sigmas[FLOOR,] == pytest.approx(0.1) and sigmas[FLOOR, DEPTH] < 0.04


@pytest.mark.parametrize("floor_sigma", [0.01, 0.1])
def test_a_stature_from_a_floor_is_no_second_source_beside_it(floor_sigma):
    sigmas = {}
    for teacher in (None, FLOOR, DEPTH):
        place = PersonPlace()
        place.floor_sigma = floor_sigma
        if teacher is not None:
            place.running[teacher].add(Clue(-0.36, 0.03), 0)
            place.update(0, ADULT, False, True)
            place.running[teacher].forget()
        place.running[FLOOR].add(Clue(-0.36, 0.1), SECOND)
        found = place.update(SECOND, ADULT, False, False)
        assert found is not None
        sigmas[teacher] = found[1].sigma
    assert sigmas[None] == pytest.approx(sigmas[FLOOR], abs=1e-5)
    assert sigmas[None] > 0.09 > 0.07 > sigmas[DEPTH]


def test_with_hidden_legs_a_stature_tells_less_of_the_distance():
    """Somebody who sits behind a table looks as small as a standing child, or farther away."""
    sigmas = []
    for hidden in (False, True):
        place = PersonPlace()
        place.legs_hidden = hidden
        place.stature.give(1.2)
        found = place.update(0, ADULT, False, False)
        assert found is not None and found[1].source == STATURE
        sigmas.append(found[1].sigma)
    assert sigmas[0] < 0.065 and sigmas[1] > 0.075


def test_one_outlier_does_not_change_a_stature():
    stature = Stature()
    for _ in range(60):
        stature.learn(ADULT, 0.03, 1 / 30)
    stature.learn(ADULT + 0.5, 0.03, 1 / 30)
    assert stature.log_m == pytest.approx(ADULT)


def test_small_changes_are_followed_smoothly_and_great_ones_at_once():
    place = PersonPlace()
    assert place.update(0, ADULT, False, False) is None  # published as the network has it
    place.running[DEPTH].add(Clue(0.08, 0.005), 0)
    assert told(place, 0)[0] == 0.0
    found = [place.update(SECOND // 30 * image, ADULT, False, False) for image in range(1, 40)]
    scales = [one[0] for one in found if one is not None]
    assert 0.0 < scales[0] < 0.02 and scales[-1] > 0.06 and np.diff(scales).min() > -2e-3
    assert not any(one[2] for one in found if one is not None)
    place.stature.give(1.0)
    place.running[DEPTH].forget()
    leap = place.update(2 * SECOND, ADULT, False, False)
    assert leap is not None and leap[2] and leap[0] < -0.4
    # The source is taken away: back to the network's word, and then nothing is said.
    place.stature = Stature()
    back = place.update(3 * SECOND, ADULT, False, False)
    assert back is not None and back[0] == 0.0 and back[2]
    assert place.update(3 * SECOND + 1, ADULT, False, False) is None


def test_what_the_floor_said_can_be_taken_out_again():
    """The floor is learned from people; it must not be learned from its own word."""
    place = PersonPlace()
    place.running[FLOOR].add(Clue(0.2, 0.03), 0)
    found = place.update(0, ADULT, False, False)
    assert found is not None
    log_scale, where, _ = found
    assert log_scale > 0.1
    assert where.floor_free * math.exp(log_scale) == pytest.approx(1.0)
    assert where.floor_free_sigma == pytest.approx(PRIOR_SIGMA)


def test_covariance_has_the_sigma_of_the_distance_along_the_line_of_sight():
    coefficients = np.zeros((2, 2, 22, 5))
    coefficients[:, 0, :, 0] = 0.02**2  # across
    coefficients[:, 1, :, 0] = 0.30**2  # along, the distance included
    table = UncertaintyTable(coefficients)
    joints = np.tile([0.0, 0.0, 3.0], (1, 22, 1))
    seen, sure = np.ones((1, 22), bool), np.ones((1, 22))
    before = joint_covariance(table, joints, seen, sure, np.zeros(2))
    after = joint_covariance(table, joints, seen, sure, np.zeros(2), 0.01)
    assert before[0, 0, 2, 2] == pytest.approx(0.09)
    assert after[0, 0, 2, 2] == pytest.approx(0.02**2 + 0.03**2)
    np.testing.assert_array_equal(after[..., :2, :2], before[..., :2, :2])
    assert not joint_covariance(None, joints, seen, sure, np.zeros(2), 0.01).any()


def test_depth_that_changes_steadily_is_followed_without_lag() -> None:
    """The network's distance of a person who moves is off by a ratio that changes."""
    place = PersonPlace()
    for image in range(60):
        stamp_ns, truth = image * 33_333_333, 0.002 * image
        place.running[DEPTH].add(Clue(truth, 0.002), stamp_ns)
        found = place.update(stamp_ns, ADULT, False, False)
    assert found is not None and not found[2]
    # The clues themselves are averaged over 0.1 s, three images.
    assert found[0] == pytest.approx(truth - 0.002 * 3, abs=0.002)


def test_a_new_person_is_placed_by_the_sources_at_once() -> None:
    place = PersonPlace()
    place.running[DEPTH].add(Clue(0.08, 0.005), 0)
    assert told(place, 0)[0] == pytest.approx(0.08, abs=0.001)
    # A source that comes later is followed smoothly; meanwhile, sigma includes the difference.
    place = PersonPlace()
    place.update(0, ADULT, False, False)
    place.running[DEPTH].add(Clue(0.08, 0.005), SECOND // 30)
    found = place.update(SECOND // 30, ADULT, False, True)
    assert found is not None and found[1].sigma > 0.07 - found[0] > 0.03


def test_a_stature_is_not_learned_from_a_source_that_was_lost() -> None:
    place = PersonPlace()
    for image in range(150):
        stamp_ns = image * SECOND // 30
        place.running[DEPTH].add(Clue(0.05, 0.01), stamp_ns)
        place.update(stamp_ns, ADULT, False, True)
    learned, sigma = place.stature.log_m, place.stature.sigma
    assert learned == pytest.approx(ADULT + 0.05, abs=0.01)
    # The network's estimate of somebody who bends is too small.
    for image in range(170, 1000):
        place.update(image * SECOND // 30, ADULT - 0.15, False, True)
    assert (place.stature.log_m, place.stature.sigma) == (learned, sigma)


def test_an_image_described_again_has_the_same_place() -> None:
    once, twice = PersonPlace(), PersonPlace()
    for image in range(40):
        stamp_ns, clue = image * SECOND // 30, Clue(0.03 + 0.02 * math.sin(image), 0.01)
        for place in (once, twice):
            place.running[DEPTH].add(clue, stamp_ns)
        found = once.update(stamp_ns, ADULT, False, True)
        assert twice.update(stamp_ns, ADULT, False, True) == found
        assert twice.at(stamp_ns) == found
        twice.at(stamp_ns - 10 * SECOND // 30)
    assert once.stature.sigma == twice.stature.sigma
    assert twice.at(-1) is None


def test_after_a_gap_the_new_clue_counts_more_than_the_old_one() -> None:
    running = RunningClue(FLOOR)
    running.add(Clue(0.0, 0.03), 0)
    running.add(Clue(0.2, 0.2), 20 * SECOND)
    clue = running.at(20 * SECOND)
    assert clue is not None and clue.log_scale > 0.15
