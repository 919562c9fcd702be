"""moro predict --stature: who gets which stature from when on, and what is refused or told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moro_ros.cli import cli
from moro_ros.cli.statures import Statures, read_statures
from moro_ros.errors import ConfigError


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> Path:
    folder = tmp_path_factory.mktemp("video")
    return make_video(folder / "walk.mp4", [n / 30 for n in range(6)], (320, 240))


def predict(video: Path, out: Path, *options: str) -> int:
    words = ["predict", str(video), "--focal", "300", "--out", str(out)]
    return cli.main([*words, *(word for option in options for word in ("--stature", option))])


def test_a_stature_is_given_before_the_first_pose_and_once(
    video: Path, pipeline: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline.people = (1, 2)
    assert predict(video, tmp_path, "2=1.1", "1.72") == 0
    # After the first image was observed, before its motion is recovered.
    assert sorted(pipeline.statures) == [(1, 1, 1.72), (1, 2, 1.1)]
    assert "--stature" not in capsys.readouterr().err
    assert "1.10 m (person 2), 1.72 m (others)" in (tmp_path / "report.html").read_text()
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["settings"]["statures"] == [1.72, [[2, 1.1]]]


def test_who_comes_later_gets_theirs_when_they_come(
    video: Path, pipeline: Any, tmp_path: Path
) -> None:
    def come(number: int) -> None:
        pipeline.people = (1, 2) if number >= 3 else (1,)

    pipeline.before = come
    assert predict(video, tmp_path, "2=1.1") == 0
    assert pipeline.statures == [(4, 2, 1.1)]


def test_an_id_that_nobody_has_is_told(
    video: Path, pipeline: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(video, tmp_path, "1=1.8", "7=1.1") == 0
    told = "--stature 7=1.1 was not used: got id 7, expected an id of a person in the input (1)."
    assert told in capsys.readouterr().err
    assert told in (tmp_path / "report.html").read_text()


def test_one_stature_for_people_who_are_in_one_image_is_told(
    video: Path, pipeline: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline.people = (1, 2)
    assert predict(video, tmp_path, "1.8") == 0
    assert "several people who are in one image: ids 1, 2" in capsys.readouterr().err


def test_one_person_with_two_ids_in_turn_has_one_stature(
    video: Path, pipeline: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def swap(number: int) -> None:
        pipeline.people = (2,) if number >= 3 else (1,)

    pipeline.before = swap
    assert predict(video, tmp_path, "1.8") == 0
    assert [track_id for _, track_id, _ in pipeline.statures] == [1, 2]
    assert "--stature" not in capsys.readouterr().err


def test_without_the_option_nothing_is_set(video: Path, pipeline: Any, tmp_path: Path) -> None:
    assert predict(video, tmp_path) == 0
    assert not pipeline.statures
    assert "stature" not in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["0"], "got '0', expected a stature from 0.4 to 2.6 metres"),
        (["1=-1.7"], "got '1=-1.7', expected a stature"),
        (["17.2"], "got '17.2', expected a stature"),
        (["1=172"], "For 172 centimetres, give 1.72."),
        (["1=nan"], "got '1=nan', expected a stature"),
        (["1=tall"], "got '1=tall', expected a stature"),
        (["1="], "got '1=', expected a stature"),
        (["=1.7"], "expected METRES or ID=METRES"),
        (["0=1.7"], "expected METRES or ID=METRES"),
        (["anna=1.7"], "got 'anna=1.7', expected METRES or ID=METRES"),
        (["1=1.7", "01=1.7"], "got id 1 twice"),
        (["1.7", "1.8"], "got 1.7 and 1.8 without an id"),
    ],
)
def test_what_is_no_stature_is_refused(
    options: list[str], told: str, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert predict(video, out, *options) == 1
    assert told in capsys.readouterr().err and not out.exists()


def test_ids_of_several_inputs_are_refused() -> None:
    with pytest.raises(ConfigError, match="each of which counts ids from 1"):
        read_statures(["1=1.7"], several=True)
    assert read_statures(["1.7"], several=True) == Statures(1.7)
