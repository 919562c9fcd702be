"""camera_info to Camera and back; what cannot be a calibration is refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Header

from moro_ros.errors import CalibrationError
from moro_ros.io.camera_info import camera_of_info
from moro_ros.ros.conversions import (
    camera_info_message,
    camera_key,
    check_size,
    ns_to_stamp,
    stamp_to_ns,
)
from moro_ros.types import Camera

RATIONAL = [0.1, -0.2, 0.001, 0.002, 0.05, 0.2, 0.1, 0.05]
MATRIX = np.array([[900.0, 0.0, 610.0], [0.0, 910.0, 355.0], [0.0, 0.0, 1.0]])


def info(**changes: Any) -> CameraInfo:
    message = CameraInfo(width=1280, height=720, header=Header(frame_id="lens"))
    message.k = MATRIX.ravel()
    message.p = np.hstack([MATRIX + np.diag([11.0, 12.0, 0.0]), np.zeros((3, 1))]).ravel()
    message.distortion_model = "plumb_bob"
    message.d = [0.0] * 5
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ("model", "coefficients", "expected"),
    [
        ("plumb_bob", [0.1, -0.2, 0.001, 0.002, 0.05], "plumb_bob"),
        ("plumb_bob", [0.1, -0.2, 0.001, 0.002], "plumb_bob"),
        ("rational_polynomial", RATIONAL, "plumb_bob"),
        ("equidistant", [0.1, -0.2, 0.03, 0.002], "equidistant"),
        ("equidistant", [0.0, 0.0, 0.0, 0.0], "equidistant"),
        ("equidistant", [], "equidistant"),
        ("Kannala Brandt4", [0.1, -0.2, 0.03, 0.002], "equidistant"),
        ("rational_polynomial", [*RATIONAL, 1e-3, 2e-3, 0.0, 1e-3], "plumb_bob"),
        ("rational_polynomial", [*RATIONAL, 1e-3, 2e-3, 0.0, 1e-3, 0.02, 0.01], "plumb_bob"),
        ("plumb_bob", [], "plumb_bob"),
        ("", [0.0] * 5, "plumb_bob"),
    ],
)
def test_camera_survives_the_round_trip(model: str, coefficients: list, expected: str) -> None:
    camera = camera_of_info(info(distortion_model=model, d=coefficients))
    assert camera.distortion_model == expected
    bent = any(coefficients) or expected == "equidistant"
    assert camera.distortion == (tuple(coefficients) or (0.0,) * 4 if bent else ())
    assert (camera.width, camera.height, camera.frame_id) == (1280, 720, "lens")
    np.testing.assert_array_equal(camera.matrix, MATRIX)
    again = camera_of_info(camera_info_message(camera, Header(frame_id="lens")))
    np.testing.assert_array_equal(again.matrix, camera.matrix)
    assert (again.distortion, again.distortion_model) == (camera.distortion, expected)


def test_rectified_images_take_p_and_no_distortion() -> None:
    camera = camera_of_info(info(d=[0.1] * 5), rectified=True)
    np.testing.assert_array_equal(camera.matrix, MATRIX + np.diag([11.0, 12.0, 0.0]))
    assert camera.distortion == ()


def test_region_and_binning_keep_directions() -> None:
    """A pixel of the delivered image sees what the pixel of the full image saw."""
    roi = RegionOfInterest(x_offset=200, y_offset=100, width=640, height=400)
    full = camera_of_info(info())
    part = camera_of_info(info(roi=roi, binning_x=2, binning_y=4))
    assert (part.width, part.height) == (320, 100)
    pixel = np.array([500.0, 300.0, 1.0])
    in_part = np.array([(500.0 - 200.0) / 2, (300.0 - 100.0) / 4, 1.0])
    np.testing.assert_allclose(
        np.linalg.solve(part.matrix, in_part), np.linalg.solve(full.matrix, pixel)
    )
    # A binning of 0 means none.
    assert camera_of_info(info(binning_x=0)).width == 1280


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"k": np.zeros(9)}, "camera_info_zero"),
        ({"k": -MATRIX.ravel()}, "camera_info_zero"),
        ({"k": np.full(9, np.inf)}, "camera_info_not_finite"),
        ({"d": [0.1, float("nan")]}, "camera_info_not_finite"),
        ({"d": [0.1, 0.2, 0.3]}, "camera_info_distortion"),
        ({"distortion_model": "fov", "d": [0.9]}, "camera_info_distortion"),
        ({"distortion_model": "omni"}, "camera_info_distortion"),
        ({"distortion_model": "equidistant", "d": [0.1] * 5}, "camera_info_distortion"),
        ({"d": [1e3, 0.0, 0.0, 0.0, 0.0]}, "camera_info_distortion"),
        ({"k": MATRIX.T.ravel()}, "camera_info_implausible"),
        ({"k": (MATRIX / [[1280], [720], [1]]).ravel()}, "camera_info_implausible"),
        ({"width": 600, "height": 300}, "camera_info_implausible"),
        ({"width": 0}, "camera_info_size"),
    ],
)
def test_bad_calibrations_are_refused_by_name(change: dict, reason: str) -> None:
    with pytest.raises(CalibrationError) as error:
        camera_of_info(info(**change))
    assert error.value.reason == reason


def test_a_region_may_leave_the_principal_point_outside() -> None:
    """The check is of the lens, and not of the part of its image that a driver delivers."""
    roi = RegionOfInterest(x_offset=0, y_offset=400, width=64, height=48)
    camera = camera_of_info(info(roi=roi))
    assert camera.matrix[0, 2] > 64 and camera.matrix[1, 2] < 0


def test_image_size_must_be_the_calibration_s() -> None:
    camera = Camera(MATRIX, 1280, 720)
    check_size(camera, 1280, 720)
    with pytest.raises(
        CalibrationError, match="640x360 pixels but camera_info is for 1280x720"
    ) as error:
        check_size(camera, 640, 360)
    assert error.value.reason == "camera_info_size"


def test_key_changes_with_the_camera_but_not_with_the_stamp() -> None:
    later = info()
    later.header.stamp = ns_to_stamp(5)
    assert camera_key(later) == camera_key(info())
    for change in ({"width": 1}, {"d": [0.1] * 5}, {"binning_x": 2}, {"k": 2 * MATRIX.ravel()}):
        assert camera_key(info(**change)) != camera_key(info())


@pytest.mark.parametrize("stamp_ns", [0, 1, 999_999_999, 1_795_390_774_927_480_508])
def test_stamps_keep_every_nanosecond(stamp_ns: int) -> None:
    assert stamp_to_ns(ns_to_stamp(stamp_ns)) == stamp_ns
