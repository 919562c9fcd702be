"""Depth images find their image by stamp: late, lost, at another rate, or of another camera."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from moro_ros.errors import DepthError
from moro_ros.geometry.depth_image import DepthImage
from moro_ros.live.depth_memory import (
    MISSED,
    UNMATCHED,
    UNSEEN,
    DepthMemory,
    DepthTrack,
)
from moro_ros.recover.depth_pose import DepthMeasurement
from moro_ros.recover.place import Clue, Unplaced
from moro_ros.recover.steady_pose import BodyPose
from moro_ros.types import Camera

MS = 1_000_000
CAMERA = Camera(np.array([[50.0, 0, 4], [0, 50.0, 3], [0, 0, 1]]), 8, 6)
POSE = BodyPose(torch.eye(3).expand(1, 22, 3, 3), torch.tensor([[0, 0, 3.0]]), torch.zeros(10))


class FakeMeter:
    """Answers with the depth image's first pixel as the scale, NaN for nothing."""

    def __init__(self) -> None:
        self.begun: list[float | None] = []
        self.posture: torch.Tensor | None = None

    def measure(self, posed, depth, near=None, bulk=0.0) -> DepthMeasurement | None:
        self.begun.append(near)
        value = float(depth.metres[0, 0])
        return None if np.isnan(value) else DepthMeasurement(Clue(value, 0.01), self.posture)


def depth(at_ms: float, value: float = 0.1) -> DepthImage:
    return DepthImage(np.full((6, 8), value, np.float32), CAMERA, round(at_ms * MS))


@pytest.fixture
def memory() -> DepthMemory:
    return DepthMemory(FakeMeter())  # type: ignore[arg-type]


def shown(memory: DepthMemory, track: DepthTrack, at_ms: float) -> list[tuple[Clue, int]]:
    """What is found when an image comes."""
    seen, stamp_ns = np.ones(22, bool), round(at_ms * MS)
    track.add(Unplaced(POSE, np.zeros((22, 3)), np.zeros(4), seen, False, stamp_ns, None, 1.7))
    return memory.clues(track, memory.image_came(stamp_ns))


@pytest.mark.parametrize("depth_hz", [6.0, 15.0, 30.0, 60.0])
def test_any_rate_is_used(memory, depth_hz):
    track, found, next_ms = DepthTrack(), 0, 5.0
    for image in range(60):
        while next_ms <= image * 1000 / 30:
            memory.offer(depth(next_ms))
            next_ms += 1000 / depth_hz
        found += len(shown(memory, track, image * 1000 / 30))
    assert found >= 0.9 * 2 * depth_hz - 1 and not memory.problems


def test_late_depth_is_compared_with_the_pose_of_its_time(memory):
    track = DepthTrack()
    for image in range(20):
        at_ms = image * 33
        if image >= 10:
            memory.offer(depth(at_ms - 330))  # ten images late
        for clue, stamp_ns in shown(memory, track, at_ms):
            assert stamp_ns == (at_ms - 330) * MS and clue.sigma == pytest.approx(0.01)
    assert memory.used == 10


def test_depth_ahead_of_its_image_waits_for_it(memory):
    track = DepthTrack()
    memory.offer(depth(200))
    assert not shown(memory, track, 100) and not shown(memory, track, 133)
    assert len(shown(memory, track, 200)) == 1
    assert not shown(memory, track, 233), "and counts once"


@pytest.mark.parametrize("look_ahead", [1, 4, 10, 60])
def test_with_an_output_delay_each_image_is_compared_with_its_own_depth(look_ahead):
    """Depth images come with their image, whose people are described look_ahead images later."""
    memory = DepthMemory(FakeMeter(), lag_s=look_ahead / 30)  # type: ignore[arg-type]
    track = DepthTrack()
    for image in range(look_ahead, look_ahead + 90):
        memory.offer(depth(image * 33))
        for clue, stamp_ns in shown(memory, track, (image - look_ahead) * 33):
            own = stamp_ns == (image - look_ahead) * 33 * MS
            first = not memory._meter.begun[1:]  # the interval between images is not known yet
            assert (own and clue.sigma == pytest.approx(0.01)) or first
    assert memory.used >= 90 - look_ahead - 1 and not memory.problems


def test_depth_images_that_wait_too_long_are_dropped_and_named(memory):
    """The people of an image are described only 0.8 s later, without an output delay."""
    track = DepthTrack()
    for image in range(MISSED + 24):
        assert "late" not in memory.problems
        memory.offer(depth(image * 33))
        if image >= 24:
            assert not shown(memory, track, (image - 24) * 33)
    assert len(memory._waiting) < 20, "they do not fill the memory"
    assert "wait for 0.5 s" in memory.problems["late"]
    shown(memory, track, image * 33)
    assert not memory.problems


def test_depth_images_without_people_are_dropped_without_a_problem(memory):
    for image in range(300):
        memory.offer(depth(image * 33))
    assert len(memory._waiting) < 20
    track = DepthTrack()
    for image in range(300, 400):
        memory.offer(depth(image * 33))
        assert shown(memory, track, image * 33)
    assert not memory.problems


def test_after_stamps_went_back_depth_images_are_used_again(memory):
    track = DepthTrack()
    memory.offer(depth(60_000))
    for image in range(MISSED + 5):
        memory.offer(depth(image * 33))
        assert shown(memory, track, image * 33) and not memory.problems


def test_stamps_that_lie_apart_are_less_sure(memory):
    track = DepthTrack()
    memory.offer(depth(140))
    ((clue, _),) = shown(memory, track, 100)
    assert clue.sigma == pytest.approx(np.hypot(0.01, 0.04 / 3.0), rel=1e-3)


def test_stamps_that_never_match_are_named(memory):
    track = DepthTrack()
    for image in range(UNMATCHED):
        assert "stamps" not in memory.problems
        memory.offer(depth(image * 33 - 5000))
        assert not shown(memory, track, image * 33)
    assert "the same clock" in memory.problems["stamps"]
    memory.offer(depth(2000))
    shown(memory, track, 2000)
    assert not memory.problems


@pytest.mark.parametrize("value", [np.nan, -1.5, 1.0])
def test_depth_in_which_nobody_is_where_they_are_is_named(memory, value):
    """Another camera's depth: nothing agrees, or people would be dwarfs or giants."""
    track = DepthTrack()
    for image in range(UNSEEN + 1):
        memory.offer(depth(image * 33, value))
        assert not shown(memory, track, image * 33)
    assert "from this camera" in memory.problems["contradiction"]
    memory.offer(depth(2000))
    assert shown(memory, track, 2000) and not memory.problems


def test_what_cannot_be_read_is_named_until_it_can(memory):
    memory.refuse(DepthError("The depth image is 3x2 pixels.", "size"))
    assert memory.problems == {"size": "The depth image is 3x2 pixels."}
    memory.offer(depth(0))
    assert not memory.problems


def test_a_fit_begins_where_the_last_one_ended_unless_that_is_long_ago(memory):
    track = DepthTrack()
    for at_ms in (0, 33, 1000):
        memory.offer(depth(at_ms, 0.2))
        shown(memory, track, at_ms)
    assert memory._meter.begun == [None, pytest.approx(0.2), None]


def test_old_poses_are_let_go(memory):
    track = DepthTrack()
    for image in range(300):
        shown(memory, track, image * 33)
    assert len(track.poses) < 35


def test_the_measured_posture_is_followed_smoothly_kept_and_forgotten(memory):
    """The pelvis is turned by 0.2 rad in the depth images of the first two seconds."""
    track, turn = DepthTrack(), torch.zeros(1, 69)
    turn[0, 1] = 0.2
    memory._meter.posture = turn
    angles = []
    for image in range(180):
        if image < 60:
            memory.offer(depth(image * 33))
        shown(memory, track, image * 33)
        posed = track.poses[-1]
        angles.append(angle_of(track.corrected(posed)))
        assert angle_of(track.corrected(posed)) == angles[-1], "a second description is the same"
    steps = np.abs(np.diff(angles))
    assert angles[0] == 0.0 and max(steps) < 0.02
    assert angles[59] == pytest.approx(0.2, abs=0.01)
    assert angles[72] == pytest.approx(0.2, abs=0.02), "depth may be lost for a moment"
    assert angles[179] < 0.05


def test_a_posture_is_forgotten_when_depth_images_no_longer_show_the_person(memory):
    """Depth images keep coming, in which nothing of the person is measured."""
    track, turn = DepthTrack(), torch.zeros(1, 69)
    turn[0, 1] = 0.2
    memory._meter.posture = turn
    for image in range(240):
        memory.offer(depth(image * 33, 0.1 if image < 90 else np.nan))
        shown(memory, track, image * 33)
        angle = angle_of(track.corrected(track.poses[-1]))
        assert image != 89 or angle == pytest.approx(0.2, abs=0.01)
    assert angle < 0.02


def angle_of(pose: BodyPose) -> float:
    return float(torch.atan2(pose.rotations[0, 0, 0, 2], pose.rotations[0, 0, 2, 2]))


def images(memory: DepthMemory, track: DepthTrack, values: list[float], first: int) -> list[bool]:
    """Whether the depth images of successive images, 33 ms apart, are used."""
    used = []
    for number, value in enumerate(values, first):
        memory.offer(depth(number * 33, value))
        used.append(bool(shown(memory, track, number * 33)))
    return used


def test_a_post_that_is_taken_for_a_person_for_a_moment_is_not_used(memory):
    track = DepthTrack()
    assert all(images(memory, track, [0.1] * 20, 0))
    assert not any(images(memory, track, [-0.2] * 5, 20)), "12 % nearer within 33 ms"
    assert track.found is not None and track.found[0].log_scale == pytest.approx(0.1)
    assert all(images(memory, track, [0.1, 0.11, 0.12, 0.1], 25))
    assert not any(images(memory, track, [-0.2] * 5, 29)), "doubts do not add up"


def test_a_contradiction_that_lasts_is_used(memory):
    track = DepthTrack()
    images(memory, track, [0.1] * 20, 0)
    used = images(memory, track, [-0.2] * 20, 20)
    assert not any(used[:9]) and all(used[11:])


def test_a_first_mistake_is_corrected_at_once(memory):
    track = DepthTrack()
    assert images(memory, track, [-0.3, 0.1, 0.1], 0) == [True, True, True]


def test_the_width_is_the_mean_of_many_images_and_limited(memory):
    track = DepthTrack()
    track.widen(0.2)
    assert 0.0 < track.bulk < 0.1, "one image alone tells little"
    for _ in range(200):
        track.widen(0.2)
    assert track.bulk == pytest.approx(0.2, abs=0.01)
    track.widen(-0.5)
    assert track.bulk > 0.18
    for _ in range(500):
        track.widen(3.0)
    assert track.bulk == 0.4


def test_depth_images_out_of_order_wait_for_their_images():
    memory = DepthMemory(FakeMeter(), lag_s=0.3)  # type: ignore[arg-type]
    track = DepthTrack()
    for at_ms in (800, 833):
        shown(memory, track, at_ms)
    memory.offer(depth(1000))
    memory.offer(depth(900))
    assert [one[1] for one in shown(memory, track, 900)] == [900 * MS]
    assert [one[1] for one in shown(memory, track, 1000)] == [1000 * MS]


def test_several_people_who_are_not_in_one_depth_image_count_once(memory):
    tracks = [DepthTrack() for _ in range(4)]
    for number in range(UNSEEN):
        assert "contradiction" not in memory.problems
        stamp_ns = number * 33 * MS
        memory.offer(depth(number * 33, float("nan")))
        ready = memory.image_came(stamp_ns)
        joints, contact, seen = np.zeros((22, 3)), np.zeros(4), np.ones(22, bool)
        for track in tracks:
            track.add(Unplaced(POSE, joints, contact, seen, False, stamp_ns, None, 1.7))
            memory.clues(track, ready)
    assert "contradiction" in memory.problems
