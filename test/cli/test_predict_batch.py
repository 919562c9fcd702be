"""moro predict on several inputs: what happens to one of them does not stop the others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moro_ros.cli import cli, predict_inputs

SIZE = (320, 240)
TIMES_S = [n / 30 for n in range(4)]


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
    open_video = predict_inputs.open_video

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
    assert inputs[1]["error"] == f"Unexpected error in {videos[1]}: {kind('odd')!r}"
    assert "Traceback" in shown.err and f"Failed: {videos[1]}" in shown.err
