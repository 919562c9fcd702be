"""What real drivers send, between processes: disorder, and calibrations that change."""

from __future__ import annotations

import time
from typing import Any

import pytest

pytestmark = pytest.mark.ros

MS = 1_000_000


def test_an_image_out_of_order_is_left_out_and_nobody_is_forgotten(bench: Any) -> None:
    before = bench.fresh_status()[1]
    now_ns = time.time_ns()
    bench.answer(bench.image(1, bench.header(now_ns)))
    late = bench.send(bench.image(1, bench.header(now_ns - 50 * MS)))
    bench.client.wait(lambda: "out_of_order" in bench.node.output(), "the log of the disorder")
    bench.answer(bench.image(1, bench.header(now_ns + 50 * MS)))
    assert bench.humans_of(late) is None
    after = bench.fresh_status()[1]
    assert after["bad.out_of_order"] == before.get("bad.out_of_order", 0) + 1
    assert after["resets"] == before["resets"]


def test_a_calibration_that_breathes_is_followed(bench: Any) -> None:
    bench.info_publisher.publish(bench.info())
    bench.client.spin(0.1)
    bench.answer(bench.image(1))
    resets = len(bench.calls("reset"))
    for focal_px in (100.5, 99.9, 100.4, 100.0):
        bench.info_publisher.publish(bench.info(focal_px=focal_px))
        bench.client.spin(0.1)
        bench.answer(bench.image(1))
        assert bench.calls("push")[-1]["focal"] == focal_px
    assert len(bench.calls("reset")) == resets


def test_a_calibration_that_flaps_is_named_with_its_cause(bench: Any) -> None:
    for i in range(4):
        bench.info_publisher.publish(bench.info(focal_px=100.0 + 30.0 * (i % 2)))
        bench.client.spin(0.1)
        bench.answer(bench.image(1))
    cause = "two drivers publish on one topic"
    bench.client.wait(lambda: cause in bench.fresh_status()[0].message, "the diagnostics")
    assert bench.node.output().count(cause) == 1
    bench.info_publisher.publish(bench.info())
    bench.client.spin(0.1)
