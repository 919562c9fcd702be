"""Stamps from the times of a container, and what is said of those that are missing."""

from __future__ import annotations

from fractions import Fraction

import pytest

from moro_ros.io.video_times import VideoTimes

MS = Fraction(1, 1000)
FRAME_NS = 1e9 / 30


@pytest.mark.slow
def test_rounded_times_of_a_constant_rate_are_exact_again() -> None:
    """Matroska's milliseconds, rounded or cut off, over an hour."""
    for rounded in (round, int):
        times = VideoTimes(MS, Fraction(30))
        for index in range(108_000):
            assert times.stamp_ns(rounded(Fraction(index, 30) / MS)) == round(index * FRAME_NS)
        assert times.losses(0, 3600.0) == ""


def test_stamps_increase_where_times_repeat_go_back_or_are_absent() -> None:
    """Joined recordings begin at 0 again; a frame without a time follows at the mean rate."""
    times = VideoTimes(MS, Fraction(10))
    stamps = [times.stamp_ns(pts) for pts in (500, 600, 600, 700, 0, 100, None, 390, 395)]
    expected = (0, 100, 200, 300, 400, 500, 600, 790, 795)
    assert [stamp / 1e6 for stamp in stamps] == pytest.approx(expected)


def test_two_frames_within_one_period_keep_both_their_times() -> None:
    times = VideoTimes(MS, Fraction(30))
    stamps = [times.stamp_ns(pts) for pts in (0, 33, 34, 67)]
    assert stamps[1] < stamps[2] < stamps[3]
    assert stamps[2] == 34_000_000


def test_what_was_read_and_not_decoded_is_counted_where_it_is() -> None:
    times = VideoTimes(MS, Fraction(10))
    order = [0, 300, 100, 200, 600, 400, 500, 900, 700, 800]  # as coded with B frames
    lost = {400, 500, 800}
    for pts in order:
        times.expect(pts)
    assert times.awaited
    for pts in sorted(set(order) - lost):
        times.stamp_ns(pts)
    assert not times.awaited
    assert times.losses(10, 1.0) == (
        "is damaged or cut off: 3 frames are missing at 0.30 to 0.60 s, 0.70 to 0.90 s"
    )


def test_frames_that_help_others_alone_are_not_missed() -> None:
    """An edit list begins a video in the middle of what its index names."""
    times = VideoTimes(MS, Fraction(10))
    for pts in (-200, -100, 0, 100, 200):
        times.expect(pts, shown=pts >= 0)
    for pts in (0, 100, 200):
        times.stamp_ns(pts)
    times.ended = True
    assert times.losses(5, 0.3) == ""


def test_frames_read_again_are_not_counted_again() -> None:
    times = VideoTimes(MS, Fraction(10))
    for pts in (0, 100, 200):
        times.expect(pts)
    times.stamp_ns(0)
    times.stamp_ns(200)
    for pts in (0, 100, 200, 300):
        times.expect(pts)
    times.stamp_ns(300)
    times.ended = True
    assert times.losses(4, 0.4).endswith("1 frame is missing at 0.00 to 0.20 s")


def test_an_early_end_is_told_against_what_was_promised() -> None:
    for promised, length_s, told in (
        (100, 10.0, "ends early, at 2.00 s of 10.00 s with 20 of 100 frames"),
        (0, 10.0, "ends early, at 2.00 s of 10.00 s with 20 frames"),
        (21, 2.1, ""),  # an AVI whose last frame is the one before once more
        (0, 0.0, ""),
    ):
        times = VideoTimes(MS, Fraction(10))
        for index in range(20):
            times.expect(100 * index)
            times.stamp_ns(100 * index)
        assert times.losses(promised, length_s) == ""  # not at its end yet
        times.ended = True
        found = times.losses(promised, length_s)
        assert told in found and bool(told) == bool(found)


def test_many_places_are_not_all_named() -> None:
    times = VideoTimes(MS, Fraction(10))
    for index in range(0, 100):
        times.expect(100 * index)
        if index % 10 != 5:
            times.stamp_ns(100 * index, damaged=index % 10 == 6)
    found = times.losses(100, 10.0)
    assert "10 frames are missing at 0.40 to 0.60 s" in found
    assert found.endswith("and 6 more places; 10 frames are decoded with errors")
