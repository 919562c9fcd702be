"""Calibration files in every layout that people have, and what is said of the others."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from moro_ros.errors import CalibrationError
from moro_ros.geometry.lens import image_points, undistort_points
from moro_ros.io.camera_file import camera_from_focal, load_camera

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


OPENCV = """%YAML:1.0
---
calibration_time: "Tue 03 Mar 2026 10:00:00 AM CET"
image_width: 640
image_height: 480
board_width: 9
# flags:  +fix_k4+fix_k5
flags: 6144
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 500., 0., 320., 0., 5.1e+02, 240., 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 5
   cols: 1
   dt: d
   data: [ 1.0e-01, -2.0e-01, 0., 0., 5.0e-02 ]
avg_reprojection_error: 3.1e-01
"""
INI = """# oST version 5.0 parameters

[image]

width
640

height
480

[narrow_stereo/left]

camera matrix
500.000000 0.000000 320.000000
0.000000 510.000000 240.000000
0.000000 0.000000 1.000000

distortion
0.100000 -0.200000 0.000000 0.000000 0.050000

rectification
1.000000 0.000000 0.000000
0.000000 1.000000 0.000000
0.000000 0.000000 1.000000

projection
488.0 0.000000 321.0 0.000000
0.000000 497.0 241.0 0.000000
0.000000 0.000000 1.000000 0.000000

[narrow_stereo/right]

camera matrix
777.0 0.000000 300.0
0.000000 777.0 200.0
0.000000 0.000000 1.000000

distortion
0.3 0.0 0.0 0.0 0.0
"""
ECHO = """header:
  stamp:
    sec: 1795390774
    nanosec: 927480508
  frame_id: camera_color_optical_frame
height: 480
width: 640
distortion_model: plumb_bob
d:
- 0.1
- -0.2
- 0.0
- 0.0
- 0.05
k:
- 500.0
- 0.0
- 320.0
- 0.0
- 510.0
- 240.0
- 0.0
- 0.0
- 1.0
r: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
p: [488.0, 0.0, 321.0, 0.0, 0.0, 497.0, 241.0, 0.0, 0.0, 0.0, 1.0, 0.0]
binning_x: 0
binning_y: 0
roi:
  x_offset: 0
  y_offset: 0
  height: 0
  width: 0
  do_rectify: false
---
"""
KALIBR = """
cam0:
  camera_model: pinhole
  distortion_coeffs: [-0.28, 0.07, 0.0002, 0.00002]
  distortion_model: radtan
  intrinsics: [458.6, 457.3, 367.2, 248.4]
  resolution: [752, 480]
"""
# Each layout with the same camera.
SAME = {
    "ros.yaml": ROS,
    "opencv.yml": OPENCV,
    "opencv.json": """{"image_width": 640, "image_height": 480, "camera_matrix": {
        "type_id": "opencv-matrix", "rows": 3, "cols": 3, "dt": "d",
        "data": [500.0, 0.0, 320.0, 0.0, 510.0, 240.0, 0.0, 0.0, 1.0]},
        "distortion_coefficients": {"type_id": "opencv-matrix", "rows": 1, "cols": 5, "dt": "d",
        "data": [0.1, -0.2, 0.0, 0.0, 0.05]}}""",
    "newer.yaml": OPENCV.replace("%YAML:1.0", "%YAML 1.2"),
    "old.yaml": OPENCV.replace("camera_matrix", "Camera_Matrix").replace("image_w", "image_W"),
    "python.yaml": OPENCV.replace("camera_matrix", "K").replace("distortion_coefficients", "D"),
    "windows.yaml": "\ufeff" + OPENCV.replace("\n", "\r\n"),
    "ost.ini": INI,
    "ost.txt": INI,
    "echo.yaml": ECHO,
    "echo_twice.txt": ECHO + ECHO.replace("500.0", "700.0"),
    "rostopic.yaml": ECHO.replace("\nk:", "\nK:").replace("\nd:", "\nD:"),
}


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


@pytest.mark.parametrize("name", SAME)
def test_every_layout_gives_the_same_camera(tmp_path: Path, name: str) -> None:
    camera = load_camera(written(tmp_path, name, SAME[name]))
    assert (camera.width, camera.height) == (640, 480)
    np.testing.assert_array_equal(camera.matrix, [[500, 0, 320], [0, 510, 240], [0, 0, 1]])
    assert camera.distortion == (0.1, -0.2, 0.0, 0.0, 0.05)
    assert camera.distortion_model == "plumb_bob"


def test_opencv_s_own_files_are_read(tmp_path: Path) -> None:
    matrix, coefficients = (
        np.array([[500.0, 0, 320], [0, 510, 240], [0, 0, 1]]),
        np.full((4, 1), 0.1),
    )
    for name in ("c.yaml", "c.json"):
        file = cv2.FileStorage(str(tmp_path / name), cv2.FILE_STORAGE_WRITE)
        for key, value in (("image_width", 640), ("image_height", 480), ("fisheye_model", 1)):
            file.write(key, value)
        file.write("camera_matrix", matrix)
        file.write("distortion_coefficients", coefficients)
        file.release()
        camera = load_camera(tmp_path / name)
        np.testing.assert_array_equal(camera.matrix, matrix)
        assert (camera.distortion, camera.distortion_model) == ((0.1,) * 4, "equidistant")


def test_a_region_and_binning_of_an_echoed_camera_info_are_applied(tmp_path: Path) -> None:
    text = ECHO.replace("x_offset: 0", "x_offset: 100").replace("binning_x: 0", "binning_x: 2")
    text = text.replace("  height: 0\n  width: 0", "  height: 200\n  width: 300")
    camera = load_camera(written(tmp_path, "c.yaml", text))
    assert (camera.width, camera.height) == (150, 200)
    np.testing.assert_allclose(camera.matrix[0], [250, 0, 110])


def test_a_long_rational_calibration_is_inverted(tmp_path: Path) -> None:
    values = [0.5, -0.1, 0, 0, 0.01, 0.9, -0.2, 0.02, 1e-3, 0, 2e-3, 0, 0.02, -0.01]
    for count in (8, 12, 14):
        text = ROS.replace("plumb_bob", "rational_polynomial")
        text = text.replace("[0.1, -0.2, 0.0, 0.0, 0.05]", str(values[:count]))
        camera = load_camera(written(tmp_path, "c.yaml", text))
        assert camera.distortion == tuple(values[:count])
        bent = image_points(np.array([[0.4, -0.3, 1.0]]), camera)
        straight = undistort_points(bent, camera)
        np.testing.assert_allclose(straight, [[500 * 0.4 + 320, 510 * -0.3 + 240]], atol=1e-2)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("c.yaml", KALIBR, "camchain files of Kalibr are not supported; expected a YAML of ROS"),
        ("c.xml", "<?xml version='1.0'?><opencv_storage></opencv_storage>", "expected a YAML"),
        ("c.yaml", OPENCV.replace("image_width", "w"), "no imagewidth; .*image_width"),
        ("c.yaml", ROS.replace("[500.0, 0,", "[500.0,"), "has 8 numbers instead of 9"),
        ("c.ini", INI.replace("\nwidth", "\nbreadth"), "no numbers under 'width'"),
        ("c.yaml", ROS.replace("0.1,", "a,"), "could not convert string to float: 'a'; expected"),
        ("c.yaml", ROS.replace("plumb_bob", "omni"), "unknown distortion model 'omni'; expected"),
        ("c.yaml", ROS.replace("0.1, -0.2, 0.0, ", ""), "'plumb_bob' is 2; expected"),
        ("c.toml", TOML.format(distortions="[0.1, 0, 0, 0, 0]", fisheye="true"), "is 5; expected"),
        ("c.yaml", ROS.replace("320, 0", "0, 0").replace("240, 0, 0", "0, 320, 240"), "MATLAB"),
    ],
)
def test_what_is_not_read_is_named_in_one_sentence(
    tmp_path: Path, name: str, text: str, words: str
) -> None:
    with pytest.raises(CalibrationError, match=words) as error:
        load_camera(written(tmp_path, name, text))
    assert "\n" not in str(error.value) and f"/{name}" in str(error.value)


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
        ("c.yaml", ROS.replace("640", ".inf")),
        ("c.yaml", ROS.replace("640", ".nan")),
        ("c.toml", TOML.format(distortions="[0, 0, 0, 0]", fisheye="false").replace("1768", "inf")),
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
    for focal_px, words in (
        (0.0, "expected positive"),
        (26.0, "26 px for images of 1920x1080 pixels .* Is it in millimetres"),
        (1e6, "field of view"),
        (float("inf"), "not finite"),
    ):
        with pytest.raises(CalibrationError, match=words):
            camera_from_focal(focal_px, 1920, 1080)
