"""Work goes on in another thread, in order, one piece at a time, and no error is lost."""

from __future__ import annotations

import threading
import time

import pytest

from moro_ros.inference.relay import Relay


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
    relay, go = Relay("test"), threading.Event()
    relay.hand_over(lambda: go.wait(5.0) and None)
    assert not go.is_set()
    go.set()
    relay.rest()


def test_an_error_is_raised_to_who_hands_over_next_whose_work_is_done_all_the_same():
    relay, done = Relay("test"), []

    def fail() -> None:
        raise ValueError("broken")

    relay.hand_over(fail)
    relay.rest()
    with pytest.raises(ValueError, match="broken"):
        relay.hand_over(lambda: done.append(1))
    relay.hand_over(lambda: done.append(2))
    relay.rest()
    assert done == [1, 2]
