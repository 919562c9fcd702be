"""What goes from thread to thread: the newest item, and work in its order."""

from __future__ import annotations

import threading
import time

import pytest

from moro_ros.live.threads import NewestSlot, Relay


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


def test_pieces_are_done_in_order_in_one_other_thread_and_never_two_at_once():
    relay, done, running = Relay("test"), [], []

    def piece(number: int) -> None:
        running.append(number)
        assert len(running) == 1
        time.sleep(0.002)
        running.clear()
        done.append((number, threading.get_ident()))

    for number in range(20):
        relay.hand_over(lambda number=number: piece(number))
        # All but the newest piece is done when hand_over returns: nothing queues up.
        assert [n for n, _ in done][:number] == list(range(number))
    relay.rest()
    assert [n for n, _ in done] == list(range(20))
    threads = {thread for _, thread in done}
    assert len(threads) == 1 and threading.get_ident() not in threads


def test_handing_over_does_not_wait_for_the_work_itself():
    relay, go, done = Relay("test"), threading.Event(), []

    def piece() -> None:
        assert go.wait(30.0)
        done.append(1)

    relay.hand_over(piece)
    # Had it waited, the work would have failed for want of the signal, or be done.
    assert not done and not go.is_set()
    go.set()
    relay.rest()
    assert done == [1]


def fail() -> None:
    raise ValueError("broken")


def test_an_error_is_raised_to_who_hands_over_next_whose_work_is_done_all_the_same():
    relay, done = Relay("test"), []
    relay.hand_over(fail)
    with pytest.raises(ValueError, match="broken"):
        relay.hand_over(lambda: done.append(1))
    relay.hand_over(lambda: done.append(2))
    relay.rest()
    assert done == [1, 2]


def test_the_error_of_the_last_piece_is_raised_by_resting_and_only_once():
    relay = Relay("test")
    relay.hand_over(fail)
    with pytest.raises(ValueError, match="broken"):
        relay.rest()
    relay.rest()
    relay.hand_over(lambda: None)


def test_who_wants_to_be_told_is_told_at_once_without_another_piece():
    told, came = [], threading.Event()

    def note(error: Exception) -> None:
        told.append(error)
        came.set()

    relay = Relay("test", note)
    relay.hand_over(fail)
    assert came.wait(30.0) and str(told[0]) == "broken"
    relay.hand_over(lambda: None)
    relay.rest()
    assert len(told) == 1
