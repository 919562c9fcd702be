"""Calibration files of Sports2D and of ROS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from moro_ros.errors import CalibrationError
from moro_ros.inference.camera_file import camera_from_focal, load_camera

TOML = """
[first]
name = "first"
size = [1768, 994]
matrix = [[2520.5, 0.0, 884.0], [0.0, 2510.5, 497.0], [0.0, 0.0, 1.0]]
distortions = {distortions}
rotation = [1.2, 1.2, -1.2]
fisheye = {fisheye}

[metadata]
error = 0.0
"""
ROS = """
image_width: 640
image_height: 480
camera_name: c
camera_matrix: {rows: 3, cols: 3, data: [500.0, 0, 320, 0, 510.0, 240, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0.1, -0.2, 0.0, 0.0, 0.05]}
"""


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("distortions", "fisheye", "expected"),
    [
        ("[0.0, 0.0, 0.0, 0.0]", "false", ((), "plumb_bob")),
        ("[0.1, 0.2, 0.0, 0.0]", "false", ((0.1, 0.2, 0.0, 0.0), "plumb_bob")),
        ("[0.1, 0.2, 0.0, 0.0]", "true", ((0.1, 0.2, 0.0, 0.0), "equidistant")),
    ],
)
def test_toml(tmp_path: Path, distortions: str, fisheye: str, expected: tuple) -> None:
    text = TOML.format(distortions=distortions, fisheye=fisheye)
    camera = load_camera(written(tmp_path, "c.toml", text), "lens")
    assert (camera.width, camera.height, camera.frame_id) == (1768, 994, "lens")
    assert (camera.matrix[0, 0], camera.matrix[1, 1]) == (2520.5, 2510.5)
    assert (camera.distortion, camera.distortion_model) == expected


def test_ros_yaml(tmp_path: Path) -> None:
    camera = load_camera(written(tmp_path, "c.yaml", ROS))
    assert (camera.width, camera.height) == (640, 480)
    np.testing.assert_array_equal(camera.matrix, [[500, 0, 320], [0, 510, 240], [0, 0, 1]])
    assert camera.distortion == (0.1, -0.2, 0.0, 0.0, 0.05)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.toml", "[a]\nsize = 3"),
        ("c.toml", "not toml"),
        ("c.yaml", "image_width: 640"),
        ("c.yaml", "- 1"),
        ("c.yaml", ""),
        ("c.yaml", ROS.replace("500.0", "0.0")),
        ("c.yaml", ROS.replace("500.0", ".nan")),
        ("c.yaml", ROS.replace("640", "0")),
    ],
)
def test_unusable_files_are_refused(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(CalibrationError, match=r"c\.(toml|yaml)"):
        load_camera(written(tmp_path, name, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"nowhere\.toml"):
        load_camera(tmp_path / "nowhere.toml")


def test_focal_length_alone_centres_the_principal_point() -> None:
    camera = camera_from_focal(1200.0, 1920, 1080)
    np.testing.assert_array_equal(camera.matrix[:2, 2], [960.0, 540.0])
    with pytest.raises(CalibrationError, match="expected positive"):
        camera_from_focal(0.0, 1920, 1080)
