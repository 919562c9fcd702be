"""moro fuse and moro calibrate on a folder of videos, with imagined people in them."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from moro_ros.cli import calibrate, several_videos
from moro_ros.cli.cli import main
from moro_ros.cli.several_videos import pipeline_config
from moro_ros.config import MotionConfig, PipelineConfig
from moro_ros.evaluation.calibrations import load_calibration
from moro_ros.io.recording import load_recording
from moro_ros.recover.fusion.extrinsics import Refined, apart, stepped
from moro_ros.recover.ground import GIVEN_SIGMA
from moro_ros.types import PipelineResult

RATE_HZ, FRAMES = 30.0, 30
SMALL = (320, 180)


class ImaginedPipeline:
    """Sees the people of the stage in the images of one camera after the other."""

    def __init__(self, stage, view) -> None:
        self.view, self.stage, self.stream = view, stage, stage
        self.floor, self.sigma, self.doubts = None, 0.0, {}

    def set_floor(self, plane, sigma) -> None:
        self.floor, self.sigma = plane, sigma

    def ignored_floor(self) -> dict[int, str]:
        return self.doubts

    def push(self, image, stamp_ns, camera) -> PipelineResult:
        assert image.shape[:2] == (camera.height, camera.width)
        frame, motions = self.stage.look(self.view, stamp_ns * 1e-9)
        return PipelineResult(stamp_ns, camera, frame.people, motions)


@pytest.fixture()
def small(stage):
    """The stage before cameras of small images."""
    matrix = np.array([[225.0, 0, 160], [0, 225.0, 90], [0, 0, 1]])
    camera = replace(stage.views[0].camera, matrix=matrix, width=SMALL[0], height=SMALL[1])
    return replace(stage, views=tuple(replace(view, camera=camera) for view in stage.views))


def test_each_image_gets_the_motion_of_its_own_time():
    """The fusion combines it with the keypoints of the image."""
    slow = MotionConfig(passes=3, look_ahead=4, refined_lag=15)
    config = pipeline_config(PipelineConfig(motion=slow))
    assert config == PipelineConfig(realtime=False, motion=MotionConfig(passes=3))


@pytest.fixture()
def folder(small, tmp_path, monkeypatch) -> Path:
    """Three videos of a second and their Calib.toml."""
    path = tmp_path / "set"
    path.mkdir()
    for view in small.views:
        write_video(path / f"{view.name}.avi", FRAMES)
    calibrate.write_toml(path / "Calib.toml", small.views)

    imagine(monkeypatch, small, small.views)
    return path


def imagine(monkeypatch, stage, views) -> list[ImaginedPipeline]:
    """Let the pipelines of the commands see the stage from views; returns them once they are made.

    They are made in the order of the views.
    """
    made: list[ImaginedPipeline] = []

    class Pool:
        def __init__(self) -> None:
            self.views = iter(views)

        def pipeline(self, _config) -> ImaginedPipeline:
            made.append(ImaginedPipeline(stage, next(self.views)))
            return made[-1]

    monkeypatch.setattr(several_videos, "fetch_models", lambda _config: None)
    monkeypatch.setattr(several_videos, "PipelinePool", Pool)
    return made


def write_video(path: Path, frames: int, size: tuple[int, int] = SMALL) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), RATE_HZ, size)
    for _ in range(frames):
        writer.write(np.zeros((size[1], size[0], 3), np.uint8))
    writer.release()


def test_fuse_writes_one_motion_in_the_world(folder, small, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert main(["fuse", str(folder), "--out", str(out)]) == 0
    recording = load_recording(out / "motion.npz")
    assert sorted(path.name for path in out.iterdir()) == ["joints.csv", "motion.npz"]
    assert len(recording.stamps_ns) == FRAMES and len(recording.people()) == 2
    assert recording.frame_id == "world" and not recording.in_camera_frame()
    last = [rows[-1] for rows in recording.people().values()]
    for number in (0, 1):
        true = small.person(number, last[0]["stamps_ns"] * 1e-9).joints[0]
        off = min(np.linalg.norm(row["joints"] - true, axis=-1).max() for row in last)
        assert off < 0.03
    printed = capsys.readouterr()
    assert "2 people from 3 cameras" in printed.out and "left" in printed.out
    assert printed.err.count("disagrees") == 0


def test_fuse_in_the_frame_of_a_camera(folder, small, tmp_path) -> None:
    out = tmp_path / "out"
    assert main(["fuse", str(folder), "--out", str(out), "--frame", "middle"]) == 0
    recording = load_recording(out / "motion.npz")
    assert recording.camera is not None and recording.camera.width == SMALL[0]
    row = recording.people()[1][-1]
    seconds = row["stamps_ns"] * 1e-9
    off = [
        np.linalg.norm(small.views[1].inside(small.person(n, seconds).joints[0]) - row["joints"])
        for n in (0, 1)
    ]
    assert min(off) < 0.2


def test_every_camera_gets_the_floor_in_its_own_frame(folder, small, tmp_path, monkeypatch) -> None:
    """The cameras are 1 m high in a world with y downwards."""
    made = imagine(monkeypatch, small, small.views)
    words = ["fuse", str(folder), "--out", str(tmp_path / "out")]
    assert main([*words, "--floor=0,-1,0,1"]) == 0
    assert len(made) == 3
    for pipeline in made:
        ground = pipeline.view.inside(np.array([[0.3, 1.0, -0.5], [-2.0, 1.0, 1.0]]))
        np.testing.assert_allclose(pipeline.floor.heights(ground), 0.0, atol=1e-9)
        assert pipeline.floor.heights(np.zeros(3)) == pytest.approx(1.0)
        assert pipeline.sigma == GIVEN_SIGMA
    imagined = imagine(monkeypatch, small, small.views)
    assert main(words) == 0 and all(pipeline.floor is None for pipeline in imagined)


def test_a_camera_that_ignores_the_floor_is_named(folder, tmp_path, capsys, monkeypatch) -> None:
    def doubts(self) -> dict[int, str]:
        lean = {1: "they would lean by 40 degrees", 2: "they would lean by 40 degrees"}
        return lean if self.view.name == "middle" else {}

    monkeypatch.setattr(ImaginedPipeline, "ignored_floor", doubts)
    words = ["fuse", str(folder), "--out", str(tmp_path / "out"), "--floor=0,-1,0,1"]
    assert main(words) == 0
    told = capsys.readouterr().err
    each = [f"person {i} in {FRAMES} images (they would lean by 40 degrees)" for i in (1, 2)]
    assert f"Camera middle ignored the floor for {', '.join(each)}." in told
    assert told.count("ignored the floor") == 1


@pytest.mark.parametrize(
    ("floor", "message"),
    [
        ("0,0,1", "--floor: got '0,0,1', expected A,B,C,D"),
        ("z", "--floor: got 'z', expected A,B,C,D"),
        ("0,-1,0,nan", "--floor: got '0,-1,0,nan', expected A,B,C,D"),
        ("0,-2,0,1", "whose A,B,C has the length 2, expected A,B,C,D"),
        ("0,0,0,1", "whose A,B,C has the length 0, expected A,B,C,D"),
        ("0,1,0,-1", "by which camera left is 1.00 m below the floor, expected 0.05 to 20 m"),
        ("0,-1,0,1000", "by which camera left is 1000.00 m above the floor, expected 0.05 to 20 m"),
    ],
)
def test_a_floor_that_cannot_be_is_refused(floor, message, folder, tmp_path, capsys) -> None:
    words = ["fuse", str(folder), "--out", str(tmp_path / "x"), f"--floor={floor}"]
    assert main(words) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_shorter_video_is_named_and_the_rest_is_used(folder, tmp_path, capsys) -> None:
    write_video(folder / "right.avi", FRAMES // 3)
    assert main(["fuse", str(folder), "--out", str(tmp_path / "out")]) == 0
    assert "camera right ends at 0.3 s" in capsys.readouterr().err
    assert len(load_recording(tmp_path / "out" / "motion.npz").stamps_ns) == FRAMES


def cut(path: Path) -> None:
    """Leave the first half of a file, as an interrupted copy does."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize("command", ["fuse", "calibrate"])
def test_a_damaged_video_is_told_and_what_is_there_is_used(
    command, folder, tmp_path, capsys
) -> None:
    cut(folder / "middle.avi")
    out = tmp_path / ("out" if command == "fuse" else "better.toml")
    assert main([command, str(folder), "--out", str(out)]) == 0
    said = capsys.readouterr().err
    assert f"{folder / 'middle.avi'} is damaged or cut off: it ends early" in said
    assert f"of {FRAMES}" in said and "right.avi" not in said
    assert out.exists()


def test_exchanged_cameras_are_noticed(folder, small, tmp_path, capsys, monkeypatch) -> None:
    left, _, right = small.views
    imagine(monkeypatch, small, (right, left))
    mixed = (replace(left, name="right"), replace(right, name="left"))
    calibrate.write_toml(folder / "Calib.toml", mixed)
    for view in (left, right):
        write_video(folder / f"{view.name}.avi", 60)
    assert main(["fuse", str(folder), "--out", str(tmp_path / "out")]) == 0
    assert "exchanged" in capsys.readouterr().err


def test_refining_brings_cameras_back(folder, small, tmp_path, capsys) -> None:
    """One was turned by 2.1 degrees and moved by 0.036 m."""
    step = np.array([0, 0, 0, 0, 0, 0, 0.02, -0.03, 0.01, 0.02, 0.03, 0.0])
    calibrate.write_toml(folder / "Calib.toml", stepped(small.views, step))
    out = tmp_path / "better.toml"
    assert main(["calibrate", str(folder), "--out", str(out)]) == 0
    printed = capsys.readouterr()
    out_lines = printed.out.splitlines()
    assert "before_px" in printed.out and "right" in printed.out
    better = load_calibration(out)
    assert [view.name for view in better] == ["left", "middle", "right"]
    turn = better[2].rotation @ small.views[2].rotation.T
    assert np.degrees(np.arccos((np.trace(turn) - 1) / 2)) < 0.3
    assert apart(better[2], small.views[2]) < 0.025
    # As TF they are where the file says.
    lines = [line for line in out_lines if "static_transform_publisher" in line]
    assert len(lines) == 3 and "--child-frame-id right_optical_frame" in lines[2]
    numbers = dict(re.findall(r"--(q?[xyzw]) (\S+)", lines[2]))
    place = [float(numbers[axis]) for axis in "xyz"]
    turn = Rotation.from_quat([float(numbers[f"q{axis}"]) for axis in "xyzw"])
    np.testing.assert_allclose(place, better[2].centre, atol=1e-3)
    np.testing.assert_allclose(turn.as_matrix(), better[2].rotation.T, atol=1e-4)
    assert "did not fall" not in printed.err


@pytest.mark.parametrize("name", ["GoPro 1", "Küche", "cam.01", 'a "b" \\c', "it's"])
def test_cameras_of_any_name_are_read_back(small, tmp_path, name) -> None:
    first, *others = small.views
    calibrate.write_toml(tmp_path / "Calib.toml", (replace(first, name=name), *others))
    read = load_calibration(tmp_path / "Calib.toml")
    assert [view.name for view in read] == [name, "middle", "right"]
    words = shlex.split(calibrate.transform_command(read[0]))
    assert words[-1] == f"{name}_optical_frame"


def test_a_calibration_that_gains_nothing_is_said(stage) -> None:
    found = Refined(stage.views, (9.0, 5.0, 6.0), (4.0, 5.5, 6.0), (0.0,) * 3, (0.0,) * 3, 300)
    words = calibrate.not_better(found)
    assert "middle (5.0 to 5.5 px), right (6.0 to 6.0 px)" in words and "left" not in words


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--unit-m", "1000"], "millimetres"),
        (["--unit-m", "nan"], "--unit-m: got nan, expected a positive number."),
        (["--unit-m", "inf"], "--unit-m: got inf, expected a positive number."),
        (["--unit-m", "-1"], "--unit-m: got -1, expected a positive number."),
        (["--unit-m", "0"], "--unit-m: got 0, expected a positive number."),
        (["--cameras", "left"], "at least two of left, middle, right"),
        (["--cameras", "left,front"], "at least two of left, middle, right"),
        (["--delay", "front=1"], "NAME=SECONDS"),
        (["--delay", "left=soon"], "NAME=SECONDS"),
        (["--delay", "left=inf"], "NAME=SECONDS"),
        (["--delay", "left=nan"], "NAME=SECONDS"),
        (["--delay", "left=1e300"], "NAME=SECONDS"),
    ],
)
@pytest.mark.parametrize("command", ["fuse", "calibrate"])
def test_wrong_options_are_refused(command, options, message, folder, tmp_path, capsys) -> None:
    assert main([command, str(folder), "--out", str(tmp_path / "x"), *options]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("place", "told"), [("set", "got the folder"), ("set/left.avi/c.toml", "Cannot write to")]
)
def test_a_calibration_that_cannot_be_written_is_refused_at_the_start(
    place, told, folder, tmp_path, capsys, monkeypatch
) -> None:
    monkeypatch.setattr(calibrate, "play", lambda *_: pytest.fail("too late"))
    assert main(["calibrate", str(folder), "--out", str(tmp_path / place)]) == 1
    assert told in capsys.readouterr().err


def test_the_poses_are_printed_although_the_file_cannot_be_written(
    folder, tmp_path, capsys, monkeypatch
) -> None:
    monkeypatch.setattr(calibrate, "make_place", lambda *_: None)
    assert main(["calibrate", str(folder), "--out", str(folder / "left.avi" / "c.toml")]) == 1
    printed = capsys.readouterr()
    assert printed.out.count("static_transform_publisher") == 3
    assert "Choose another --out FILE" in printed.err


def test_a_frame_of_no_camera_is_refused(folder, tmp_path, capsys) -> None:
    assert main(["fuse", str(folder), "--out", str(tmp_path / "x"), "--frame", "front"]) == 1
    assert "expected world or one of left, middle, right" in capsys.readouterr().err


def test_a_video_of_another_size_is_refused(folder, tmp_path, capsys) -> None:
    write_video(folder / "middle.avi", 5, (180, 320))
    assert main(["fuse", str(folder), "--out", str(tmp_path / "x")]) == 1
    assert "camera middle was calibrated at 320x180" in capsys.readouterr().err


def test_padded_pixels_of_the_calibration_are_left_out(folder, small, tmp_path) -> None:
    padded = replace(small.views[0].camera, width=SMALL[0] + 8)
    views = tuple(replace(view, camera=padded) for view in small.views)
    calibrate.write_toml(folder / "Calib.toml", views)
    assert main(["fuse", str(folder), "--out", str(tmp_path / "out")]) == 0
    assert len(load_recording(tmp_path / "out" / "motion.npz").people()) == 2


def test_nobody_in_common_cannot_calibrate(folder, small, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(
        ImaginedPipeline,
        "push",
        lambda self, image, stamp_ns, camera: PipelineResult(stamp_ns, camera, (), ()),
    )
    assert main(["calibrate", str(folder), "--out", str(tmp_path / "x.toml")]) == 1
    assert "No two of the cameras" in capsys.readouterr().err
    assert not (tmp_path / "x.toml").exists()
