"""The outlier gate: fast human motion passes, a jump is held, one that persists is published."""

from dataclasses import replace

import numpy as np
import pytest

from moro_ros.recover.outlier_gate import MOST_HELD, OVERTURNED_S, OutlierGate
from moro_ros.recover.steady_pose import JointVelocity

MAX_SPEED = 8.0


@pytest.fixture
def published(posed):
    """published(pelvises (N, 3), fps, poses=None, seen=None, max_speed, unseen): what is published.

    unseen: joints that are not observed in any image.
    """

    def run(pelvises, fps=30.0, poses=None, seen=None, max_speed=MAX_SPEED, unseen=()):
        gate, velocity, found = OutlierGate(), JointVelocity(), []
        for i, pelvis in enumerate(pelvises):
            pose = np.zeros((22, 3)) if poses is None else poses[i]
            stamp_ns = round(i * 1e9 / fps)
            shown = True if seen is None else bool(seen[i])
            motion = posed(pose, pelvis=tuple(map(float, pelvis)), stamp_ns=stamp_ns, seen=shown)
            observed = motion.observed.copy()
            observed[:, list(unseen)] = False
            motion = replace(motion, observed=observed)
            if gate.refuses(motion, max_speed):
                motion = gate.hold(motion)
            else:
                if not gate.accept(motion):
                    velocity = JointVelocity()
                speed = velocity.update(motion.joints[0], stamp_ns)[None]
                motion = replace(motion, velocity=speed)
            found.append(gate.publish(motion))
        return found

    return run


def held(found):
    return [bool(motion.held[-1]) for motion in found]


def depths(found):
    return np.array([motion.joints[-1, 0, 2] for motion in found])


def path(seconds, fps, place):
    times = np.arange(round(seconds * fps)) / fps
    return np.stack([np.broadcast_to(axis, times.shape) for axis in place(times)], -1)


HUMAN = {
    "walking": lambda t: (0.2 * t, 0.02 * np.sin(12 * t), 6.0 - 1.4 * t),
    "a sprint from a stand": lambda t: (0.0, 0.0, 12.0 - 7.0 * np.maximum(t - 0.5, 0) ** 2 / 2),
    "jumping on the spot": lambda t: (0.0, -0.5 * np.abs(np.sin(5.5 * t)), 4.0),
    "jumping to and fro": lambda t: (0.0, 0.0, 4.0 + 0.3 * np.sin(2 * np.pi * 1.3 * t)),
    "stopping a run": lambda t: (0.0, 0.0, 9.0 - 5.0 * np.minimum(t, 0.8)),
}


@pytest.mark.parametrize("motion", HUMAN)
@pytest.mark.parametrize("fps", [10.0, 30.0, 60.0])
def test_human_motion_passes_though_measured_with_noise(published, motion, fps):
    pelvises = path(1.5, fps, HUMAN[motion])
    pelvises = pelvises + np.random.default_rng(0).normal(0.0, 0.01, pelvises.shape)
    found = published(pelvises, fps)
    assert not any(held(found))
    np.testing.assert_allclose(depths(found), pelvises[:, 2], atol=1e-5)


def test_waving_and_kicking_pass(published):
    poses = np.zeros((45, 22, 3))
    phase = 2 * np.pi * 2.0 * np.arange(45) / 30
    poses[:, 16, 2] = 1.2 * np.sin(phase)
    poses[:, 2, 0] = -0.7 + 0.7 * np.cos(phase)
    assert not any(held(published(np.tile([0.0, 0.0, 3.0], (45, 1)), poses=poses)))


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("fps", [10.0, 30.0, 60.0])
def test_a_leap_of_a_metre_is_held_and_published_once_it_persists(published, axis, fps):
    pelvises = path(1.0, fps, lambda t: (0.0, 0.0, 4.0 - t))
    leap = np.zeros(3)
    leap[axis] = max(1.2, 30.0 / fps)  # out of reach for three images, too
    at = len(pelvises) // 2
    pelvises[at:] += leap
    found = published(pelvises, fps)
    assert held(found) == [at <= i < at + MOST_HELD for i in range(len(pelvises))]
    for i in range(at, at + MOST_HELD):
        # The walk goes on as it was before.
        expected = pelvises[i] - leap
        np.testing.assert_allclose(found[i].joints[0, 0], expected, atol=1e-4)
        assert not found[i].observed.any() and found[i].stamps_ns[0] == round(i * 1e9 / fps)
        shift = found[i].smplx.transl - found[at - 1].smplx.transl
        np.testing.assert_allclose(shift[0], expected - pelvises[at - 1], atol=1e-4)
    np.testing.assert_allclose(found[at + MOST_HELD].joints[0, 0], pelvises[at + MOST_HELD], 1e-5)
    speeds = [np.linalg.norm(motion.velocity[0], axis=-1).max() for motion in found]
    assert max(speeds) < 1.1


@pytest.mark.parametrize("wrong", range(1, MOST_HELD + 1))
def test_a_short_outlier_is_never_published(published, wrong):
    pelvises = path(1.0, 30.0, lambda t: (0.0, 0.0, 4.0 - t))
    right = pelvises[:, 2].copy()
    pelvises[15 : 15 + wrong, 2] -= 0.8
    found = published(pelvises)
    assert held(found) == [15 <= i < 15 + wrong for i in range(30)]
    np.testing.assert_allclose(depths(found), right, atol=1e-4)
    np.testing.assert_allclose([m.velocity[0, 0, 2] for m in found[1:]], -1.0, atol=1e-3)


def test_a_depth_that_stands_out_is_held_though_the_speed_is_allowed(published):
    still = np.tile([0.0, 0.0, 4.0], (20, 1))
    still[12, 2] += 0.25  # 7.5 m/s, from rest
    assert held(published(still)) == [i == 12 for i in range(20)]
    sideways = np.tile([0.0, 0.0, 4.0], (20, 1))
    sideways[12, 0] += 0.25
    assert not any(held(published(sideways)))


def test_a_limb_that_jumps_is_held(published):
    poses = np.zeros((20, 22, 3))
    poses[10, 16, 2] = 3.0  # an arm turned over in one image
    assert held(published(np.tile([0.0, 0.0, 3.0], (20, 1)), poses=poses))[10]


def test_somebody_who_was_hidden_may_have_gone_far(published):
    pelvises = np.tile([0.0, 0.0, 4.0], (20, 1))
    pelvises[15:, 0] = 1.0
    seen = np.ones(20, bool)
    assert any(held(published(pelvises)))
    seen[8:15] = False
    assert not any(held(published(pelvises, seen=seen)))


def turning(first: int, images: int, angle: float, count: int = 40) -> np.ndarray:
    """Poses (count, 22, 3) of an upright body that turns about the line of sight."""
    poses = np.zeros((count, 22, 3))
    share = np.clip((np.arange(count) - first + 1) / images, 0.0, 1.0)
    poses[:, 0, 2] = share * angle
    return poses


@pytest.mark.parametrize("images", [1, 4])
def test_nobody_stands_on_their_head_behind_a_table(published, images):
    """At once, or over a few images as the running pose takes up a wrong estimate."""
    poses, still = turning(10, images, np.pi), np.tile([0.0, 0.0, 3.0], (40, 1))
    hidden = [row for row in range(22) if row < 9 or row in (10, 11)]
    found = published(still, poses=poses, unseen=hidden)
    heads = np.array([motion.joints[-1, 15, 1] - motion.joints[-1, 0, 1] for motion in found])
    upright = np.sign(heads[0])
    assert (np.sign(heads[: 10 + round(OVERTURNED_S * 30)]) == upright).all()
    # What persists is believed in the end, and nothing is held for ever.
    assert np.sign(heads[-1]) == -upright and not found[-1].held.any()


def test_a_cartwheel_in_full_view_passes(published):
    poses, still = turning(10, 15, np.pi), np.tile([0.0, 0.0, 3.0], (40, 1))
    assert not any(held(published(still, poses=poses)))


def test_lying_down_behind_a_bed_passes(published):
    poses, still = turning(5, 25, np.pi / 2), np.tile([0.0, 0.0, 3.0], (40, 1))
    assert not any(held(published(still, poses=poses, unseen=range(9))))


def test_zero_switches_it_off(published):
    pelvises = np.tile([0.0, 0.0, 4.0], (10, 1))
    pelvises[5] += 2.0
    assert not any(held(published(pelvises, max_speed=0.0)))
