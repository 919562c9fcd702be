"""`moro bench messages` asks for what it is told to and prints one line per topic and number."""

from __future__ import annotations

import argparse
import json
import subprocess
from types import SimpleNamespace
from typing import Any

import pytest

from moro_ros.cli.bench import messages as bench_messages
from moro_ros.cli.processes import ProcessError
from moro_ros.errors import ConfigError

COST = {
    "name": "~/mesh", "people": 2, "count": 2, "size_bytes": 230_640, "fill_ms": [0.1234, 0.5],
    "serialise_ms": [0.2, 1.0],
}  # fmt: skip


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    bench_messages.register(parser.add_subparsers(dest="subject"))
    return parser.parse_args(["messages", *words])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that were started; each is answered with one cost."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> Any:
        commands.append(command)
        return SimpleNamespace(returncode=0, stdout=json.dumps([COST], indent=1))

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_the_table_has_a_line_for_each_cost(
    asked: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    bench_messages.run(parsed("--people", "2", "5", "--images", "7"))
    assert asked[0][1:3] == ["-m", "moro_ros.ros.message_bench"]
    assert json.loads(asked[0][3]) == {"people": [2, 5], "images": 7}
    line = capsys.readouterr().out.splitlines()[-1]
    assert line == "| ~/mesh | 2 | 2 | 230.6 | 0.12 / 0.50 | 0.20 / 1.00 |"


def test_json_is_what_was_measured(
    asked: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    bench_messages.run(parsed("--json"))
    assert json.loads(capsys.readouterr().out) == [COST]


@pytest.mark.parametrize("words", [("--people", "3", "0"), ("--images", "0")])
def test_numbers_out_of_range_are_refused(asked: list[list[str]], words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=f"{words[0]}: got 0"):
        bench_messages.run(parsed(*words))
    assert not asked


def test_a_failure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=3))
    with pytest.raises(ProcessError, match="status 3"):
        bench_messages.run(parsed())
