"""Synchronised videos of a folder: an imagined person before four cameras with their own clocks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from moro_ros.cli import evaluate_multiview
from moro_ros.cli.cli import main
from moro_ros.errors import CalibrationError, DataError
from moro_ros.evaluation.calibrations import load_calibration
from moro_ros.evaluation.video_score import NUM_POINTS, NUM_ROWS
from moro_ros.evaluation.video_set import (
    CONDITIONS,
    VideoSet,
    at_times,
    build_set,
    find_calibration,
    find_videos,
    keypoint_names,
    load_set,
    observe_at_own_times,
    read_times,
)
from moro_ros.geometry.lens import image_points
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.geometry.views import View
from moro_ros.live.synthetic_scenes import sitter
from moro_ros.types import KEYPOINTS, NUM_KEYPOINTS, Camera, Frame, Keypoints, PersonObservation

WIDTH, HEIGHT, FRAMES, RATE_HZ = 320, 240, 40, 10.0
MATRIX = [[300.0, 0.0, 160.0], [0.0, 300.0, 120.0], [0.0, 0.0, 1.0]]
LENS = [-0.1, 0.01, 0.0, 0.0, 0.0]
LAG_NS = 30_000_000  # each camera exposes so much later than the one before
NAMES = list(KEYPOINTS)


def cameras() -> list[View]:
    """Four cameras in a ring of 2.5 m around a person who sits at (-0.9, 0.45, 3.0)."""
    views = []
    for number, angle in enumerate(np.deg2rad([-50, -15, 20, 55])):
        rotation = Rotation.from_euler("y", angle).as_matrix()
        camera = Camera(np.array(MATRIX), WIDTH, HEIGHT, tuple(LENS))
        middle = np.array([-0.9, 0.25, 3.0])
        shift = np.array([0, 0, 2.5]) - rotation @ middle
        views.append(View(f"cam_{number}", camera, rotation, shift))
    return views


@pytest.fixture(scope="module")
def person(open_body):
    """person(seconds): the sitter's 19 keypoints, (K, 3) m in the world."""

    def keypoints(seconds: float) -> np.ndarray:
        pose, pelvis, _ = sitter(seconds)
        skeleton = open_body.skeleton(torch.zeros(1, 10))
        turns = rotvec_to_matrix(torch.from_numpy(pose).float())[None]
        chain, joints = open_body.forward_kinematics(turns, skeleton.joints[:, :22])
        points = open_body.keypoints(chain, joints, skeleton.keypoint_offsets)[0].numpy()
        return points.astype(np.float64) + pelvis

    return keypoints


def seen_by(view: View, points: np.ndarray) -> Keypoints:
    pixels = image_points(points @ view.rotation.T + view.translation, view.camera)
    full = np.ones(NUM_KEYPOINTS, np.float32)
    return Keypoints(pixels.astype(np.float32), full, full)


class ImaginedFrontend:
    """Reports the person of one view after the other; reset() goes on to the next view."""

    def __init__(self, views: list[View], person) -> None:
        self.views, self.person = iter(views), person
        self.sizes: set[tuple[int, ...]] = set()

    def reset(self) -> None:
        self.view = next(self.views)

    def observe(self, image_rgb: np.ndarray, stamp_ns: int) -> tuple[PersonObservation, ...]:
        self.sizes.add(image_rgb.shape)
        keypoints = seen_by(self.view, self.person(stamp_ns * 1e-9))
        return (PersonObservation(4, np.zeros(4, np.float32), 1.0, keypoints),)


def caliscope(views: list[View], unit_m: float = 1.0) -> str:
    tables = [
        f"[cameras.{number}]\ncam_id = {number}\nignore = false\nsize = [{WIDTH}, {HEIGHT}]\n"
        f"matrix = {MATRIX}\ndistortions = {LENS}\nrotation = {view.rotation.tolist()}\n"
        f"translation = {(view.translation / unit_m).tolist()}\n"
        for number, view in enumerate(views)
    ]
    return "\n".join(tables)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What caliscope leaves: camera_array.toml, timestamps.csv and a video for each camera."""
    path = tmp_path_factory.mktemp("set")
    (path / "camera_array.toml").write_text(caliscope(cameras()))
    lines = ["sync_index,cam_id,frame_index,frame_time"]
    for number in range(4):
        code = cv2.VideoWriter.fourcc(*"MJPG")
        writer = cv2.VideoWriter(str(path / f"cam_{number}.avi"), code, RATE_HZ, (WIDTH, HEIGHT))
        for frame in range(FRAMES):
            writer.write(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
            time_s = 7.0 + frame / RATE_HZ + number * LAG_NS * 1e-9
            lines.append(f"{frame},{number},{frame},{time_s}")
        writer.release()
    (path / "timestamps.csv").write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def videos(folder, person) -> VideoSet:
    return load_set(folder, ImaginedFrontend(cameras(), person))


@pytest.mark.parametrize("table", [True, False])
def test_what_is_missing_of_a_video_is_told(folder, person, tmp_path, caplog, table) -> None:
    video = tmp_path / "cam_1.avi"
    data = (folder / video.name).read_bytes()
    video.write_bytes(data[: len(data) // 2])
    views = cameras()
    frontend = ImaginedFrontend(views[1:], person)
    times = read_times(folder) if table else {}
    frames = observe_at_own_times(frontend, video, views[1], times)
    assert 5 < len(frames) < FRAMES
    (said,) = caplog.messages
    assert f"{video} is damaged or cut off: it ends early" in said
    assert ("rows of its times do not match" in said) == table


def test_a_whole_video_has_nothing_missing(folder, person, caplog) -> None:
    views = cameras()
    frontend = ImaginedFrontend(views, person)
    assert len(observe_at_own_times(frontend, folder / "cam_0.avi", views[0], {})) == FRAMES
    assert caplog.messages == []


def test_the_truth_is_where_everybody_was_at_each_camera_s_own_times(videos, person) -> None:
    (one,) = videos.people
    for number, (frames, truth) in enumerate(zip(videos.frames, one.truths, strict=True)):
        assert frames[0].stamp_ns == pytest.approx(number * LAG_NS, abs=10)
        true = np.stack([person(7.0 + frame.stamp_ns * 1e-9) for frame in frames])
        known = np.isfinite(truth.points[..., 0])
        assert known.mean() > 0.9
        # Two ends of a clip are seen by fewer cameras; in between lies a tenth of a second.
        assert np.linalg.norm(truth.points - true, axis=-1)[known].max() < 0.005


class PerfectSource:
    """Answers with the person's true keypoints in a view's camera, `off` m from there."""

    sigma_m = 0.05

    def __init__(self, views, person, off: tuple[float, float, float] = (0, 0, 0)) -> None:
        self.views, self.person, self.off = views, person, np.array(off)
        self.number = 0

    def recover(self, frames) -> dict[int, np.ndarray]:
        view = self.views[self.number % len(self.views)]
        self.number += 1
        points = np.stack([self.person(7.0 + frame.stamp_ns * 1e-9) for frame in frames])
        inside = points @ view.rotation.T + view.translation + self.off
        rows = np.full((len(frames), NUM_ROWS, 3), np.nan)
        rows[:, 22:NUM_POINTS] = inside
        rows[:, NUM_POINTS + 22 :] = self.sigma_m
        return {4: rows}


def test_a_perfect_answer_scores_nothing_and_a_shifted_one_its_shift(videos, person) -> None:
    names = keypoint_names("nose,shoulder,elbow,wrist")
    plain = {"plain": CONDITIONS["plain"]}
    for item in videos.evaluate(PerfectSource(videos.views, person), names, plain):
        assert item.relative_mm < 3 and item.mid_shoulder_mm < 3
        assert item.image_px < 0.5 and item.detector_px < 0.5 and item.coverage == 1
        assert item.within_1_sigma == item.within_2_sigma == 1
    off = PerfectSource(videos.views, person, (0.1, 0.0, 0.0))
    for item in videos.evaluate(off, names, plain):
        # Nearly all of it is across the line of sight, on one of three axes: 2 sigma.
        assert item.within_1_sigma == pytest.approx(2 / 3, abs=0.02)
        assert item.relative_mm < 3 and item.mid_shoulder_mm == pytest.approx(100, abs=3)
        assert item.image_px == pytest.approx(300 * 0.1 / 2.5, rel=0.2)  # focal length, distance
    for item in videos.with_true_keypoints().evaluate(off, names, plain):
        assert item.detector_px < 0.01


def test_conditions_hide_what_a_table_hides() -> None:
    below = {name for name in NAMES if CONDITIONS["below the chest hidden"](0, name)}
    parts = ("hip", "knee", "ankle", "heel", "foot_index")
    assert below == {f"{side}_{part}" for side in ("left", "right") for part in parts}


def test_two_guesses_that_meet_by_chance_are_no_truth(person) -> None:
    views = cameras()
    wrist = NAMES.index("left_wrist")

    def frames_of(number: int, view: View) -> list[Frame]:
        frames = []
        for index in range(FRAMES):
            points = person(index / RATE_HZ)
            if number in (1, 2):  # both guess the wrist 0.4 m to the left of where it is
                points[wrist, 0] -= 0.4
            keypoints = seen_by(view, points)
            if number == 3:
                keypoints.visibility[wrist] = 0.1
            seen = PersonObservation(4, np.zeros(4, np.float32), 1.0, keypoints)
            frames.append(Frame(round(index * 1e9 / RATE_HZ), view.camera, (seen,)))
        return frames

    (one,) = build_set(views, [frames_of(*pair) for pair in enumerate(views)]).people
    for truth in one.truths:
        assert np.isnan(truth.points[:, wrist]).all()
        assert np.isfinite(truth.points[:, NAMES.index("nose")]).all()


def test_keypoints_are_interpolated_between_near_frames_alone() -> None:
    camera = Camera(np.array(MATRIX), WIDTH, HEIGHT)

    def frame(stamp_ns: int, x: float, visibility: float) -> Frame:
        keypoints = Keypoints(
            np.full((NUM_KEYPOINTS, 2), x, np.float32),
            np.full(NUM_KEYPOINTS, visibility, np.float32),
            np.ones(NUM_KEYPOINTS, np.float32),
        )
        seen = PersonObservation(1, np.zeros(4, np.float32), 1.0, keypoints)
        return Frame(stamp_ns, camera, (seen,))

    own = [frame(0, 10, 0.9), frame(100, 30, 0.6), frame(200, 40, 0.8), frame(500, 70, 0.8)]
    stamps = np.array([-1, 0, 25, 100, 150, 300, 500, 501])
    found = [f.people[0].keypoints if f.people else None for f in at_times(own, stamps)]
    places = [None if k is None else float(k.points_px[0, 0]) for k in found]
    assert places == [None, 10, 15, 30, 35, None, 70, None]
    assert found[2] is not None and found[2].visibility[0] == pytest.approx(0.6)


@pytest.mark.slow
def test_the_command_scores_a_folder(folder, person, capsys, monkeypatch) -> None:
    frontend = ImaginedFrontend(cameras(), person)
    asked: list[str] = []

    def remembering_frontend(landmarks: str) -> tuple[ImaginedFrontend, None]:
        asked.append(landmarks)
        return frontend, None

    monkeypatch.setattr(evaluate_multiview, "remembering_frontend", remembering_frontend)
    words = ["evaluate", "multiview", str(folder), "--threads", "1", "--json"]
    assert main([*words, "--landmarks", "heavy"]) == 0 and asked == ["heavy"]
    result = json.loads(capsys.readouterr().out)
    assert frontend.sizes == {(HEIGHT, WIDTH, 3)}
    rows = {(r["source"], r["view"], r["condition"]): r for r in result["rows"]}
    views = ("cam_0", "cam_1", "cam_2", "cam_3", "mean")
    assert {key[1] for key in rows} == set(views)
    plain = [rows["moro_open", view, "plain"] for view in views]
    assert plain[-1]["relative_mm"] == pytest.approx(
        np.mean([row["relative_mm"] for row in plain[:-1]]), abs=0.1
    )
    assert 5 < plain[-1]["relative_mm"] < 300 and 0 < plain[-1]["image_px"] < 100
    assert (
        rows["moro_open", "mean", "below the chest hidden"]["frames"] == plain[-1]["frames"] > 100
    )
    assert rows["with true keypoints", "mean", "plain"]["coverage"] == 1
    (truth,) = result["truth"]
    assert (
        truth["views"] == 4 and truth["worst_view_px"] < 1 and truth["shoulders_spread_m"] < 0.005
    )
    assert main(["evaluate", "multiview", str(folder), "--joints", "tail"]) == 1
    assert "No keypoint 'tail': expected names of nose," in capsys.readouterr().err


@pytest.mark.slow
def test_a_calibration_of_another_unit_is_told(folder, person, tmp_path) -> None:
    for video in folder.glob("*.avi"):
        (tmp_path / video.name).symlink_to(video)
    (tmp_path / "camera_array.toml").write_text(caliscope(cameras(), 0.001))
    with pytest.raises(CalibrationError, match=r"--unit-m 0.001 for millimetres"):
        load_set(tmp_path, ImaginedFrontend(cameras(), person))
    videos = load_set(tmp_path, ImaginedFrontend(cameras(), person), unit_m=0.001)
    stamps = [frame.stamp_ns for frame in videos.frames[2]]
    assert np.diff(stamps) == pytest.approx(1e9 / RATE_HZ, rel=0.01)  # the video's own times


def test_says_what_a_folder_lacks(folder, person, tmp_path) -> None:
    with pytest.raises(DataError, match="expected a folder of calibrated videos"):
        find_calibration(tmp_path / "none")
    with pytest.raises(DataError, match=r"has no calibration: expected camera_array.toml"):
        find_calibration(tmp_path)
    views = load_calibration(find_calibration(folder))
    with pytest.raises(DataError, match=r"camera cam_0 needs one video .* found none"):
        find_videos(tmp_path, views)
    for name in ("cam_0.mp4", "take1_cam_0.mp4", "cam_10.mp4"):
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"found cam_0.mp4, take1_cam_0.mp4"):
        find_videos(tmp_path, views)
    (tmp_path / "timestamps.csv").write_text("cam_id,time\n0,1.0\n")
    with pytest.raises(DataError, match="frame_time"):
        read_times(tmp_path)
    for name in ("Calib_a.toml", "Calib_b.toml"):
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"Calib_a.toml, Calib_b.toml: select one"):
        find_calibration(tmp_path)
    wide = tmp_path / "wide.toml"
    wide.write_text(caliscope(cameras()).replace(f"[{WIDTH}, {HEIGHT}]", "[640, 480]"))
    with pytest.raises(CalibrationError, match=r"has 320x240 pixels, but camera cam_0 .* 640x480"):
        load_set(folder, ImaginedFrontend(cameras(), person), calibration=wide)


def test_reads_rotation_vectors_of_pose2sim_and_matrices_of_caliscope(tmp_path) -> None:
    views = cameras()
    (tmp_path / "camera_array.toml").write_text(caliscope(views))
    tables = [
        f'[cam_{number}]\nname = "{view.name}"\nsize = [{WIDTH}.0, {HEIGHT}.0]\nmatrix = {MATRIX}\n'
        f"distortions = {LENS[:4]}\nfisheye = {'true' if number else 'false'}\n"
        f"rotation = {Rotation.from_matrix(view.rotation).as_rotvec().tolist()}\n"
        f"translation = {view.translation.tolist()}\n"
        for number, view in enumerate(views)
    ]
    (tmp_path / "Calib.toml").write_text("\n".join([*tables, "[metadata]\nadjusted = false"]))
    for name in ("camera_array.toml", "Calib.toml"):
        found = load_calibration(tmp_path / name)
        assert [view.name for view in found] == [view.name for view in views]
        for one, other in zip(found, views, strict=True):
            np.testing.assert_allclose(one.rotation, other.rotation, atol=1e-12)
            np.testing.assert_allclose(one.translation, other.translation)
            np.testing.assert_allclose(one.camera.matrix, MATRIX)
            assert (one.camera.width, one.camera.height) == (WIDTH, HEIGHT)
            assert one.camera.distortion[:2] == tuple(LENS[:2])
    models = [view.camera.distortion_model for view in load_calibration(tmp_path / "Calib.toml")]
    assert models == ["plumb_bob", "equidistant", "equidistant", "equidistant"]
    (tmp_path / "broken.toml").write_text(caliscope([replace(views[0], rotation=2 * np.eye(3))]))
    with pytest.raises(CalibrationError, match="camera 0 is not a rotation"):
        load_calibration(tmp_path / "broken.toml")
