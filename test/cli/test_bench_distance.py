"""`moro bench distance` prints a line per number of people and refuses numbers out of range."""

from __future__ import annotations

import argparse
import json

import pytest

from moro_ros.cli.bench import distance as bench_distance
from moro_ros.errors import ConfigError


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    bench_distance.register(parser.add_subparsers(dest="subject"))
    return parser.parse_args(["distance", *words])


@pytest.mark.ros
def test_a_measurement_is_made_and_printed(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("coal")
    bench_distance.run(parsed("--people", "1", "--rounds", "50", "--seconds", "1", "--json"))
    (cost,) = json.loads(capsys.readouterr().out)
    assert (cost["people"], cost["links"], cost["pairs"]) == (1, 8, 8 * 22)
    parts = sum(cost[f"{name}_ms"][0] for name in ("inputs", "measure", "serialise"))
    assert parts > 0.0 and cost["total_ms"][0] == pytest.approx(parts, rel=0.5)
    line = bench_distance.row(cost)
    assert line["pairs"] == 176 and line["core at 100 Hz"].endswith(" %")
    assert 0.0 < cost["achieved_hz"] < 120.0 and 0.0 < cost["achieved_core_share"] < 3.0
    assert float(line["achieved Hz"]) == pytest.approx(cost["achieved_hz"], abs=0.1)


@pytest.mark.parametrize("words", [("--people", "0"), ("--rounds", "49"), ("--seconds", "-1")])
def test_numbers_out_of_range_are_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=rf"{words[0]}: got {words[1]}, expected"):
        bench_distance.run(parsed(*words))
