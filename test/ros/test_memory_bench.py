"""The bench of a node's memory: people come and go, and what they leave behind is told."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("rclpy")

from moro_ros.cli import cli
from moro_ros.cli.bench.people import growth


@pytest.mark.slow
@pytest.mark.weights
def test_people_pass_a_node_that_is_listened_to(capfd: pytest.CaptureFixture[str]) -> None:
    words = ["--people", "12", "--in-view", "2", "--minutes", "0.25", "--rate", "4", "--json"]
    assert cli.main(["bench", "memory", *words]) == 0
    levels = json.loads(capfd.readouterr().out)
    seen = [level["people"] for level in levels]
    assert seen == sorted(seen) and seen[0] >= 2 and seen[-1] >= 10
    assert len(levels) >= 4
    assert all(level["memory_bytes"] > 100e6 for level in levels)
    assert 30 <= levels[-1]["images"] <= 60
    assert levels[-1]["time_s"] == pytest.approx(levels[-1]["images"] / 4, abs=0.5)


def test_growth_is_that_of_the_second_half() -> None:
    memory = [500, 590, 598, 599, 600, 601, 602, 603, 604, 605]  # MB, the first ones fill caches
    levels = [
        {"people": 100 * number, "memory_bytes": 1e6 * size}
        for number, size in enumerate(memory, start=1)
    ]
    assert growth(levels) == pytest.approx(10.0)


def test_a_number_out_of_range_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "memory", "--in-view", "0"]) == 1
    assert "--in-view: got 0, expected more than 0" in capsys.readouterr().err
