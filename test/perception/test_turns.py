"""Turns: looks are shared out by the time there is, and nobody waits for long."""

from __future__ import annotations

import pytest

from moro_ros.perception.turns import MOST_CARRIED, Turns


def turns(look_s: float, share: float = 0.5, threads: int = 2, interval_s: float = 0.04) -> Turns:
    made = Turns(share, threads)
    made.image(interval_s)
    made.took(look_s)
    return made


def test_everybody_is_looked_at_while_there_is_time() -> None:
    assert turns(0.01).looks(4) == 4
    assert turns(0.01).spared([1, 2, 3, 4]) == []


@pytest.mark.parametrize(("look_s", "looks"), [(0.012, 3), (0.018, 2), (0.03, 1)])
def test_what_fits_into_the_threads_time_is_looked_at(look_s: float, looks: int) -> None:
    assert turns(look_s).looks(3) == looks


def test_in_a_late_image_only_those_are_looked_at_who_cannot_be_carried_any_longer() -> None:
    period_ns = 40_000_000
    now_ns = 100 * period_ns
    looked_ns = [now_ns - images * period_ns for images in (3, 2, 1, 5)]
    assert sorted(turns(0.001).spared(looked_ns, now_ns)) == [1, 2]
    assert turns(0.001, share=0.0).spared(looked_ns, now_ns) == []


def test_the_cameras_period_is_that_of_images_without_a_gap() -> None:
    made = Turns(0.5, 2)
    assert made.period_s == 0.0
    for interval_s in (0.08, 0.04, 0.12):
        made.image(interval_s)
    assert made.period_s == 0.04


def test_those_looked_at_last_are_spared() -> None:
    assert turns(0.03).spared([30, 10, 20]) == [2, 0]


def test_somebody_alone_and_one_in_three_are_looked_at_however_long_it_takes() -> None:
    slow = turns(10.0)
    assert slow.looks(1) == 1
    looked = dict.fromkeys(range(7), 0)
    for image in range(1, 50):
        spared = slow.spared(list(looked.values()))
        for person in set(looked) - set(spared):
            looked[person] = image
        assert image <= MOST_CARRIED or max(image - i for i in looked.values()) <= MOST_CARRIED


def test_dropped_images_do_not_buy_time() -> None:
    some = turns(0.03)
    for _ in range(20):
        some.image(0.2)
    assert some.looks(3) == 1


def test_without_a_share_or_a_measurement_nobody_is_spared() -> None:
    assert turns(1.0, share=0.0).looks(9) == 9
    assert Turns(0.5, 2).looks(9) == 9
    fresh = turns(1.0)
    fresh.restart()
    assert fresh.looks(9) == 9
