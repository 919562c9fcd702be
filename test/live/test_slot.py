"""NewestSlot: the newest item wins, and its taker learns whether it had to wait."""

from __future__ import annotations

import threading

from moro_ros.live.slot import NewestSlot


def test_the_newest_item_overwrites_the_one_before() -> None:
    slot: NewestSlot[str] = NewestSlot()
    assert [slot.put(item) for item in "abc"] == [False, True, True]
    assert slot.take() == "c"
    assert slot.put("d") is False


def test_items_of_two_kinds_are_taken_in_their_order_and_replace_only_their_own() -> None:
    slot: NewestSlot[str] = NewestSlot()
    assert slot.put("old image") is False
    assert slot.put("pause", "pause") is False
    assert slot.put("new image") is True
    assert [slot.take(), slot.take()] == ["pause", "new image"]
    slot.put("image")
    slot.put("pause", "pause")
    assert [slot.take(), slot.take()] == ["image", "pause"]


def test_an_item_is_late_if_it_was_there_before_it_was_asked_for() -> None:
    slot: NewestSlot[int] = NewestSlot()
    slot.put(1)
    assert slot.take() == 1 and slot.late
    timer = threading.Timer(0.05, slot.put, [2])
    timer.start()
    assert slot.take() == 2 and not slot.late
    timer.join()


def test_nothing_is_lost_uncounted_between_threads() -> None:
    slot: NewestSlot[int] = NewestSlot()
    taken: list[int] = []

    def consume() -> None:
        while (item := slot.take()) is not None:
            taken.append(item)

    thread = threading.Thread(target=consume)
    thread.start()
    dropped = sum(slot.put(i) for i in range(1, 2001))
    while not taken or taken[-1] != 2000:
        thread.join(0.001)
    slot.close()
    thread.join(5.0)
    assert not thread.is_alive()
    assert taken == sorted(set(taken))
    assert len(taken) + dropped == 2000


def test_closing_ends_the_wait() -> None:
    slot: NewestSlot[int] = NewestSlot()
    threading.Timer(0.05, slot.close).start()
    assert slot.take() is None
