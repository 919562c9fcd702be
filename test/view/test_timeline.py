"""The timeline: playing, seeking, stepping and following, without a clock of its own."""

from __future__ import annotations

import pytest

from moro_ros.view.timeline import Timeline

SECOND = 10**9


def test_time_passes_at_the_speed_while_it_plays():
    timeline = Timeline(5 * SECOND, 15 * SECOND)
    timeline.speed = 0.5
    timeline.advance(2.0)
    assert timeline.time_s == pytest.approx(1.0)
    timeline.pause()
    timeline.advance(2.0)
    assert timeline.time_s == pytest.approx(1.0)


def test_at_the_end_it_begins_again_or_stops():
    timeline = Timeline(0, SECOND)
    timeline.advance(1.5)
    assert (timeline.position_ns, timeline.playing) == (0, True)
    timeline.loop = False
    timeline.advance(1.5)
    assert (timeline.position_ns, timeline.playing) == (SECOND, False)
    timeline.play()
    assert (timeline.position_ns, timeline.playing) == (0, True)


@pytest.mark.parametrize(("time_s", "found_s"), [(0.4, 0.4), (-3.0, 0.0), (9.0, 1.0)])
def test_seeking_stays_between_the_ends(time_s, found_s):
    timeline = Timeline(7 * SECOND, 8 * SECOND)
    timeline.seek(time_s)
    assert timeline.time_s == pytest.approx(found_s)


def test_a_step_pauses_at_the_stamp_beside():
    timeline = Timeline(0, 300)
    timeline.seek(110e-9)
    timeline.step([0, 100, 200, 300], 1)
    assert (timeline.position_ns, timeline.playing) == (200, False)
    timeline.step([0, 100, 200, 300], -3)
    assert timeline.position_ns == 0
    timeline.step([], 1)
    assert timeline.position_ns == 0


def test_a_live_timeline_follows_the_end_until_the_user_looks_back():
    timeline = Timeline(follow=True)
    timeline.extend(0, SECOND)
    assert timeline.position_ns == SECOND
    timeline.seek(0.25)
    timeline.pause()
    timeline.extend(0, 2 * SECOND)
    assert timeline.time_s == pytest.approx(0.25)
    # What is older than is kept cannot be shown any more.
    timeline.extend(SECOND, 3 * SECOND)
    assert timeline.position_ns == SECOND
    timeline.follow_end()
    timeline.extend(SECOND, 4 * SECOND)
    assert timeline.position_ns == 4 * SECOND
