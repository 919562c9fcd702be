"""moro bench prediction: one line for each number of people, and wrong arguments."""

from __future__ import annotations

import argparse
import json

import pytest

from moro_ros.cli.bench import prediction
from moro_ros.errors import ConfigError


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    prediction.register(parser.add_subparsers(dest="subject"))
    return parser.parse_args(["prediction", *words])


@pytest.mark.slow
@pytest.mark.weights
def test_times_and_their_ratio_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    prediction.run(parsed("--images", "2", "--json"))
    costs = json.loads(capsys.readouterr().out)
    assert [cost["people"] for cost in costs] == [1, 2]
    for cost in costs:
        assert cost["ratio"] == pytest.approx(cost["prediction_ms"] / cost["recovery_ms"], rel=1e-6)
        assert cost["prediction_ms"] > 0


@pytest.mark.parametrize("words", [("--images", "0"), ("--samples", "-1")])
def test_numbers_out_of_range_are_refused(words: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match=f"{words[0]}: got {words[1]}, expected"):
        prediction.run(parsed(*words))
