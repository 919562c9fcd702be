"""report.html is one page that needs no other file and says what is in the recording."""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from moro_ros.draw.plots import path_chart
from moro_ros.draw.report import SHEET_WIDTH, report_page, speeds
from moro_ros.errors import InstallationError
from moro_ros.io.recording import MotionRecording, row_of
from moro_ros.types import BodyMotion


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (300, 2400, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "sheet.png"), noise)
    return tmp_path / "sheet.png"


def walking(posed: Callable[..., BodyMotion], frames: int) -> MotionRecording:
    """Persons 1 and 2; the second one comes later."""
    recording = MotionRecording()
    for number in range(frames):
        stamp_ns = number * 33_333_333
        recording.stamps_ns.append(stamp_ns)
        for track_id in (1, 2)[: 1 + (number > 5)]:
            pelvis = (0.02 * number, 0.0, 2.0 + track_id)
            motion = posed(np.zeros((22, 3)), pelvis, None, track_id, stamp_ns)
            recording.add(track_id, row_of(motion))
    return recording


def pictures(page: str) -> list[np.ndarray]:
    data = re.findall(r'src="data:image/(?:png|jpeg);base64,([^"]+)"', page)
    decoded = (cv2.imdecode(np.frombuffer(base64.b64decode(d), np.uint8), 1) for d in data)
    return [image for image in decoded if image is not None]


def test_the_page_has_everything_within(posed: Callable[..., BodyMotion], sheet: Path) -> None:
    people = [{"id": 1, "frames": 20}, {"id": 2, "frames": 14}]
    page = report_page(
        "a<b>.mp4", ["an estimate"], {"frames": "20"}, people, walking(posed, 20), sheet
    )
    # The sheet, three plots over time and the paths.
    images = pictures(page)
    assert len(images) == 5 and images[0].shape[1] == SHEET_WIDTH
    assert all(len(np.unique(image)) > 1 for image in images)
    assert not re.search(r"https?:|<script|<link", page)
    assert "a&lt;b&gt;.mp4" in page and "a<b>" not in page
    assert "an estimate" in page and page.count("<tr>") == 1 + 1 + 2


def test_a_recording_of_nobody_has_a_page(sheet: Path) -> None:
    recording = MotionRecording()
    recording.stamps_ns = [0]
    page = report_page("empty", [], {}, [], recording, sheet)
    assert "No people were found" in page and len(pictures(page)) == 1


def test_one_image_has_a_page(posed: Callable[..., BodyMotion], sheet: Path) -> None:
    page = report_page("one", [], {}, [{"id": 1}], walking(posed, 1), sheet)
    assert len(pictures(page)) == 5


def test_speed_is_that_of_the_motion() -> None:
    stamps = np.arange(30) * 33_333_333
    points = np.zeros((30, 3))
    points[:, 0] = 1.5 * stamps / 1e9
    np.testing.assert_allclose(speeds(stamps, points), 1.5, atol=1e-6)
    assert np.isnan(speeds(stamps[:1], points[:1])).all()


def test_without_matplotlib_a_plot_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InstallationError, match=r"matplotlib is not installed.*pip install"):
        path_chart("way", {"person 1": np.zeros((2, 2))})


def test_a_person_s_lines_have_the_person_s_colour(posed: Callable[..., BodyMotion]) -> None:
    red = path_chart("way", {"person 1": np.array([[0, 1], [1, 3.0]])}, [(255, 0, 0)])
    drawn = red[np.ptp(red.astype(int), axis=-1) > 200]
    assert len(drawn) > 100 and (drawn[:, 2] > 200).all()  # BGR
