"""Work goes on in another thread, in order, one piece at a time, and no error is lost."""

from __future__ import annotations

import threading
import time

import pytest

from moro_ros.live.relay import Relay


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
