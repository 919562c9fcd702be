"""moro predict on several inputs: what happens to one of them does not stop the others."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from moro_ros.cli import cli, predict_inputs
from moro_ros.io.recording import load_recording
from moro_ros.io.video import open_video

SIZE = (320, 240)
TIMES_S = [n / 30 for n in range(4)]


def test_a_time_lapse_video_has_its_own_length(
    pipeline: Any,
    make_video: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    times_s = [10 * n for n in range(8)]
    video = make_video(tmp_path / "a.mp4", times_s, SIZE, Fraction(1, 10))
    words = ["predict", str(video), "--focal", "300", "--out", str(tmp_path / "out")]
    assert cli.main([*words, "--start", "35"]) == 0
    stamps_ns = load_recording(tmp_path / "out" / "motion.npz").stamps_ns
    assert [round(ns / 1e9) for ns in stamps_ns] == times_s[4:]
    drawn = open_video(tmp_path / "out" / "overlay.mp4")
    assert [round(frame.stamp_ns / 1e9) for frame in drawn] == [0, 10, 20, 30]
    drawn.close()
    capsys.readouterr()
    assert cli.main([*words, "--start", "95"]) == 1
    assert "--start 95 is after its end" in capsys.readouterr().err


def test_a_name_that_is_not_utf_8_is_no_error(
    pipeline: Any, make_video: Callable[..., Path], tmp_path: Path
) -> None:
    """As copied from an old disk: Latin-1."""
    name = os.fsdecode("Gang-Küche".encode("latin-1"))
    folder = tmp_path / "videos"
    folder.mkdir()
    make_video(tmp_path / "a.mp4", TIMES_S, SIZE).rename(folder / f"{name}.mp4")
    words = ["predict", str(folder), "--focal", "300", "--out", str(tmp_path / "out")]
    assert cli.main(words) == 0
    page = (tmp_path / "out" / name / "report.html").read_text(encoding="utf-8")
    assert "Gang-K?che.mp4" in page
    assert cli.main(["export", "trc", str(tmp_path / "out" / name)]) == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--end", "inf"], "--end: got inf, expected a time after the start at 0 s; omit it"),
        (["--end", "1e300"], "--end: got 1e+300"),
        (["--start", "1e300"], "--start: got 1e+300, expected 0 to 1e+09 seconds"),
    ],
)
def test_times_that_no_recording_has_are_refused(
    pipeline: Any, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert cli.main(["predict", "a.mp4", "--focal", "300", *words]) == 1
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("kind", [ZeroDivisionError, UnicodeError])
def test_an_unexpected_error_is_reported_and_the_others_are_processed(
    kind: type[Exception],
    pipeline: Any,
    make_video: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    videos = [make_video(tmp_path / f"{name}.mp4", TIMES_S, SIZE) for name in "abc"]

    def opened(path: Path) -> Any:
        if path.name == "b.mp4":
            raise kind("odd")
        return open_video(path)

    monkeypatch.setattr(predict_inputs, "open_video", opened)
    words = ["predict", *map(str, videos), "--focal", "300", "--json"]
    assert cli.main([*words, "--out", str(tmp_path / "out")]) == 1
    shown = capsys.readouterr()
    inputs = json.loads(shown.out)["inputs"]
    assert [one["state"] for one in inputs] == ["complete", "failed", "complete"]
    assert inputs[1]["error"] == f"Unexpected error in {videos[1]}: {kind.__name__}: odd"
    assert "Traceback" in shown.err and f"Failed: {videos[1]}" in shown.err
