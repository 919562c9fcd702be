"""moro predict with a stand-in for the networks: times, interruptions, and files that are whole."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from moro_ros.cli import cli, fetch, predict, predict_job
from moro_ros.config import DetectorConfig, PipelineConfig
from moro_ros.draw.overlay import write_overlay
from moro_ros.errors import VideoError
from moro_ros.io import video_writer
from moro_ros.io.camera_file import camera_from_focal
from moro_ros.io.motion_files import MotionFiles
from moro_ros.io.recording import load_recording
from moro_ros.io.video import open_video
from moro_ros.types import Frame

TIMES_S = [*(n / 30 for n in range(10)), 0.5, 0.6, 1.4, 1.5]
SIZE = (320, 240)
MOTION, DRAWN = (
    {"motion.npz", "joints.csv"},
    {"overlay.mp4", "sheet.png", "report.html", "summary.json"},
)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> Path:
    return make_video(tmp_path_factory.mktemp("video") / "walk.mp4", TIMES_S, SIZE)


def run(video: Path, out: Path) -> int:
    return cli.main(["predict", str(video), "--focal", "300", "--out", str(out)])


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_everything_has_the_times_of_the_container(
    video: Path, pipeline: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(video, tmp_path) == 0
    assert names(tmp_path) == MOTION | DRAWN
    recording = load_recording(tmp_path / "motion.npz")
    np.testing.assert_allclose(np.array(recording.stamps_ns) / 1e9, TIMES_S, atol=1e-4)
    rows = recording.people()[1]
    assert rows["stamps_ns"].tolist() == recording.stamps_ns
    lines = (tmp_path / "joints.csv").read_text().splitlines()
    assert len(lines) == 1 + 22 * len(TIMES_S)
    drawn = open_video(tmp_path / "overlay.mp4")
    np.testing.assert_allclose([frame.stamp_ns / 1e9 for frame in drawn], TIMES_S, atol=1e-4)
    drawn.close()
    shown = capsys.readouterr()
    assert f"{len(TIMES_S)} frames, 1 person: id 1" in shown.out
    assert "damaged" not in shown.err and "square" not in shown.err


@pytest.mark.parametrize(("images", "told"), [(1, True), (2, True), (3, False)])
def test_too_few_images_for_anybody_to_be_reported_are_told(
    images: int,
    told: bool,
    pipeline: Any,
    make_video: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As a single photo has: tracker.min_hits is 3."""
    video = make_video(tmp_path / "short.mp4", TIMES_S[:images], SIZE)
    assert run(video, tmp_path / "out") == 0
    shown = capsys.readouterr()
    assert ("seen in 3 images (tracker.min_hits)" in shown.err) == told
    assert ("1 frame, " if images == 1 else f"{images} frames, ") in shown.out
    page = (tmp_path / "out" / "report.html").read_text()
    assert (f"the input has {images}" in page) == told


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (PipelineConfig(), ["pose_detection.tflite", "pose_landmark_full.tflite"]),
        (PipelineConfig(detector=DetectorConfig(landmarks="heavy")), ["pose_detection.tflite"]),
        (PipelineConfig(people="synthetic"), []),
    ],
)
def test_commands_download_what_is_missing_before_they_load(
    config: PipelineConfig, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(fetch, "fetch", calls.append)
    monkeypatch.setattr(predict, "load_pipeline", lambda _config: calls.append("load"))
    predict.fetch_and_load(config)
    assert calls == [*expected, "load"]


@pytest.mark.parametrize(
    ("downloaded", "options", "expected"),
    [
        (True, [], "heavy"),
        (False, [], "full"),
        (True, ["--landmarks", "full"], "full"),
        (True, ["--config", "{config}"], "full"),
        (True, ["--config", "{config}", "--landmarks", "heavy"], "heavy"),
    ],
)
def test_the_heavy_landmark_network_is_used_if_it_was_downloaded(
    downloaded: bool,
    options: list[str],
    expected: str,
    video: Path,
    pipeline: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / predict.HEAVY
    if downloaded:
        file.touch()
    monkeypatch.setattr(predict, "cached_path", lambda _name: file)
    config = tmp_path / "config.yaml"
    config.write_text("max_people: 2\n")
    given = [option.format(config=config) for option in options]
    out = tmp_path / "out"
    assert cli.main(["predict", str(video), "--focal", "300", "--out", str(out), *given]) == 0
    settings = json.loads((out / "summary.json").read_text())["settings"]
    assert settings["config"]["detector"]["landmarks"] == expected


def test_the_floor_below_the_camera_is_told(video: Path, pipeline: Any, tmp_path: Path) -> None:
    words = ["predict", str(video), "--focal", "300", "--out", str(tmp_path)]
    assert cli.main([*words, "--camera-height", "2", "--camera-pitch", "30"]) == 0
    assert pipeline.floor is not None
    # The optical axis of a camera 2 m high that looks down by 30 degrees meets the floor at 4 m.
    assert pipeline.floor.heights(np.array([0.0, 0.0, 4.0])) == pytest.approx(0.0)
    assert pipeline.floor.heights(np.zeros(3)) == pytest.approx(2.0)
    assert cli.main(words) == 0 and pipeline.floor is None


def test_a_floor_that_was_ignored_is_said(
    video: Path, pipeline: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def doubt(number: int) -> None:
        pipeline.floor_doubts = {1: "they would lean by 40 degrees"} if number >= 5 else {}

    pipeline.before = doubt
    words = ["predict", str(video), "--focal", "300", "--out", str(tmp_path)]
    assert cli.main([*words, "--camera-height", "2", "--camera-pitch", "30"]) == 0
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    count = summary["frames"] - 5
    assert count > 0
    reason = "they would lean by 40 degrees"
    assert summary["floor_ignored"] == {"1": {"frames": count, "reason": reason}}
    told = f"ignored for person 1 in {count} frames ({reason})"
    assert told in capsys.readouterr().err
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert told in page and "2.00 m below the camera; ignored for person 1" in page
    assert cli.main(words) == 0
    assert "ignored" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--camera-height", "2"], "expected both or neither"),
        (["--camera-height", "1200", "--camera-pitch", "0"], "got 1200, expected 0.05 to 20 m"),
        (["--camera-height", "1", "--camera-pitch", "nan"], "got nan, expected degrees"),
    ],
)
def test_a_floor_that_cannot_be_is_refused(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str], told: str
) -> None:
    out = tmp_path / "out"
    assert cli.main(["predict", str(video), "--focal", "300", "--out", str(out), *given]) == 1
    assert told in capsys.readouterr().err and not out.exists()


def test_a_cut_video_is_worked_through_and_told(
    make_video: Callable[..., Path],
    pipeline: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cut = make_video(tmp_path / "cut.avi", [n / 25 for n in range(30)], SIZE, 25, Fraction(1, 25))
    data = cut.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    assert run(cut, tmp_path / "out") == 0
    assert names(tmp_path / "out") == MOTION | DRAWN
    count = len(load_recording(tmp_path / "out" / "motion.npz").stamps_ns)
    assert 5 < count < 25
    assert f"with {count} of 30 frames" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_motion_is_written_and_said_to_be_partial(
    video: Path,
    pipeline: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
) -> None:
    for name in DRAWN:
        (tmp_path / name).write_text("of an earlier motion")
    pipeline.before = lambda n: n == 4 and os.kill(os.getpid(), number)
    assert run(video, tmp_path) == 128 + number
    assert names(tmp_path) == MOTION
    recording = load_recording(tmp_path / "motion.npz")
    assert len(recording.stamps_ns) == len(recording.people()[1]) == 5
    shown = capsys.readouterr().out
    assert f"are partial: they contain the first 5 of {len(TIMES_S)} frames" in shown
    assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)


def test_a_second_signal_ends_at_once_and_leaves_the_earlier_files(
    video: Path, pipeline: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "motion.npz").write_text("of an earlier motion")

    def twice(number: int) -> None:
        if number == 4:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)

    pipeline.before = twice
    assert run(video, tmp_path) == 130
    assert names(tmp_path) == {"motion.npz"}
    assert (tmp_path / "motion.npz").read_text() == "of an earlier motion"
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_drawing_leaves_the_motion_alone(
    video: Path,
    pipeline: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
) -> None:
    write = video_writer.VideoWriter.write

    def interrupted(self: video_writer.VideoWriter, image: np.ndarray, stamp_ns: int) -> None:
        write(self, image, stamp_ns)
        if stamp_ns > 3e8:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(video_writer.VideoWriter, "write", interrupted)
    assert run(video, tmp_path) == 130
    assert names(tmp_path) == MOTION
    assert len(load_recording(tmp_path / "motion.npz").stamps_ns) == len(TIMES_S)
    assert "are complete, but nothing was drawn" in capsys.readouterr().out


@contextmanager
def little_room(size: int) -> Iterator[None]:
    """No file may grow beyond a number of bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_told_and_leaves_nothing_half_written(
    video: Path,
    pipeline: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with little_room(2000):
        assert run(video, tmp_path) == 1
    assert names(tmp_path) == set()
    assert "it contains the first 0 frames. Free disk space" in capsys.readouterr().err

    def draw(*arguments: Any) -> None:
        with little_room(100_000):
            write_overlay(*arguments)

    monkeypatch.setattr(predict_job, "write_overlay", draw)
    assert run(video, tmp_path) == 1
    assert names(tmp_path) == {*MOTION, "overlay.mp4"}
    assert f"Cannot write the image {tmp_path / 'sheet.png'}" in capsys.readouterr().err


def test_what_was_there_before_the_disk_was_full_is_kept(
    video: Path,
    pipeline: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    add_image = MotionFiles.add_image

    def full(files: MotionFiles, stamp_ns: int) -> None:
        if files.images == 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        add_image(files, stamp_ns)

    monkeypatch.setattr(MotionFiles, "add_image", full)
    assert run(video, tmp_path) == 1
    assert names(tmp_path) == MOTION
    assert len(load_recording(tmp_path / "motion.npz").stamps_ns) == 5
    told = capsys.readouterr().err
    assert "No space left on device" in told and "it contains the first 5 frames" in told


def test_a_video_for_which_there_is_no_room_is_not_left_half_written(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (30, 240, 320, 3)).astype(np.uint8)
    with (
        little_room(100_000),
        pytest.raises(VideoError, match=r"Cannot write the video .*a\.mp4"),
        video_writer.VideoWriter(tmp_path / "a.mp4", 30, SIZE) as writer,
    ):
        for index, image in enumerate(noise):
            writer.write(image, index * 33_333_333)
    assert names(tmp_path) == set()


def test_pixels_that_are_not_square_are_told(
    make_video: Callable[..., Path],
    pipeline: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wide = make_video(tmp_path / "wide.mp4", [0.0, 0.04], (240, 240), aspect=Fraction(4, 3))
    assert run(wide, tmp_path / "out") == 0
    assert pipeline.shapes == {(320, 240, 320, 240)}
    camera = load_recording(tmp_path / "out" / "motion.npz").camera
    assert camera is not None and camera.matrix[0, 0] == camera.matrix[1, 1] == 400
    assert "not square (4/3)" in capsys.readouterr().err


def test_hints_of_a_focal_length_hold_for_portrait_videos_too(
    video: Path,
    pipeline: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """0.75 x the image's width would be half of the focal length of a video held upright."""

    def said(*words: str) -> str:
        with pytest.raises(SystemExit) if words[-1] == "--help" else nullcontext():
            assert cli.main(list(words)) == 1
        return " ".join("".join(capsys.readouterr()).split())

    empty = SimpleNamespace(frame=Frame(0, camera_from_focal(300.0, *SIZE), ()))
    monkeypatch.setattr(pipeline, "observe", lambda *_: empty)
    texts = [
        said("predict", "--help"),
        said("demo", "--help"),
        said("predict", str(video), "--out", str(tmp_path / "out")),
        said("demo", "--video", str(video)),
    ]
    for text in texts:
        assert "0.75 x the longer side of the image" in text
        assert "image width" not in text and "width of the image" not in text
    # Millimetres.
    wrong = said("predict", str(video), "--focal", "4", "--out", str(tmp_path / "out"))
    assert "means a field of view of" in wrong and "longer side of the sensor" in wrong
    assert "image width" not in wrong
