"""Options that are paths: ~ is the home directory, also where the shell does not replace it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import moro_ros.cli
from moro_ros.cli import cli

SIZE = (320, 240)
CALIBRATION = """[cam]
size = [320.0, 240.0]
matrix = [[300.0, 0.0, 160.0], [0.0, 300.0, 120.0], [0.0, 0.0, 1.0]]
distortions = [0.0, 0.0, 0.0, 0.0]
"""


def test_the_home_directory_is_known_in_every_path(
    pipeline: Any,
    make_video: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)
    make_video(home / "a.mp4", [n / 30 for n in range(4)], SIZE)
    (home / "cal.toml").write_text(CALIBRATION)
    words = ["predict", "~/a.mp4", "--camera=~/cal.toml", "--out=~/out"]
    assert cli.main(words) == 0
    settings = json.loads((home / "out" / "summary.json").read_text())["settings"]
    assert settings["camera_file"] == [str(home / "cal.toml"), CALIBRATION]
    assert not (tmp_path / "~").exists()


def test_an_unknown_home_directory_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["export", "csv", "~nobody-of-this-name/motion.npz"])
    assert "there is no such home directory" in capsys.readouterr().err


def test_all_options_that_are_paths_have_this_type() -> None:
    folder = Path(moro_ros.cli.__file__).parent
    others = [
        path.name
        for path in folder.rglob("*.py")
        if re.search(r"type=(pathlib\.)?Path\b", path.read_text(encoding="utf-8"))
    ]
    assert others == []
