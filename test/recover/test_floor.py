"""A floor places who stands on it, and is ignored where it does not hold."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from moro_ros.body.topology import CONTACT_JOINTS, JOINT_NAMES
from moro_ros.recover.floor import Feet, FloorJudge
from moro_ros.recover.ground import JOINT_HEIGHT_M, SHOES_M, GroundPlane
from moro_ros.recover.place import Stature, Unplaced
from moro_ros.recover.steady_pose import BodyPose

LEVEL = GroundPlane(np.array([0.0, -1.0, 0.0]), 1.2)
FEET = list(CONTACT_JOINTS)
TEMPLATE_M = 1.7


def standing(
    stature_m: float = 1.7, scale: float = 1.0, step_m: float = 0.0, image: int = 0, **changes
) -> Unplaced:
    """Somebody who stands 3 m away below a level camera, as a network that is off by 1 / scale.

    step_m: height of what they stand on.
    """
    size = stature_m / TEMPLATE_M
    joints = np.zeros((22, 3))
    joints[:, 1] = 1.2 - step_m - 0.9 * size
    joints[:, 2] = 3.0
    joints[FEET, 1] = 1.2 - step_m - JOINT_HEIGHT_M * size
    joints[JOINT_NAMES.index("neck"), 1] = 1.2 - step_m - 1.45 * size
    values = {
        "pose": BodyPose(torch.eye(3).expand(1, 22, 3, 3), torch.zeros(1, 3), torch.zeros(10)),
        "joints": joints / scale,
        "contact": np.ones(4),
        "observed": np.ones(22, bool),
        "locked": False,
        "size": size / scale,
        "stature_m": stature_m / scale,
        "stamp_ns": image * 33_333_333,
    }
    return Unplaced(**(values | changes))


def judged(judge: FloorJudge, stature: Stature, first: int, count: int, plane=LEVEL, **who) -> None:
    for image in range(first, first + count):
        person = standing(image=image, **who)
        clue = Feet().clue(person, plane, 0.0)
        assert clue is not None
        judge.judge(person, clue, plane, stature)


@pytest.mark.parametrize("scale", [0.7, 1.0, 1.4])
def test_standing_feet_give_the_scale(scale):
    clue = Feet().clue(standing(scale=scale), LEVEL, 0.0)
    assert clue is not None
    assert clue.log_scale == pytest.approx(math.log(scale), abs=1e-6)
    assert 0.02 < clue.sigma < 0.06


def test_a_floor_seen_edge_on_and_an_unsure_height_say_less():
    sure = Feet().clue(standing(), LEVEL, 0.0)
    doubtful = Feet().clue(standing(), LEVEL, 0.1)
    low = GroundPlane(LEVEL.normal, 0.3)
    person = standing(joints=standing().joints - [0.0, 0.9, 0.0])
    grazing = Feet().clue(person, low, 0.0)
    assert sure and doubtful and grazing
    assert doubtful.sigma > 0.1 and grazing.sigma > 3 * sure.sigma
    person = standing(joints=standing().joints - [0.0, 1.15, 0.0])
    assert Feet().clue(person, GroundPlane(LEVEL.normal, 0.05), 0.0) is None


def test_feet_in_the_air_unseen_or_moving_say_nothing():
    assert Feet().clue(standing(contact=np.full(4, 0.3)), LEVEL, 0.0) is None
    assert Feet().clue(standing(observed=np.zeros(22, bool)), LEVEL, 0.0) is None
    feet = Feet()
    assert feet.clue(standing(), LEVEL, 0.0) is not None
    moved = standing(image=1, joints=standing().joints + np.array([0.1, 0.0, 0.1]))
    assert feet.clue(moved, LEVEL, 0.0) is None


@pytest.mark.parametrize("part", ["left_knee", "right_foot", "head"])
def test_nobody_is_below_the_floor(part):
    """Nobody stands; a joint that is seen below the floor brings the person nearer."""
    index = JOINT_NAMES.index(part)
    joints = standing().joints
    joints[FEET, 1] -= 0.2
    lifted = {"contact": np.zeros(4)}
    assert Feet().clue(standing(joints=joints, **lifted), LEVEL, 0.0) is None
    joints[index, 1] = 1.5
    person = standing(joints=joints, **lifted)
    clue = Feet().clue(person, LEVEL, 0.0)
    assert clue is not None
    height_m = 0.027 + SHOES_M if part == "right_foot" else 0.04
    nearer = math.log(1.2 / (1.5 + height_m))
    assert clue.log_scale == pytest.approx(nearer + clue.sigma, abs=1e-6)
    assert nearer < clue.log_scale < 0.0
    observed = np.ones(22, bool)
    observed[index] = False
    assert Feet().clue(standing(joints=joints, observed=observed, **lifted), LEVEL, 0.0) is None


def test_a_floor_that_holds_is_not_doubted():
    judge = FloorJudge()
    for stature_m in (0.95, 1.2, 2.1):
        judged(judge := FloorJudge(), Stature(), 0, 150, stature_m=stature_m)
        assert not judge.reason and not judge.suspicious


@pytest.mark.parametrize("height_m", [0.4, 2.6])
def test_the_floor_of_another_camera_makes_giants_or_dwarfs(height_m):
    judge = FloorJudge()
    judged(judge, Stature(), 0, 60, GroundPlane(LEVEL.normal, height_m))
    assert "it would make them" in judge.reason


def test_a_tilted_floor_makes_people_lean():
    turn = Rotation.from_euler("z", 40, degrees=True)
    plane = GroundPlane(turn.apply(LEVEL.normal), 1.2)
    judge = FloorJudge()
    for image in range(60):
        person = standing(image=image)
        judge.judge(person, Feet().clue(person, plane, 0.0), plane, Stature())
    assert "lean by 40 degrees" in judge.reason


def pitched(pitch_deg: float) -> Unplaced:
    """Somebody who stands upright 3 m before a camera 1.2 m up that looks down."""
    down = Rotation.from_euler("x", pitch_deg, degrees=True)
    return standing(joints=down.apply(standing().joints))


def seated(person: Unplaced) -> Unplaced:
    """The same feet, and a trunk that says nothing of the upright."""
    joints = person.joints.copy()
    neck = JOINT_NAMES.index("neck")
    joints[neck] = joints[FEET].mean(axis=0)
    joints[neck, 1] -= 0.8
    return replace(person, joints=joints)


@pytest.mark.parametrize(
    ("plane", "seat", "words"),
    [
        (GroundPlane.below_camera(1.2, -30.0), False, "lean by 60 degrees"),
        (GroundPlane.below_camera(1.2, -30.0), True, "above the camera"),
        (GroundPlane(-GroundPlane.below_camera(1.2, 30.0).normal, 1.2), False, "lean by 180"),
        (GroundPlane(-GroundPlane.below_camera(1.2, 30.0).normal, 1.2), True, "above the camera"),
    ],
)
def test_a_floor_that_gives_no_clue_is_judged_all_the_same(plane, seat, words):
    """A pitch of the wrong sign and a flipped normal: no foot is below the camera by this floor."""
    judge = FloorJudge()
    for image in range(60):
        person = replace(pitched(30.0), stamp_ns=image * 33_333_333)
        person = seated(person) if seat else person
        assert Feet().clue(person, plane, 0.0) is None
        judge.judge(person, None, plane, Stature())
    assert words in judge.reason


def test_a_network_that_believes_a_wrong_floor_makes_giants():
    """Their feet need not stand. Without the floor the network's size says nothing about it."""
    told, untold, tall = FloorJudge(), FloorJudge(), FloorJudge()
    for image in range(60):
        giant = standing(2.19, image=image)
        told.judge(giant, None, LEVEL, Stature(), floor_input=True)
        untold.judge(giant, None, LEVEL, Stature())
        tall.judge(standing(2.05, image=image), None, LEVEL, Stature(), floor_input=True)
    assert told.reason == "it would make them 2.19 m tall"
    assert not untold.reason and not tall.reason


def test_somebody_who_falls_is_no_sign_of_a_wrong_floor():
    """First on their way down, then straight on the floor, placed wrong by the network."""
    judge, stature = FloorJudge(), Stature()
    for _ in range(300):
        stature.learn(math.log(1.7), 0.04, 1 / 30)
    judged(judge, stature, 0, 120)
    neck = JOINT_NAMES.index("neck")
    for image in range(120, 400):
        person = standing(image=image)
        angle = math.radians(min(90.0, 3.0 * (image - 120)))
        feet = person.joints[FEET].mean(axis=0)
        joints = person.joints.copy()
        joints[neck] = feet + 1.4 * np.array([math.sin(angle), -math.cos(angle), 0.0])
        fallen = replace(person, joints=(1.0 - 0.3 * math.sin(angle)) * joints)
        judge.judge(fallen, Feet().clue(fallen, LEVEL, 0.0), LEVEL, stature)
        assert not judge.reason, image


def test_a_bow_does_not_make_a_tilted_floor_hold():
    """Of a floor that is tilted by 40 degrees, on which somebody bows for 2 s."""
    turn = Rotation.from_euler("x", 40, degrees=True)
    judge, plane = FloorJudge(), GroundPlane(turn.apply(LEVEL.normal), 1.2)
    for image in range(240):
        person = standing(image=image)
        if 60 <= image < 120:
            feet = person.joints[FEET].mean(axis=0)
            joints = turn.apply(person.joints - feet) + feet
            person = replace(person, joints=joints)
        judge.judge(person, None, plane, Stature())
    assert "lean by 40 degrees" in judge.reason


def test_somebody_who_lies_there_from_the_start_is_none_either():
    judge = FloorJudge()
    joints = standing().joints
    joints[JOINT_NAMES.index("neck")] = joints[FEET].mean(axis=0) + np.array([1.4, -0.1, 0.0])
    for image in range(90):
        person = standing(image=image, joints=joints)
        judge.judge(person, Feet().clue(person, LEVEL, 0.0), LEVEL, Stature())
    assert not judge.reason


def test_feet_in_the_air_before_a_low_camera_are_no_sign_of_a_wrong_floor():
    """Somebody sits on a table and dangles their legs, 0.4 m above a robot's camera."""
    joints = standing().joints
    joints[:, 1] -= 1.2 + 0.4
    judge, low = FloorJudge(), GroundPlane(LEVEL.normal, 0.1)
    for image in range(90):
        person = standing(image=image, joints=joints, contact=np.full(4, 0.2))
        judge.judge(seated(person), Feet().clue(person, low, 0.0), low, Stature())
    assert not judge.reason


def test_somebody_who_climbs_a_step_grows_and_the_floor_is_ignored_until_they_are_down():
    judge, stature = FloorJudge(), Stature()
    for _ in range(300):
        stature.learn(math.log(1.7), 0.04, 1 / 30)
    judged(judge, stature, 0, 60)
    assert not judge.reason
    judged(judge, stature, 60, 30, step_m=0.2)
    assert judge.suspicious and not judge.reason, "a moment is not enough"
    judged(judge, stature, 90, 50, step_m=0.2)
    assert "known as 1.70 m" in judge.reason
    judged(judge, stature, 140, 120)
    assert not judge.reason


def test_a_stature_that_was_set_is_blamed_with_the_floor_and_alone_if_depth_agrees_with_the_floor():
    """An adult on a floor that holds was set to be 1.10 m tall."""
    judge, stature = FloorJudge(), Stature()
    stature.give(1.1)
    judged(judge, stature, 0, 60)
    assert "1.70 m tall, given as 1.10 m" in judge.reason
    for _ in range(100):
        stature.compare(math.log(1.7), 0.02, 1 / 30)
    judged(judge, stature, 60, 90)
    assert not judge.reason


def test_a_learned_stature_that_the_floor_contradicts_for_long_is_given_up():
    judge, stature = FloorJudge(), Stature()
    for _ in range(300):
        stature.learn(math.log(2.0), 0.04, 1 / 30)  # learned on a step
    judged(judge, stature, 0, 30 * 20)
    assert judge.reason and not judge.outlasted
    image = 600
    while not judge.outlasted:
        judged(judge, stature, image, 1)
        image += 1
    assert 30 * 30 < image < 30 * 34
