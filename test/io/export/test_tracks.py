"""Holes, frame rates and resampling of recorded people."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from moro_ros.errors import DataError
from moro_ros.io.export.axes import axes
from moro_ros.io.export.bvh import local_angles
from moro_ros.io.export.gltf import quaternions
from moro_ros.io.export.tracks import (
    Track,
    interpolated,
    rate_of,
    read_tracks,
    resample,
    without_holes,
)
from moro_ros.io.recording import EXTRAPOLATED, MotionRecording

PATH = Path("walk.npz")


def turning(times: list[float], speed: float = 2.0) -> Track:
    """A person who turns about y at a constant speed [rad/s] and moves along x at 1 m/s."""
    at = np.array(times)
    pose = np.zeros((len(at), 22, 3))
    pose[:, 0, 1] = speed * at
    joints = np.zeros((len(at), 22, 3))
    joints[..., 0] = at[:, None]
    ones = np.ones((len(at), 22))
    return Track(3, at, pose, joints, np.zeros(10), ones, np.zeros((len(at), 22), np.uint8))


def stamped(seconds: list[float]) -> MotionRecording:
    recording = MotionRecording()
    recording.stamps_ns = [round(1e9 * time) for time in seconds]
    return recording


def test_uneven_images_become_an_even_rate():
    random = np.random.default_rng(0)
    times = [k / 30 + 0.006 * random.random() for k in range(60)]
    even = resample(turning(times), 30.0)
    assert interpolated(turning(times), even, 30.0) > 40
    assert np.diff(even.times_s) == pytest.approx(np.full(len(even.times_s) - 1, 1 / 30))
    # Beyond the first and the last image the nearest one is held, for less than a frame.
    inside = (even.times_s > times[0]) & (even.times_s < times[-1])
    assert inside.sum() >= len(times) - 2
    assert even.joints[inside, 5, 0] == pytest.approx(even.times_s[inside])
    turns = Rotation.from_rotvec(even.pose[inside, 0]) * Rotation.from_rotvec(
        [[0, -2.0 * time, 0] for time in even.times_s[inside]]
    )
    assert turns.magnitude() == pytest.approx(np.zeros(inside.sum()), abs=1e-6)


def test_frames_on_the_rate_are_kept_as_they_are():
    times = [2 / 30, 3 / 30, 4 / 30]
    even = resample(turning(times), 30.0)
    assert even.times_s == pytest.approx(times)
    assert even.joints == pytest.approx(turning(times).joints)
    assert interpolated(turning(times), even, 30.0) == 0


def test_frames_that_were_not_recorded_are_counted():
    track = turning([0.0, 1 / 30, 4 / 30, 5 / 30])
    assert interpolated(track, resample(track, 30.0), 30.0) == 2
    assert interpolated(track, resample(track, 60.0), 60.0) == 7
    one = turning([0.2])
    assert interpolated(one, resample(one, 30.0), 30.0) == 0


@pytest.mark.parametrize("rate", [12.5, 30.0, 120.0])
def test_another_rate_keeps_the_motion(rate):
    even = resample(turning([k / 30 for k in range(31)]), rate)
    assert len(even.times_s) == round(rate) + 1 or rate == 12.5
    assert even.joints[:, 0, 0] == pytest.approx(even.times_s, abs=1 / 30)
    inside = even.times_s <= 1.0
    assert even.joints[inside, 0, 0] == pytest.approx(even.times_s[inside])


def test_one_frame_is_a_track():
    even = resample(turning([0.401]), 30.0)
    assert even.times_s == pytest.approx([0.4])
    assert even.joints.shape == (1, 22, 3)


def test_states_are_those_of_the_nearest_image():
    track = turning([0.0, 0.1])
    track = replace(track, state=np.repeat([[0], [EXTRAPOLATED]], 22, 1).astype(np.uint8))
    assert resample(track, 40.0).state[:, 0].tolist() == [0, 0, 2, 2, 2]


def test_a_long_hole_splits_a_track_and_a_short_one_does_not():
    track = turning([0.0, 0.1, 0.55, 1.2, 1.3])
    assert [part.times_s.tolist() for part in without_holes(track, 10.0)] == [
        [0.0, 0.1, 0.55],
        [1.2, 1.3],
    ]
    assert len(without_holes(track, 10.0, max_gap_s=1.0)) == 1
    assert len(without_holes(track, 10.0, max_gap_s=0.0)) == 3


def test_the_images_of_a_slow_camera_are_no_holes():
    assert len(without_holes(turning([0.0, 1.0, 2.0, 3.0]), 1.0)) == 1


def test_dropped_images_do_not_change_the_rate():
    times = [k / 29.97 for k in range(90) if k % 4 != 2]
    assert rate_of(stamped(times), PATH) == 29.97
    assert rate_of(stamped([5.0]), PATH) == 30.0


def test_a_time_lapse_has_its_own_rate():
    assert rate_of(stamped([0.0, 30.0, 60.0]), PATH) == 0.0333333


@pytest.mark.parametrize("times", [[0.0, 0.0], [0.0, 120.0], [0.0, 1e-8]])
def test_times_of_no_camera_are_refused(times):
    with pytest.raises(DataError, match=r"walk\.npz .* stamps"):
        rate_of(stamped(times), PATH)


@pytest.mark.parametrize("field", ["joints", "body_pose", "stamps_ns"])
def test_damaged_values_are_refused(recorded, field):
    recording = MotionRecording()
    for row in recorded.recording.people()[9]:
        row[field] = np.nan if field != "stamps_ns" else 5
        recording.add(9, row)
    with pytest.raises(DataError, match=r"walk\.npz is damaged: .*person 9"):
        read_tracks(recording, PATH, (), axes("y"))


def test_angles_and_quaternions_of_a_person_who_turns_have_no_jumps():
    track = turning([k / 30 for k in range(200)], speed=5.0)
    # As recorded: rotation vectors are shorter than half a turn.
    pose = Rotation.from_rotvec(track.pose.reshape(-1, 3)).as_rotvec().reshape(-1, 22, 3)
    for up in "yz":
        frame, upright = axes(up), pose.copy()
        turns = Rotation.from_matrix(frame.from_body) * Rotation.from_rotvec(pose[:, 0])
        upright[:, 0] = turns.as_rotvec()
        angles = local_angles(upright, frame)
        assert np.ptp(angles[:, 0]) > 360.0
        assert np.abs(np.diff(angles, axis=0)).max() < 10.0
    assert np.abs(np.diff(quaternions(pose), axis=0)).max() < 0.1
