"""Falls out of synthetic heights and postures: only one that ends lying on the ground is told."""

import numpy as np
import pytest

from moro_ros.body.fall import TOLD_NS, FallDetector
from moro_ros.body.posture import Posture

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
