"""The sweep for new people covers the image and costs the same in every image."""

from __future__ import annotations

import numpy as np
import pytest

from moro_ros.perception.search import FILLED, Sweep, sweep_tiles, tile_round


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
