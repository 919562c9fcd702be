"""predict and demo answer alike to a camera that cannot be, before the first image."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from moro_ros.errors import CalibrationError, ConfigError
from moro_ros.tools.cli import main
from moro_ros.tools.video_options import video_input

CALIBRATION = """
image_width: 160
image_height: 120
camera_matrix: {rows: 3, cols: 3, data: [150.0, 0, 80, 0, 150.0, 60, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 3, data: [0.1, -0.2, 0.001]}
"""


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "walk.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (160, 120))
    for _ in range(3):
        writer.write(np.zeros((120, 160, 3), np.uint8))
    writer.release()
    return path


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--camera", "lens.yaml"), "number of distortion coefficients of the model 'plumb_bob'"),
        (("--focal", "4.2"), "4.2 px for images of 160x120 pixels means a field of view of 174"),
        (("--focal", "inf"), "not finite"),
    ],
)
def test_both_commands_refuse_a_camera_in_one_line(
    video: Path, option: tuple[str, str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (video.parent / "lens.yaml").write_text(CALIBRATION)
    name, value = option[0], option[1].replace("lens", str(video.parent / "lens"))
    out = str(video.parent / "out")
    said = []
    for command in (["predict", str(video)], ["demo", "--video", str(video)]):
        assert main([*command, name, value, "--out", out]) == 1
        said.append(capsys.readouterr().err.strip().split(": ", 1)[1])
    assert words in said[0] and said[0] == said[1] and "\n" not in said[0]
    assert not (video.parent / "out" / "motion.npz").exists()


def test_the_hint_of_a_focal_length_suits_videos_held_upright(video: Path) -> None:
    with pytest.raises(ConfigError, match="x the longer side of the image"):
        video_input(video, None, None)


def test_a_calibration_of_another_size_is_refused(video: Path) -> None:
    file = video.parent / "lens.yaml"
    file.write_text(CALIBRATION.replace("width: 160", "width: 320").replace(", 0.001]", ", 0, 0]"))
    with pytest.raises(CalibrationError, match="320x120 pixels"):
        video_input(video, None, file)
