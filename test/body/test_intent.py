"""Signs of intent, on scripted motion: what is meant is reported, what looks alike is not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from moro_ros.body.intent import UNSEEN, Hands, Intent, IntentTracker, Transition
from moro_ros.body.topology import JOINT_NAMES

AT = {name: index for index, name in enumerate(JOINT_NAMES)}
UP = np.array([0.0, -1.0, 0.0])
FPS = 30
# Facing the camera, upright, as fake_node has it.
FACING = np.array([math.pi, 0.0, 0.0])
ROBOT = np.zeros(3)
# In the frame of a hand, as the T-pose has it with the palms down.
PALM_AXIS = np.array([0.0, -1.0, 0.0])


@pytest.fixture
def play(posed: Callable[..., Any]) -> Callable[..., list[Intent]]:
    """play(pose, pelvis, seconds): poses and places as functions of the time; the signs of each."""

    def run(
        pose: Callable[[float], np.ndarray],
        pelvis: Callable[[float], tuple[float, float, float]],
        seconds: float = 2.0,
        target: np.ndarray | None = ROBOT,
        robot: np.ndarray | None = ROBOT,
        palms_seen: bool = True,
    ) -> list[Intent]:
        tracker, before, signs = IntentTracker(), None, []
        for frame in range(int(seconds * FPS)):
            t = frame / FPS
            motion = posed(pose(t), pelvis(t), stamp_ns=round(t * 1e9))
            if before is not None:
                motion = replace(motion, velocity=(motion.joints - before) * FPS)
            before = motion.joints
            wrists = motion.joint_rotations[0, [AT["left_wrist"], AT["right_wrist"]]].astype(float)
            palms = tuple(wrists @ PALM_AXIS) if palms_seen else UNSEEN
            signs.append(tracker.update(motion, robot, target, UP, palms))
        return signs

    return run


def standing(_: float = 0.0) -> np.ndarray:
    """Upright, facing the camera, arms hanging."""
    pose = np.zeros((22, 3))
    pose[0] = FACING
    pose[AT["left_shoulder"], 2], pose[AT["right_shoulder"], 2] = -1.3, 1.3
    return pose


def still(_: float) -> tuple[float, float, float]:
    return 0.0, 0.0, 3.0


def ever(signs: list[Intent], name: str) -> bool:
    return any(bool(getattr(sign, name)) for sign in signs)


def test_nothing_is_reported_of_somebody_who_stands_and_looks_away(play: Any) -> None:
    def turned_away(t: float) -> np.ndarray:
        pose = standing()
        pose[0] = [0.0, 0.0, math.pi]  # the back to the camera, upright
        return pose

    signs = play(turned_away, still)
    for name in ("approaching", "reaching", "attention", "handover", "transition"):
        assert not ever(signs, name), name
    assert signs[-1].attention_rad > 2.0
    assert signs[-1].closing_mps == pytest.approx(0.0, abs=1e-3)


def test_walking_up_is_an_approach_and_walking_by_is_not(play: Any) -> None:
    toward = play(standing, lambda t: (0.3, 0.0, 4.0 - t))
    assert toward[-1].approaching and not toward[2].approaching, "once it lasts"
    assert toward[-1].closing_mps == pytest.approx(1.0, abs=0.02)
    assert not ever(play(standing, lambda t: (-1.5 + t, 0.0, 3.0)), "approaching")
    # Past the robot at 1.5 m: nearer at every moment, but not to it.
    assert not ever(play(standing, lambda t: (1.5, 0.0, 5.0 - t)), "approaching")
    away = play(standing, lambda t: (0.0, 0.0, 2.0 + t))
    assert not ever(away, "approaching") and away[-1].closing_mps < -0.9


def test_a_hand_that_goes_to_the_target_reaches(play: Any) -> None:
    def arm(t: float) -> np.ndarray:
        pose = standing()
        # From hanging to the front, which is to the camera.
        pose[AT["left_shoulder"], 2] = -1.3 + min(t, 1.0) * 1.0
        pose[AT["left_shoulder"], 1] = -1.4 * min(t, 1.0)
        return pose

    target = np.array([0.15, -0.4, 2.0])
    signs = play(arm, still, target=target)
    assert any(sign.reaching == Hands.LEFT for sign in signs)
    assert not signs[-1].reaching, "the arm rests"
    assert min(sign.reach_m for sign in signs) < signs[0].reach_m - 0.2
    back = play(lambda t: arm(1.0 - t), still, 1.0, target=target)
    assert not ever(back, "reaching"), "it is drawn back"
    walk = play(standing, lambda t: (0.0, 0.0, 4.0 - t), target=target)
    assert not ever(walk, "reaching"), "hands come along with somebody who walks"


def test_attention_is_the_head_not_the_body(play: Any) -> None:
    def head_turned(t: float) -> np.ndarray:
        pose = standing()
        pose[AT["neck"], 1] = 1.2
        return pose

    assert play(standing, still)[-1].attention
    assert not ever(play(head_turned, still), "attention")


def offered(palm_up: bool) -> np.ndarray:
    """The left forearm to the front at the height of the chest."""
    pose = standing()
    pose[AT["left_shoulder"]] = [0.0, -1.3, 0.0]  # to the front
    if palm_up:
        pose[AT["left_wrist"]] = [math.pi, 0.0, 0.0]
    return pose


def test_an_open_hand_held_out_still_is_ready_for_a_handover(play: Any) -> None:
    signs = play(lambda t: offered(True), still)
    assert signs[-1].handover == Hands.LEFT and not signs[3].handover
    assert not ever(play(lambda t: offered(False), still), "handover"), "the palm is down"
    unseen = play(lambda t: offered(True), still, palms_seen=False)
    assert not ever(unseen, "handover"), "the palm is not seen"
    assert not ever(play(standing, still), "handover"), "the hands hang"

    def waving(t: float) -> np.ndarray:
        pose = offered(True)
        pose[AT["left_shoulder"], 1] += 0.4 * math.sin(6.0 * t)
        return pose

    assert not ever(play(waving, still), "handover"), "the hand moves"


def seated(share: float) -> np.ndarray:
    """From standing (0) to sitting (1)."""
    pose = standing()
    for side in ("left", "right"):
        pose[AT[f"{side}_hip"], 0], pose[AT[f"{side}_knee"], 0] = -1.5 * share, 1.5 * share
    return pose


def test_sitting_down_and_standing_up_are_told_apart(play: Any) -> None:
    def down(t: float) -> tuple[float, float, float]:
        return 0.0, 0.4 * min(t / 1.2, 1.0), 3.0

    signs = play(lambda t: seated(min(t / 1.2, 1.0)), down)
    found = {sign.transition for sign in signs}
    assert found == {Transition.NONE, Transition.SITTING_DOWN}
    assert signs[-1].transition == Transition.NONE, "it is over"
    up = play(lambda t: seated(1 - min(t / 1.2, 1.0)), lambda t: (0.0, 0.4 - down(t)[1], 3.0))
    assert {sign.transition for sign in up} == {Transition.NONE, Transition.STANDING_UP}


def test_a_drop_is_a_fall(play: Any) -> None:
    def drop(t: float) -> tuple[float, float, float]:
        return 0.0, min(0.8, 4.0 * max(t - 0.5, 0.0) ** 2), 3.0

    signs = play(lambda t: seated(min(max(t - 0.5, 0.0), 1.0)), drop)
    assert Transition.FALLING in {sign.transition for sign in signs}
    assert signs[-1].transition == Transition.NONE


def test_a_lift_of_the_camera_s_ground_is_no_fall(posed: Any) -> None:
    """The direction upwards changes when the ground becomes known."""
    tracker = IntentTracker()
    tilted = np.array([0.0, -math.cos(0.5), -math.sin(0.5)])
    for frame in range(40):
        up = UP if frame < 20 else tilted
        motion = posed(seated(1.0), still(0.0), stamp_ns=frame * 33_000_000)
        assert tracker.update(motion, ROBOT, ROBOT, up).transition == Transition.NONE


def test_a_corrected_distance_is_no_fall(posed: Any) -> None:
    """Nearer by 15 %, of a camera that is pitched down; such a leap comes without a velocity."""
    tracker = IntentTracker()
    up = np.array([0.0, -math.cos(0.5), -math.sin(0.5)])
    signs = []
    for frame in range(40):
        pelvis = (0.0, 0.4, 4.0) if frame < 20 else (0.0, 0.46, 4.6)
        motion = posed(standing(), pelvis, stamp_ns=round(frame * 1e9 / FPS))
        creeping = np.full_like(motion.velocity, 0.0 if frame == 20 else 1e-3)
        signs.append(tracker.update(replace(motion, velocity=creeping), None, None, up, UNSEEN))
    assert not ever(signs, "transition")


def test_a_gap_and_a_clock_that_jumps_begin_anew(posed: Any) -> None:
    tracker = IntentTracker()

    def at(seconds: float, height: float) -> Intent:
        motion = posed(standing(), (0.0, -height, 3.0), stamp_ns=round(seconds * 1e9))
        return tracker.update(motion, ROBOT, ROBOT, UP)

    for frame in range(20):
        sign = at(10.0 + frame / FPS, 1.0)
    assert sign.attention
    for seconds in (3.0, 60.0):
        sign = at(seconds, 0.0)
        assert not sign.attention and sign.transition == Transition.NONE


def test_what_refers_to_an_unknown_robot_is_unknown(play: Any) -> None:
    sign = play(standing, lambda t: (0.0, 0.0, 4.0 - t), robot=None, target=None)[-1]
    numbers = sign.closing_mps, sign.attention_rad, sign.reach_m
    assert all(math.isnan(number) for number in numbers)
    assert not (sign.approaching or sign.attention or sign.reaching)
