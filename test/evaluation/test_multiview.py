"""Several cameras: reading their calibration, and triangulation that survives one wrong view."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from moro_ros.errors import CalibrationError
from moro_ros.evaluation.calibrations import load_calibration
from moro_ros.evaluation.multiview import triangulate
from moro_ros.evaluation.pose2sim import Trial, build_trial, with_refined_extrinsics
from moro_ros.geometry.camera import project
from moro_ros.geometry.lens import undistort_points
from moro_ros.geometry.views import View
from moro_ros.types import NUM_KEYPOINTS, Camera, Frame, Keypoints, PersonObservation

MATRIX = np.array([[1500.0, 0, 540], [0, 1500, 960], [0, 0, 1]])
FRAMES = 3


@pytest.fixture(scope="module")
def views() -> tuple[View, ...]:
    """Four cameras in a ring of 4 m around the origin, looking at it, y down."""
    made = []
    for number, angle in enumerate(np.deg2rad([10, 100, 190, 280])):
        rotation = Rotation.from_euler("y", angle).as_matrix()
        camera = Camera(MATRIX, 1080, 1920)
        made.append(View(f"cam{number}", camera, rotation, np.array([0, 0, 4.0])))
    return tuple(made)


@pytest.fixture(scope="module")
def world() -> np.ndarray:
    return np.random.default_rng(2).uniform(-0.8, 0.8, (FRAMES, NUM_KEYPOINTS, 3))


def seen_by(view: View, world: np.ndarray, visibility: float = 1.0) -> list[Frame]:
    frames = []
    for number, points in enumerate(world):
        inside = torch.from_numpy(points @ view.rotation.T + view.translation)
        pixels = project(inside, torch.from_numpy(MATRIX)).numpy()
        full = np.full(NUM_KEYPOINTS, visibility)
        person = PersonObservation(1, np.zeros(4), 1.0, Keypoints(pixels, full, np.ones_like(full)))
        frames.append(Frame(number, view.camera, (person,)))
    return frames


def test_finds_points_that_all_views_see(views, world) -> None:
    truth = triangulate(views, [seen_by(view, world) for view in views])
    np.testing.assert_allclose(truth.points, world, atol=1e-4)
    assert truth.error_px.max() < 0.1


def test_leaves_out_the_one_view_that_disagrees(views, world) -> None:
    frames = [seen_by(view, world) for view in views]
    for frame in frames[2]:
        frame.people[0].keypoints.points_px[4] += (150.0, -90.0)
    truth = triangulate(views, frames)
    np.testing.assert_allclose(truth.points, world, atol=1e-4)


def test_is_silent_where_views_do_not_agree_or_do_not_see(views, world) -> None:
    frames = [seen_by(view, world) for view in views]
    shift = np.random.default_rng(0).normal(0, 400, (4, 2))
    for of_view, move in zip(frames, shift, strict=True):
        for frame in of_view:
            frame.people[0].keypoints.points_px[4] += move
    for of_view in frames[1:]:
        for frame in of_view:
            frame.people[0].keypoints.visibility[7] = 0.2
    truth = triangulate(views, frames)
    known = np.isfinite(truth.points[..., 0])
    expected = np.ones_like(known)
    expected[:, [4, 7]] = False
    np.testing.assert_array_equal(known, expected)
    np.testing.assert_array_equal(np.isfinite(truth.error_px), expected)


def test_an_image_without_the_person_does_not_count(views, world) -> None:
    frames = [seen_by(view, world) for view in views]
    frames[0][1] = Frame(1, views[0].camera, ())
    np.testing.assert_allclose(triangulate(views, frames).points, world, atol=1e-4)


CAMERA = """<camera serial="{name}">
<fov_video bottom="1919" left="0" right="1079" top="0"/>
<transform r11="1" r12="0" r13="0" r21="0" r22="0" r23="1" r31="0" r32="-1" r33="0"
 x="1000" y="-5000" z="1500"/>
<intrinsic centerPointU="34560" centerPointV="61440" focalLengthU="96000" focalLengthV="96064"
 radialDistortion1="-0.1" radialDistortion2="0.02" tangentalDistortion1="0.001"
 tangentalDistortion2="0.002"/>
</camera>"""


def write_calibration(path: Path, names: tuple[str, ...]) -> Path:
    cameras = "".join(CAMERA.format(name=name) for name in names)
    path.write_text(f"<calibration><cameras>{cameras}</cameras></calibration>", encoding="utf-8")
    return path


def test_reads_a_qualisys_camera_as_an_opencv_camera(tmp_path) -> None:
    first, second = load_calibration(write_calibration(tmp_path / "c.txt", ("cam01", "cam02")))
    assert (first.name, second.name) == ("cam01", "cam02")
    np.testing.assert_allclose(first.camera.matrix, [[1500, 0, 540], [0, 1501, 960], [0, 0, 1]])
    assert (first.camera.width, first.camera.height) == (1080, 1920)
    assert first.camera.distortion == (-0.1, 0.02, 0.001, 0.002)
    # The camera stands at (1, -5, 1.5) in a z-up world and looks along +y.
    np.testing.assert_allclose(first.rotation @ [1, -5, 1.5] + first.translation, 0, atol=1e-12)
    np.testing.assert_allclose(first.rotation @ [1, 0, 1.5] + first.translation, [0, 0, 5])
    np.testing.assert_allclose(first.rotation @ [1, 0, 2.5] + first.translation, [0, -1, 5])
    assert np.linalg.det(first.rotation) == pytest.approx(1)
    centre = undistort_points(np.array([[540.0, 960.0]]), first.camera)
    np.testing.assert_allclose(centre, [[540, 960]], atol=1e-6)


def test_a_qualisys_video_that_is_a_part_of_the_sensor_keeps_its_principal_point(tmp_path) -> None:
    path = write_calibration(tmp_path / "c.txt", ("cam01", "cam02"))
    text = path.read_text(encoding="utf-8")
    text = text.replace('bottom="1919" left="0"', 'bottom="1719" left="100"')
    text = text.replace('top="0"', 'top="200"')
    text = text.replace("/>\n</camera>", ' radialDistortion3="0.3"/></camera>')
    path.write_text(text, encoding="utf-8")
    camera = load_calibration(path)[0].camera
    assert (camera.width, camera.height) == (980, 1520)
    np.testing.assert_allclose(camera.matrix[:2, 2], [440, 760])
    assert camera.distortion == (-0.1, 0.02, 0.001, 0.002, 0.3)


def test_says_what_is_wrong_with_a_calibration(tmp_path) -> None:
    with pytest.raises(CalibrationError, match="has 1 cameras"):
        load_calibration(write_calibration(tmp_path / "one.txt", ("cam01",)))
    (tmp_path / "text.txt").write_text("fx = 1000", encoding="utf-8")
    with pytest.raises(CalibrationError, match="not a Qualisys calibration"):
        load_calibration(tmp_path / "text.txt")
    broken = (tmp_path / "c.txt").with_name("broken.txt")
    write_calibration(broken, ("a", "b"))
    broken.write_text(broken.read_text().replace("<intrinsic", "<lens"), encoding="utf-8")
    with pytest.raises(CalibrationError, match="intrinsic"):
        load_calibration(broken)
    write_calibration(broken, ("a", "b"))
    broken.write_text(broken.read_text().replace('"1079"', '"inf"'), encoding="utf-8")
    with pytest.raises(CalibrationError, match="not a Qualisys calibration"):
        load_calibration(broken)


def test_extrinsics_that_are_off_are_refined_from_the_people(views) -> None:
    """The second camera is turned by 0.7 degrees, so rays do not meet where the points are."""
    world = np.random.default_rng(4).uniform(-0.8, 0.8, (20, NUM_KEYPOINTS, 3))
    frames = [tuple(seen_by(view, world)) for view in views]
    turn = Rotation.from_euler("xyz", [0.5, -0.5, 0.2], degrees=True).as_matrix()
    off = replace(views[1], rotation=turn @ views[1].rotation)
    given = build_trial("walk", (views[0], off, *views[2:]), frames)
    (refined,) = with_refined_extrinsics([given])

    def off_px(trial: Trial) -> float:
        (person,) = trial.people
        return float(np.nanmean(person.truth.error_px))

    assert refined.frames == given.frames and refined.views[0] == given.views[0]
    assert off_px(given) > 1.0
    assert off_px(refined) < 0.3 * off_px(given)
