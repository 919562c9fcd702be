"""A camera that cannot be is refused with what it probably is; real ones pass."""

from __future__ import annotations

import numpy as np
import pytest

from moro_ros.errors import CalibrationError
from moro_ros.geometry.camera_check import check_camera, distortion_of
from moro_ros.types import Camera

# Calibrations as makers and users of such cameras publish them.
REAL = {
    "webcam": (640, 480, (611.0, 612.0, 322.0, 244.0), "plumb_bob", (0.1, -0.2, 0.001, 0.0, 0.1)),
    "phone upright": (1080, 1920, (1450.0, 1450.0, 540.0, 960.0), "plumb_bob", ()),
    "action camera": (1920, 1080, (900.0, 905.0, 955.0, 545.0), "plumb_bob", (-0.3, 0.1, 0, 0)),
    "Azure Kinect colour": (
        *(1920, 1080, (913.0, 913.0, 959.0, 552.0), "plumb_bob"),
        (0.46, -2.46, 6e-4, -2e-4, 1.38, 0.34, -2.27, 1.31),
    ),
    "OAK-D": (
        *(1920, 1080, (1560.0, 1560.0, 960.0, 540.0), "plumb_bob"),
        (-10.8, 81.1, 1e-3, -3e-4, -110.2, -10.8, 80.3, -108.4, 0, 0, 0, 0, 0, 0),
    ),
    "T265": (
        *(848, 800, (286.0, 286.0, 424.0, 400.0), "equidistant"),
        (-0.0055, 0.0416, -0.0388, 0.0067),
    ),
    "220 degree circle in a wide image": (
        *(1920, 1080, (280.0, 280.0, 960.0, 540.0), "equidistant", (0.0,) * 4),
    ),
    "surveillance zoom, 3 degrees": (1920, 1080, (37e3, 37e3, 960.0, 540.0), "plumb_bob", ()),
    "anamorphic": (720, 576, (1000.0, 500.0, 360.0, 288.0), "plumb_bob", ()),
}
K = np.array([[912.0, 0, 320], [0, 912, 180], [0, 0, 1]])


def camera(matrix: object = K, distortion: tuple = (), model: str = "plumb_bob") -> Camera:
    return Camera(np.array(matrix, dtype=float), 640, 360, distortion, model)


@pytest.mark.parametrize("name", REAL)
def test_real_cameras_pass(name: str) -> None:
    width, height, (fx, fy, cx, cy), model, distortion = REAL[name]
    matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    check_camera(Camera(matrix, width, height, distortion, model), name)


@pytest.mark.parametrize(
    ("wrong", "kind", "words"),
    [
        (camera([[26, 0, 320], [0, 26, 180], [0, 0, 1]]), "implausible",
         "26 px for images of 640x360 pixels .* 171 degrees, expected at most 150.*millimetres"),
        (camera([[1e6, 0, 320], [0, 1e6, 180], [0, 0, 1]]), "implausible", "at least 1"),
        (camera(K / [[640], [360], [1]]), "implausible", "probably normalised.*by the width"),
        (camera(K.T), "implausible", "320, 180, 1: expected fx, .*probably transposed, as MATLAB"),
        (camera([[912, 0, 9000], [0, 912, 180], [0, 0, 1]]), "implausible",
         r"principal point \(9000, 180\) is not inside the 640x360 image"),
        (camera([[912, 0, 0], [0, 912, 0], [0, 0, 1]]), "implausible", r"its centre \(320, 18"),
        (camera([[912, 0, 320], [0, 90, 180], [0, 0, 1]]), "implausible", "912 and 90 px.*similar"),
        (camera([[912, 50, 320], [0, 912, 180], [0, 0, 1]]), "implausible", "skew of 50 px"),
        (camera(912 * K), "implausible", "expected fx, 0, cx, 0, fy, cy, 0, 0, 1"),
        (camera(K, (1e3, 0.0, 0.0, 0.0, 0.0)), "distortion", "1000, 0, .*as no lens does"),
        (camera(K, (0.0, 0.0, 5.0, 0.0)), "distortion", "as no lens does"),
        (camera(K, (-40.0, 0.0, 0.0, 0.0), "equidistant"), "distortion", "k1 to k4"),
        (camera(K, (np.inf, 0.0, 0.0, 0.0)), "not_finite", "not finite"),
        (camera(K * np.nan), "not_finite", "not finite"),
        (camera(0 * K), "zero", "0 and 0 px, expected positive"),
        (Camera(K, 0, 360), "size", "0x360"),
        (camera([[30, 0, 320], [0, 30, 180], [0, 0, 1]], (0.0,) * 4, "equidistant"), "implausible",
         "688 degrees, expected at most 360"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_what_was_meant(
    wrong: Camera, kind: str, words: str
) -> None:
    with pytest.raises(CalibrationError, match=f"^there: .*{words}") as error:
        check_camera(wrong, "there")
    assert error.value.reason == f"camera_info_{kind}"
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        *("equidistant", "EQUIDISTANT", "fisheye", "kannala_brandt", "kannala_brandt4", "kb4"),
        *("Kannala Brandt4", "Kannala-Brandt", "OPENCV_FISHEYE"),
    ],
)
def test_all_names_of_the_equidistant_lens(name: str) -> None:
    values = (0.1, 0.2, 0.0, 0.3)
    assert distortion_of(name, values, "c") == ("equidistant", values)
    # Without coefficients it bends too; the numbers do not make it a pinhole.
    assert distortion_of(name, (), "c") == ("equidistant", (0.0,) * 4)
    for bad in ((0.1,) * 3, (0.1,) * 5):
        with pytest.raises(CalibrationError, match=f"is {len(bad)}; expected .*fisheye"):
            distortion_of(name, bad, "c")


@pytest.mark.parametrize("name", ["plumb_bob", "Plumb Bob", "radtan", "rational_polynomial"])
def test_numbers_of_coefficients_are_opencvs(name: str) -> None:
    for count in (4, 5, 8, 12, 14):
        values = (0.1,) * count
        assert distortion_of(name, values, "c") == ("plumb_bob", values)
    for count in (1, 2, 3, 6, 7, 9, 13, 15):
        with pytest.raises(CalibrationError, match=rf"is {count}; expected .* 4, 5, 8, 12 or 14"):
            distortion_of(name, (0.1,) * count, "c")
    for none in ((), (0.0,) * 5):
        assert distortion_of(name, none, "c") == ("plumb_bob", ())


@pytest.mark.parametrize("name", ["omni", "double_sphere4", "ds", "fov", "", "none", "eucm"])
def test_other_models_are_refused_by_name(name: str) -> None:
    with pytest.raises(
        CalibrationError, match=f"unknown distortion model '{name}'; expected plumb_bob"
    ):
        distortion_of(name, (0.1, 0.0, 0.0, 0.0), "c")


def test_unknown_names_without_coefficients_are_pinholes_unless_k_means_something_else() -> None:
    assert distortion_of("none", (0.0,) * 5, "c") == ("plumb_bob", ())
    assert distortion_of("", (), "c") == ("plumb_bob", ())
    with pytest.raises(CalibrationError, match="unknown distortion model 'omni'"):
        distortion_of("omni", (0.0,) * 4, "c")
