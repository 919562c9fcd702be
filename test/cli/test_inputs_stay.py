"""Commands whose results would replace their own input are refused before they start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from moro_ros.cli import cli

SIZE = (320, 240)
TIMES_S = [n / 30 for n in range(4)]


def run(out: Path, *inputs: Path) -> int:
    return cli.main(["predict", *map(str, inputs), "--focal", "300", "--out", str(out)])


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("linked", [False, True])
def test_a_video_with_the_name_of_the_overlay_is_not_deleted(
    pipeline: Any,
    make_video: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    linked: bool,
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    video = make_video(out / "overlay.mp4", TIMES_S, SIZE)
    given = tmp_path / "walk.mp4" if linked else video
    if linked:
        given.symlink_to(video)
    before = contents(tmp_path)
    assert run(out, given) == 1
    assert contents(tmp_path) == before
    told = f"{given} would be replaced by the results, which have the same name. Choose another"
    assert told in capsys.readouterr().err


def test_a_video_that_the_results_of_another_one_would_replace_is_not_deleted(
    pipeline: Any, make_video: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "out" / "a").mkdir(parents=True)
    first = make_video(tmp_path / "a.mp4", TIMES_S, SIZE)
    drawn = make_video(tmp_path / "out" / "a" / "overlay.mp4", TIMES_S, SIZE)
    before = contents(tmp_path)
    assert run(tmp_path / "out", first, drawn) == 1
    assert contents(tmp_path) == before


def test_no_picture_is_added_to_the_images(
    pipeline: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(4):
        cv2.imwrite(str(folder / f"{number}.png"), np.zeros((*SIZE[::-1], 3), np.uint8))
    before = contents(folder)
    assert run(tmp_path / "images" / ".." / "images", folder) == 1
    assert contents(folder) == before
    assert "the folder of the images; expected another folder" in capsys.readouterr().err
    assert run(folder / "motion", folder) == 0


def test_the_demo_does_not_draw_over_its_video(
    make_video: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = make_video(tmp_path / "overlay.mp4", TIMES_S, SIZE)
    before = contents(tmp_path)
    words = ["--video", str(video), "--focal", "300", "--out", str(tmp_path)]
    assert cli.main(["demo", *words]) == 1
    assert contents(tmp_path) == before
    assert "would be replaced by the results" in capsys.readouterr().err
