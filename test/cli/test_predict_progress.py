"""moro predict shows a bar on a terminal, which counts all inputs, and none elsewhere."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moro_ros.cli import cli, progress
from moro_ros.cli.predict_inputs import Input, Reading
from moro_ros.cli.progress import progress_of

COUNT, RATE, SIZE = 12, 30, (320, 240)


@pytest.fixture
def videos(tmp_path: Path, make_video: Callable[..., Path]) -> list[Path]:
    times_s = [n / RATE for n in range(COUNT)]
    return [make_video(tmp_path / name, times_s, SIZE) for name in ("a.mp4", "b.mp4")]


def run(out: Path, *inputs: Path) -> None:
    words = ["--out", str(out), "--focal", "300", *map(str, inputs)]
    assert cli.main(["predict", *words]) == 0


def on_a_terminal(act: Callable[[], None]) -> str:
    """What is written to stderr while that is a terminal."""
    master, slave = pty.openpty()
    # A new one has no columns, in which no bar is drawn.
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    with pytest.MonkeyPatch.context() as patch, os.fdopen(slave, "w") as stream:
        patch.setattr(sys, "stderr", stream)
        act()
        stream.flush()
        written = os.read(master, 1 << 16).decode()
    os.close(master)
    return written


def test_a_terminal_shows_a_bar_and_a_file_none(
    videos: list[Path], pipeline: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = on_a_terminal(lambda: run(tmp_path / "out", videos[0]))
    assert "Recovering: " in shown and f"{COUNT}/{COUNT} [" in shown and "frame/s" in shown
    monkeypatch.setattr(sys, "stderr", file := io.StringIO())
    run(tmp_path / "out", videos[0])
    assert "Recovering" not in file.getvalue()


def test_the_bar_of_several_inputs_counts_all_of_them(
    videos: list[Path], pipeline: Any, tmp_path: Path
) -> None:
    shown = on_a_terminal(lambda: run(tmp_path / "out", *videos))
    first, _, second = shown.partition("Recovering 2/2")
    assert "Recovering 1/2" in first and f"{COUNT}/{2 * COUNT} [" in first
    assert f"{COUNT}/{2 * COUNT} [" in second and f"{2 * COUNT}/{2 * COUNT} [" in second


def test_an_input_of_unknown_length_has_a_bar_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = [Input(Path(name), "video", name) for name in "abc"]
    counts = {"a": 5, "b": None, "c": 0}
    monkeypatch.setattr(progress, "_frames", lambda one, *_: counts[one.folder])
    assert {p.total for p in progress_of(inputs, Reading(), 0.0, None)} == {0}
    counts["b"] = 7
    found = progress_of(inputs, Reading(), 0.0, None)
    assert [(p.done, p.total) for p in found] == [(0, 12), (5, 12), (12, 12)]


def test_an_input_that_cannot_be_used_has_no_frames(tmp_path: Path, videos: list[Path]) -> None:
    (tmp_path / "no.mp4").write_text("no video")
    inputs = [Input(path, "video", path.stem) for path in (tmp_path / "no.mp4", *videos)]
    found = progress_of(inputs, Reading(), 0.0, None)
    assert [(p.done, p.total) for p in found] == [(0, 24), (0, 24), (12, 24)]
