"""The sweep for new people covers the image and costs the same in every image."""

from __future__ import annotations

import numpy as np
import pytest

from moro_ros.perception.search import FILLED, MOST_CARRIED, Sweep, Turns, sweep_tiles, tile_round


@pytest.mark.parametrize("size", [(1920, 1080), (1080, 1920), (640, 480), (500, 500)])
@pytest.mark.parametrize("smallest", [0.15, 0.2, 0.6])
def test_every_place_is_searched_at_the_size_needed(size, smallest):
    width, height = size
    tiles = sweep_tiles(width, height, smallest)
    assert len(set(tiles)) == len(tiles)
    finest = min(max(t.width, t.height) for t in tiles)
    assert finest <= smallest / FILLED * min(size) + 1 or finest == min(size)
    # A smallest person anywhere inside the image lies wholly within one of the finest tiles.
    person = smallest * min(size)
    rng = np.random.default_rng(0)
    fine = [t for t in tiles if max(t.width, t.height) == finest]
    for _ in range(200):
        low = rng.uniform(0, (width - 0.4 * person, height - person))
        high = low + np.array([0.4 * person, person])
        assert any(
            low[0] >= t.left
            and low[1] >= t.top
            and high[0] <= t.left + t.width
            and high[1] <= t.top + t.height
            for t in fine
        )
    for tile in tiles:
        assert tile.crop(np.zeros((height, width))).shape == (tile.height, tile.width)


def test_first_image_is_searched_completely_then_in_even_turns():
    sweep = Sweep(every=10, smallest_person=0.2)
    everything = sweep.next_tiles(1920, 1080)
    assert everything == sweep_tiles(1920, 1080, 0.2)
    turns = [sweep.next_tiles(1920, 1080) for _ in range(10)]
    assert [tile for turn in turns for tile in turn] == everything
    assert max(len(turn) for turn in turns) <= min(len(turn) for turn in turns) + 1
    assert sweep.next_tiles(640, 480) == sweep_tiles(640, 480, 0.2)
    sweep.restart()
    assert len(sweep.next_tiles(640, 480)) == len(sweep_tiles(640, 480, 0.2))


def test_live_the_first_search_is_spread_over_several_images():
    sweep = Sweep(every=300, smallest_person=0.2, live=True)
    everything = sweep_tiles(1920, 1080, 0.2)
    turns = [sweep.next_tiles(1920, 1080) for _ in everything]
    assert turns == [[tile] for tile in everything]
    assert [len(sweep.next_tiles(1920, 1080)) for _ in range(10)] == [0] * 10
    sweep.restart()
    assert sweep.next_tiles(1920, 1080) == everything[:1]


def test_tile_round_a_place_is_cut_at_the_border():
    tile = tile_round(np.array([10.0, 50.0]), 60.0, 100, 100)
    assert tile is not None
    assert (tile.left, tile.top, tile.width, tile.height) == (0, 20, 40, 60)
    assert tile_round(np.array([-500.0, 50.0]), 60.0, 100, 100) is None


def test_missing_images_are_made_up_for_within_a_limit():
    sweep = Sweep(every=30, smallest_person=0.2)
    count = len(sweep.next_tiles(1920, 1080))
    assert count == 12
    # A third of the images: as many tiles per second.
    assert sum(len(sweep.next_tiles(1920, 1080, 3.0)) for _ in range(10)) == count
    assert sum(len(sweep.next_tiles(1920, 1080, 100.0)) for _ in range(30)) <= 4 * count


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


def test_without_a_measurement_nobody_is_spared() -> None:
    assert Turns(0.5, 2).looks(9) == 9
    fresh = turns(1.0)
    fresh.restart()
    assert fresh.looks(9) == 9
