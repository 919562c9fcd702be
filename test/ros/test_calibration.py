"""A calibration that breathes is followed, another camera is told, a flapping one is explained."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from moro_ros.io.camera_file import camera_from_focal
from moro_ros.ros import calibration as module
from moro_ros.ros.calibration import DEFAULT_FRAME, FLAPPING, FLAPPING_S, Calibration
from moro_ros.ros.conversions import camera_info_message
from moro_ros.ros.parameters import NodeConfig

OPTIONS = NodeConfig()
CAMERA = camera_from_focal(900.0, 1280, 720, "lens")


def info(focal: float = 900.0, cx: float = 0.0, **changes: Any) -> CameraInfo:
    """The camera_info of CAMERA with another focal length and a principal point moved by cx px."""
    matrix = np.array([[focal, 0, 639.5 + cx], [0, focal, 359.5], [0, 0, 1.0]])
    return camera_info_message(replace(CAMERA, matrix=matrix, **changes), Header(frame_id="lens"))


def lens(*coefficients: float) -> dict[str, Any]:
    return {"distortion": (*coefficients, *([0.0] * (5 - len(coefficients))))}


def changes(*infos: CameraInfo, options: NodeConfig = OPTIONS) -> list[str]:
    kept = Calibration()
    return [kept.update("", each, options) for each in infos]


def test_a_breathing_camera_is_followed_however_far_it_comes() -> None:
    kept = Calibration()
    for i in range(100):
        focal = 900.0 * 1.009**i
        assert kept.update("", info(focal, 12.0 * (i % 2)), OPTIONS) == ""
        assert kept.camera is not None and kept.camera.matrix[0, 0] == pytest.approx(focal)
    assert kept.flapping == ""
    assert changes(info(), info(900.0 + 1e-9), info()) == ["", "", ""]


@pytest.mark.parametrize(
    ("image_frame", "info_frame", "expected"),
    [
        ("/lens", "other", "lens"),
        ("", "/lens", "lens"),
        ("/", "/", DEFAULT_FRAME),
        ("front/lens", "", "front/lens"),
    ],
)
def test_frames_are_named_as_tf_names_them(
    image_frame: str, info_frame: str, expected: str
) -> None:
    kept, message = Calibration(), info()
    message.header.frame_id = info_frame
    assert kept.update(image_frame, message, OPTIONS) == ""
    assert kept.camera is not None and kept.camera.frame_id == expected
    # With and without a slash it is the same camera.
    assert kept.update(image_frame.lstrip("/"), message, OPTIONS) == ""


def test_each_great_change_is_told_with_what_changed() -> None:
    small = camera_from_focal(900.0, 640, 360, "lens")
    told = changes(
        info(), info(930.0), info(930.0, 20.0), info(930.0, 20.0, **lens(-0.3, 0.1)),
        camera_info_message(small, Header(frame_id="lens")),
        camera_info_message(small, Header(frame_id="other")),
    )  # fmt: skip
    assert told[1] == "focal length from 900.0 to 930.0 px"
    assert told[2] == "principal point moved by 20.0 px"
    assert told[3].startswith("distortion moves points by up to ")
    assert told[4] == "from 1280x720 to 640x360 pixels"
    assert told[5] == "from frame 'lens' to 'other'"


def test_distortion_counts_by_what_it_moves() -> None:
    # At the corner 0.82 of the focal length away, k1 moves a point by k1 0.82^3 of it.
    followed, other = 0.01, 0.04
    assert changes(info(**lens(-0.2)), info(**lens(-0.2 + followed))) == ["", ""]
    assert changes(info(**lens(-0.2)), info(**lens(-0.2 + other)))[1]
    fisheye = {"distortion_model": "equidistant", "distortion": (0.1, 0.0, 0.0, 0.0)}
    bent = {"distortion_model": "equidistant", "distortion": (0.3, 0.0, 0.0, 0.0)}
    assert changes(info(**lens(-0.2)), info(**fisheye))[1] == "from plumb_bob to equidistant"
    assert changes(info(**fisheye), info(**bent))[1].startswith("distortion moves")


def test_the_limits_are_options() -> None:
    strict = replace(OPTIONS, camera_info_focal_change=0.001, camera_info_center_change=0.001)
    assert changes(info(), info(904.0), options=strict)[1].startswith("focal")
    assert changes(info(), info(900.0, 6.0), options=strict)[1].startswith("principal")
    loose = replace(OPTIONS, camera_info_focal_change=1.0)
    assert changes(info(), info(1200.0), options=loose) == ["", ""]


def test_flapping_is_explained_by_whether_it_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    two, zoom = Calibration(), Calibration()
    for i in range(2 * FLAPPING):
        now[0] += 0.1
        two.update("", info(900.0 if i % 2 else 600.0), OPTIONS)
        zoom.update("", info(900.0 + 50.0 * i), OPTIONS)
    assert "two drivers publish on one topic" in two.flapping
    assert "zooms" in zoom.flapping
    now[0] += FLAPPING_S
    assert two.flapping == zoom.flapping == ""
