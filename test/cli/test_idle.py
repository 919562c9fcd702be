"""What an idle process costs is read off it, and the node goes through its whole life for it."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from moro_ros.cli.bench import idle
from moro_ros.cli.bench.idle import COURSE, Cost, measure, table
from moro_ros.cli.processes import Children, ProcessError

BUSY = "a = bytearray(100_000_000)\nwhile True: pass"
LAZY = "import time\ntime.sleep(60)"


@pytest.mark.parametrize(("code", "busy"), [(BUSY, True), (LAZY, False)])
def test_memory_and_cpu_are_the_process_s(code: str, busy: bool) -> None:
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        try:
            measure(process.pid, "start", 1.0)
            cost = measure(process.pid, "busy", 1.0)
        finally:
            process.kill()
    assert (cost.memory_bytes > 1e8) == busy
    assert (cost.cpu_share > 0.05) == busy


def test_the_table_says_where_nothing_is_known() -> None:
    text = table([Cost("active", 2_000_000, 0.125, None), Cost("x", 0, 0.0, 3_000_000)])
    assert "| active | 2 | - | 12.5 |" in text and "| x | 0 | 3 | 0.0 |" in text


@pytest.mark.slow
def test_the_node_is_asked_for_every_transition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(idle, "ask", lambda env, transition: asked.append(transition))
    start = Children.start

    def start_server(self: Children, name: str, module: str, words: list[str]) -> Any:
        """A server instead of the node; a process that has just been made has no memory yet."""
        node = start(self, name, "http.server", ["0"])
        while measure(node.process.pid, "start", 0.01).memory_bytes < 5e6:
            pass
        return node

    monkeypatch.setattr(Children, "start", start_server)
    report = tmp_path / "idle.json"
    idle.run(argparse.Namespace(params_file="cpu", device=None, seconds=0.05, json=report))
    assert asked == [transition for transition, _ in COURSE]
    found = json.loads(report.read_text())
    assert [row["state"] for row in found] == [state for _, state in COURSE]
    assert all(row["memory_bytes"] > 5e6 for row in found)
    assert "| inactive |" in capsys.readouterr().out


def test_a_node_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ProcessError, match="configure failed"):
        idle.ask(dict(os.environ), "configure")
