"""moro bench view: what it counts at a client that does not draw."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("viser", reason="viser is not installed")

from moro_ros.cli import cli
from moro_ros.cli.bench import view
from moro_ros.errors import InstallationError


def test_updates_of_the_scene_are_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> str:
        raise InstallationError("no Chromium")

    monkeypatch.setattr(view, "find_chromium", missing)
    assert cli.main(["bench", "view", "--seconds", "2", "--rate", "10", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["receiver"] == "client"
    # At most one for each image, and one that was under way.
    assert 0 < row["updates/s"] <= 10.5 and 0 < row["received/s"] <= 10.5
    # A mesh of 10,475 vertices for each of two people, and what else is in the scene.
    assert row["MB/s"] > 0.2 * row["received/s"]


def test_a_number_out_of_range_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "view", "--people", "0"]) == 1
    assert "--people: got 0, expected more than 0." in capsys.readouterr().err
