"""moro evaluate focal: its figures, the frames that it takes, and what it prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from moro_ros.cli import cli, evaluate_focal
from moro_ros.errors import DataError
from moro_ros.evaluation import focal_benchmark
from moro_ros.evaluation.focal_benchmark import (
    Clip,
    Guess,
    alone,
    figures,
    frames_with_people,
    guess,
)
from moro_ros.types import Camera, Frame, PersonObservation

PEOPLE = tuple(PersonObservation(n, np.zeros(4, np.float32), 1.0, None) for n in (1, 2))
FRAME = Frame(0, Camera(np.eye(3), 1280, 720), PEOPLE)


def test_figures_are_relative_to_the_true_focal_length() -> None:
    found = figures([Guess(0.9, 1.2), Guess(1.3, 1.2), Guess(1.0, 0.8)])
    assert found["preferred"] == pytest.approx(0.2 / 3)
    assert found["preferred_median"] == pytest.approx(0.2)
    assert found["mean"] == pytest.approx(0.4 / 3) and found["median"] == pytest.approx(0.1)
    assert (found["least"], found["most"]) == (0.9, 1.3)
    with pytest.raises(DataError, match="show too little"):
        figures([])


def test_a_guess_is_made_as_if_the_image_had_another_size(monkeypatch: pytest.MonkeyPatch) -> None:
    def estimate(frames: Any, stream: Any, longer_px: float) -> Any:
        return SimpleNamespace(focal_px=0.7 * longer_px) if frames else None

    monkeypatch.setattr(focal_benchmark, "estimate_focal", estimate)
    stream: Any = None
    found = guess([FRAME], stream, 1000.0, 0.5)
    assert found == Guess(pytest.approx(1.4), pytest.approx(1.6))
    assert guess([], stream, 1000.0, 0.5) is None
    assert Clip("x", (FRAME,), 640.0).share == 0.5
    assert [person.track_id for person in alone(FRAME, 1).people] == [2]


def test_the_first_images_with_people_are_taken(
    tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    video = make_video(tmp_path / "a.mp4", [n / 60 for n in range(40)], (320, 240))

    class Frontend:
        seen = 0

        def observe(self, image: np.ndarray, stamp_ns: int) -> tuple[PersonObservation, ...]:
            self.seen += 1
            return PEOPLE if self.seen > 3 else ()

        def reset(self) -> None:
            self.seen = 0

    frames = list(frames_with_people(Frontend(), video, 5))
    times_s = [round(frame.stamp_ns / 1e9, 3) for frame in frames]
    assert times_s == [round(n / 30, 3) for n in range(3, 8)]
    assert (frames[0].camera.width, frames[0].camera.height) == (320, 240)


def test_a_line_for_each_pretended_focal_length_and_for_synthetic_people(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shares: list[float] = []

    def seen(frames: Any, stream: Any, focal_px: float, share: float) -> Guess:
        shares.append(share)
        return Guess(1.1, 0.8 / share)

    for name, value in {
        "stream_of": lambda _args: None,
        "fetch_models": lambda _config: None,
        "load_frontend": lambda *_, **__: None,
        "pose2sim_clips": lambda *_: iter([Clip("x", (FRAME,), 640.0)]),
        "guess": seen,
        "held_out": lambda *_: None,
        "synthetic_guesses": lambda *_: [Guess(0.8, 1.0)],
    }.items():
        monkeypatch.setattr(evaluate_focal, name, value)
    words = ["evaluate", "focal", "--shares", "0.4", "--people", "2", "--json"]
    assert cli.main(words) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["what"] for row in rows] == [
        "videos: 0.50, as they are",
        "videos: 0.4 of the longer side, as if",
        "1 of 2 synthetic people",
    ]
    assert shares == [0.5, 0.4] and [row["preferred"] for row in rows] == [0.6, 1.0, 0.0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--images", "19"], "--images: got 19, expected 20 or more."),
        (["--shares", "0.5", "nan"], "--shares: got [0.5, nan], expected positive numbers."),
        (["--motion", "nowhere.npz"], "nowhere.npz"),
    ],
)
def test_what_is_wrong_is_said_before_the_videos(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[int] = []
    monkeypatch.setattr(evaluate_focal, "load_frontend", lambda *_, **__: opened.append(1))
    monkeypatch.setattr(evaluate_focal, "pose2sim_clips", lambda *_: opened.append(1))
    assert cli.main(["evaluate", "focal", *words]) == 1
    assert said in capsys.readouterr().err and not opened


@pytest.mark.parametrize("words", [["--people", "0"], ["--synthetic-images", "-1"]])
def test_a_number_below_one_is_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["evaluate", "focal", *words])
    expected = f"argument {words[0]}: got {words[1]}, expected a whole number of at least 1"
    assert expected in capsys.readouterr().err


def test_the_help_has_a_description_and_the_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["evaluate", "focal", "--help"])
    words = " ".join(capsys.readouterr().out.split())
    assert "focal length that is estimated from people" in words
    assert "images with people of each video (default: 50)" in words
