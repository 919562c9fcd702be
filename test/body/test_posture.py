"""Posture and gesture on synthetic bodies, whichever way they face and however tall they are."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from moro_ros.body.posture import (
    CAMERA_UP,
    TOLD_NS,
    Behaviour,
    FallDetector,
    Gesture,
    Posture,
    gesture_of,
    posture_of,
)
from moro_ros.body.topology import JOINT_NAMES

AT = {name: index for index, name in enumerate(JOINT_NAMES)}
# Facing the camera, upright.
FACING = Rotation.from_rotvec([np.pi, 0.0, 0.0])
FRAME_NS = 33_333_333


def body(lean: float = 0.0, hips: float = 0.0, knees: float = 0.0, **joints) -> np.ndarray:
    """A pose with hanging arms: lean of the trunk, bend of hips and knees, rad."""
    pose = np.zeros((22, 3))
    pose[0] = (FACING * Rotation.from_rotvec([lean, 0.0, 0.0])).as_rotvec()
    for side, sign in (("left", 1.0), ("right", -1.0)):
        pose[AT[f"{side}_shoulder"]] = 0.0, 0.0, -1.3 * sign
        pose[AT[f"{side}_hip"]] = -hips, 0.0, 0.0
        pose[AT[f"{side}_knee"]] = knees, 0.0, 0.0
    for name, vector in joints.items():
        pose[AT[name]] = vector
    return pose


def lying(turn: str, degrees: float, **bends) -> np.ndarray:
    pose = body(**bends)
    pose[0] = (Rotation.from_euler(turn, degrees, degrees=True) * FACING).as_rotvec()
    return pose


POSES = {
    "upright": (body(), Posture.STANDING),
    "arms out": (body(left_shoulder=(0, 0, 0), right_shoulder=(0, 0, 0)), Posture.STANDING),
    "leaning a little": (body(lean=0.35, hips=0.35), Posture.STANDING),
    "in stride": (body(left_hip=(-0.4, 0, 0), right_hip=(0.4, 0, 0)), Posture.STANDING),
    "running": (body(lean=0.2, left_hip=(-1.2, 0, 0), left_knee=(1.9, 0, 0)), Posture.STANDING),
    "on a chair": (body(hips=1.5, knees=1.5), Posture.SITTING),
    "leaning back on a chair": (body(lean=-0.4, hips=1.2, knees=1.4), Posture.SITTING),
    "leaning over a table": (body(lean=0.4, hips=1.9, knees=1.5), Posture.SITTING),
    "feet under the chair": (body(hips=1.5, knees=1.9), Posture.SITTING),
    "legs out on the floor": (body(hips=1.5), Posture.SITTING),
    "deep crouch": (body(lean=0.6, hips=2.4, knees=2.4), Posture.CROUCHING),
    "half crouch": (body(lean=0.6, hips=1.9, knees=1.75), Posture.CROUCHING),
    "on the back": (lying("x", -90), Posture.LAYING),
    "face down": (lying("x", 90), Posture.LAYING),
    "on the side": (lying("z", 90), Posture.LAYING),
    "on the back, knees up": (lying("x", -90, hips=0.8, knees=1.6), Posture.LAYING),
    "bent down to the floor": (body(lean=1.4, hips=1.4), Posture.OTHER),
    "on the knees": (body(knees=1.57), Posture.OTHER),
}


@pytest.mark.parametrize("name", POSES)
@pytest.mark.parametrize("heading", [0.0, -2.0])
@pytest.mark.parametrize("size", [-2.0, 2.0])
def test_postures(posed, name, heading, size):
    pose, expected = POSES[name]
    turned = pose.copy()
    # About the vertical, which is the camera's y axis.
    turned[0] = (Rotation.from_rotvec([0, heading, 0]) * Rotation.from_rotvec(pose[0])).as_rotvec()
    motion = posed(turned, betas=np.array([size] + [0.0] * 9))
    assert posture_of(motion.joints[0].astype(float)) == expected


@pytest.mark.parametrize("name", ["arms out", "on a chair", "face down"])
def test_without_a_seen_leg_only_lying_is_known(posed, name):
    """Hidden legs are inferred as straight."""
    pose, expected = POSES[name]
    joints, seen = posed(pose).joints[0].astype(float), np.ones(22, bool)
    for part in ("knee", "ankle"):
        seen[[AT[f"left_{part}"], AT[f"right_{part}"]]] = False
    hidden = expected if expected == Posture.LAYING else Posture.OTHER
    assert posture_of(joints, observed=seen) == hidden
    seen[AT["left_knee"]] = True
    assert posture_of(joints, observed=seen) == expected


def test_sitting_cross_legged():
    """Hips on the floor with the ankles in front of them, height against up = -y."""
    joints = np.zeros((22, 3))
    for side, sign in (("left", 1.0), ("right", -1.0)):
        joints[AT[f"{side}_hip"]] = 0.1 * sign, -0.1, 0.0
        joints[AT[f"{side}_knee"]] = 0.4 * sign, -0.15, -0.25
        joints[AT[f"{side}_ankle"]] = -0.05 * sign, -0.08, -0.28
    joints[AT["pelvis"]], joints[AT["neck"]] = (0.0, -0.14, 0.0), (0.0, -0.65, 0.0)
    assert posture_of(joints) == Posture.SITTING


@pytest.mark.parametrize("tilt", [0.6, -0.5])
def test_a_tilted_camera_that_knows_what_is_up(posed, tilt):
    turn = Rotation.from_rotvec([tilt, 0.3, 0.2])
    for pose, expected in POSES.values():
        joints = posed(pose).joints[0].astype(float)
        assert posture_of(turn.apply(joints), turn.apply(CAMERA_UP)) == expected


def hands(posed, left=None, right=None) -> tuple[np.ndarray, np.ndarray]:
    """A standing person whose wrists are brought to places relative to the head, m.

    Places: to the person's left, up, to the front; an arm that is not named hangs.
    """
    motion = posed(body())
    joints, head = motion.joints[0].astype(float), motion.joint_rotations[0, AT["head"]]
    for side, place in (("left", left), ("right", right)):
        if place is not None:
            wrist = joints[AT["head"]] + FACING.apply(place)
            joints[AT[f"{side}_wrist"]] = wrist
            joints[AT[f"{side}_elbow"]] = wrist + FACING.apply([0.0, -0.23, 0.0])
    return joints, head.astype(float)


GESTURES = {
    "hanging arms": ({}, Gesture.OTHER),
    "one hand before the chest": ({"right": (-0.1, -0.35, 0.3)}, Gesture.OTHER),
    "reaching forward": ({"left": (0.2, -0.2, 0.5)}, Gesture.OTHER),
    "left hand up": ({"left": (0.3, 0.35, 0.0)}, Gesture.LEFT_HAND_RAISED),
    "right forearm up": ({"right": (-0.45, 0.03, 0.05)}, Gesture.RIGHT_HAND_RAISED),
    "both up": ({"left": (0.3, 0.4, 0.0), "right": (-0.3, 0.4, 0.0)}, Gesture.BOTH_HANDS_RAISED),
    "chin on one hand": ({"right": (-0.05, -0.05, 0.15)}, Gesture.HANDS_ON_FACE),
    "hands over the eyes": (
        {"left": (0.06, 0.0, 0.2), "right": (-0.06, 0.0, 0.2)},
        Gesture.HANDS_ON_FACE,
    ),
    "crossed": ({"left": (-0.12, -0.4, 0.2), "right": (0.12, -0.38, 0.22)}, Gesture.ARMS_CROSSED),
    "hands side by side": ({"left": (0.1, -0.4, 0.3), "right": (-0.1, -0.4, 0.3)}, Gesture.OTHER),
    "one on the face, one up": (
        {"left": (0.05, -0.05, 0.15), "right": (-0.3, 0.4, 0.0)},
        Gesture.RIGHT_HAND_RAISED,
    ),
}


@pytest.mark.parametrize("name", GESTURES)
@pytest.mark.parametrize("turn", [[0.0, 0.0, 0.0], [0.0, 2.0, 0.0], [1.2, 0.0, 0.4]])
def test_gestures_wherever_the_person_faces(posed, name, turn):
    places, expected = GESTURES[name]
    joints, head = hands(posed, **places)
    rotation = Rotation.from_rotvec(turn)
    assert gesture_of(rotation.apply(joints), rotation.as_matrix() @ head) == expected


def wave(posed, amplitude: float, hertz: float, seconds: float = 2.5) -> list[Gesture]:
    """What is told of a raised right forearm that swings to either side, rad."""
    behaviour, told = Behaviour(), []
    for index in range(round(seconds * 30)):
        angle = amplitude * np.sin(2 * np.pi * hertz * index / 30)
        # Arm down to the side, elbow bent so that the forearm points up.
        upper = Rotation.from_rotvec([0.0, 0.0, 0.8])
        forearm = Rotation.from_rotvec([0.0, 0.0, -np.pi / 2 - 0.8 + angle])
        pose = body(right_shoulder=upper.as_rotvec(), right_elbow=forearm.as_rotvec())
        told.append(behaviour.update(posed(pose, stamp_ns=index * FRAME_NS))[1])
    return told


def test_waving_is_told_after_a_few_swings(posed):
    told = wave(posed, amplitude=0.4, hertz=1.5)
    assert Gesture.WAVING not in told[:15]
    assert set(told[-15:]) == {Gesture.WAVING}


@pytest.mark.parametrize(("amplitude", "hertz"), [(0.0, 1.0), (0.05, 1.5), (0.5, 0.1)])
def test_a_hand_that_is_still_or_drifts_does_not_wave(posed, amplitude, hertz):
    assert Gesture.WAVING not in wave(posed, amplitude, hertz)


def test_waving_ends_with_the_hand_down(posed):
    behaviour = Behaviour()
    for index in range(75):
        angle = 0.4 * np.sin(2 * np.pi * 1.5 * index / 30)
        pose = body(right_shoulder=(0, 0, 0.8), right_elbow=(0, 0, -np.pi / 2 - 0.8 + angle))
        behaviour.update(posed(pose, stamp_ns=index * FRAME_NS))
    assert behaviour.gesture == Gesture.WAVING
    assert behaviour.update(posed(body(), stamp_ns=75 * FRAME_NS))[1] == Gesture.OTHER


def test_a_posture_is_told_once_it_lasts(posed):
    behaviour = Behaviour()
    standing, sitting = body(), body(hips=1.5, knees=1.5)
    assert behaviour.update(posed(standing))[0] == Posture.STANDING  # the first at once
    assert behaviour.update(posed(sitting, stamp_ns=FRAME_NS))[0] == Posture.STANDING
    assert behaviour.update(posed(standing, stamp_ns=2 * FRAME_NS))[0] == Posture.STANDING
    told = [behaviour.update(posed(sitting, stamp_ns=i * FRAME_NS))[0] for i in range(3, 20)]
    change = told.index(Posture.SITTING)
    assert 8 <= change <= 10  # 0.3 s
    assert set(told[change:]) == {Posture.SITTING}


def test_a_stamp_of_the_past_begins_anew(posed):
    behaviour = Behaviour()
    behaviour.update(posed(body(), stamp_ns=10**9))
    sitting = posed(body(hips=1.5, knees=1.5), stamp_ns=0)
    assert behaviour.update(sitting)[0] == Posture.SITTING


STAND, SIT, LIE = Posture.STANDING, Posture.SITTING, Posture.LAYING
# Times [s], heights of the pelvis [m] at them, and the posture from each on.
MOTIONS = {
    "a fall": ([0, 1, 1.5, 4], [0.95, 0.95, 0.15, 0.15], [STAND, Posture.OTHER, LIE, LIE], True),
    "a fall from a chair": ([0, 1, 1.3, 4], [0.5, 0.5, 0.12, 0.12], [SIT, SIT, LIE, LIE], True),
    "sitting down": ([0, 1, 1.8, 4], [0.95, 0.95, 0.5, 0.5], [STAND, STAND, SIT, SIT], False),
    "a drop onto a chair": ([0, 1, 1.3, 4], [0.95, 0.95, 0.5, 0.5], [STAND, SIT, SIT, SIT], False),
    "lying down slowly": ([0, 1, 4, 6], [0.95, 0.95, 0.15, 0.15], [STAND, SIT, LIE, LIE], False),
    "a drop onto a bed": ([0, 1, 1.3, 4], [0.95, 0.95, 0.55, 0.55], [STAND, LIE, LIE, LIE], False),
    "a jump": ([0, 1, 1.3, 1.6, 4], [0.95, 0.9, 1.4, 0.9, 0.95], [STAND] * 5, False),
    "a dive to a squat, later lying": (
        [0, 1, 1.4, 4, 6], [0.95, 0.95, 0.3, 0.3, 0.15], [STAND, STAND, SIT, LIE, LIE], False,
    ),
    "another person's place": (
        [0, 1, 1.02, 4], [0.95, 0.95, 0.15, 0.15], [STAND, LIE, LIE, LIE], False,
    ),
}  # fmt: skip


def followed(times, heights, postures, fps, noise=0.01, lasting=0.0):
    """The detector's answer for every image."""
    detector, random = FallDetector(), np.random.default_rng(0)
    found = []
    for now in np.arange(0.0, times[-1] + lasting, 1.0 / fps):
        height = float(np.interp(now, times, heights)) + random.normal(0.0, noise)
        at = max(i for i, since in enumerate(times) if since <= now + 1e-9)
        found.append(detector.update(height, postures[at], round(now * 1e9)))
    return np.array(found)


@pytest.mark.parametrize("name", MOTIONS)
@pytest.mark.parametrize("fps", [10.0, 30.0, 60.0])
def test_only_falls_are_told(name, fps):
    times, heights, postures, falls = MOTIONS[name]
    assert followed(times, heights, postures, fps).any() == falls


def test_a_fall_is_told_once_and_for_a_while():
    times, heights, postures, _ = MOTIONS["a fall"]
    told = np.flatnonzero(followed(times, heights, postures, 30.0, lasting=6.0))
    assert (np.diff(told) == 1).all()
    assert len(told) == pytest.approx(TOLD_NS * 1e-9 * 30.0, abs=1)
    assert 1.5 <= told[0] / 30.0 < 1.6


def test_who_gets_up_has_no_longer_fallen():
    times, heights, postures, _ = MOTIONS["a fall"]
    up = followed([*times[:3], 2.5, 3.5, 5], [*heights[:3], 0.15, 0.9, 0.9],
                  [*postures[:3], STAND, STAND, STAND], 30.0)  # fmt: skip
    assert up[60] and not up[80:].any()


def test_a_pause_of_the_images_or_a_jump_back_is_no_fall():
    detector = FallDetector()
    detector.update(0.95, STAND, 10_000_000_000)
    assert not detector.update(0.15, LIE, 11_000_000_000)  # nobody saw how
    for stamp_ns in range(5_000_000_000, 6_000_000_000, 33_000_000):  # a bag begins anew
        assert not detector.update(0.15, LIE, stamp_ns)
