"""moro predict on several videos, folders, images and bags: what is processed, skipped, refused."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from moro_ros.cli import cli, predict_job
from moro_ros.io.motion_files import MotionFiles
from moro_ros.io.recording import load_recording
from moro_ros.io.video import open_video
from moro_ros.live.focal_estimate import FocalEstimate

SIZE = (320, 240)
COUNT, RATE = 12, 30
RESULTS = {"motion.npz", "joints.csv", "overlay.mp4", "sheet.png", "report.html", "summary.json"}
START_NS = 1_600_000_000 * 10**9
STORE = get_typestore(Stores.ROS2_JAZZY)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def run(out: Path, *words: object, focal: bool = True) -> int:
    camera = ["--focal", "300"] if focal else []
    return cli.main(["predict", "--out", str(out), *camera, *map(str, words)])


def stamps_s(folder: Path) -> list[float]:
    return [ns / 1e9 for ns in load_recording(folder / "motion.npz").stamps_ns]


@pytest.fixture
def videos(tmp_path: Path, make_video: Callable[..., Path]) -> Path:
    """A folder of two videos, and one file that is none between them by name."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("a.mp4", "c.MOV"):
        make_video(folder / name, [n / RATE for n in range(COUNT)], SIZE)
    (folder / "notes.txt").write_text("no video")
    return folder


def write_images(folder: Path, numbers: range, suffix: str = ".png") -> Path:
    """Grey images, brighter with their number."""
    folder.mkdir(exist_ok=True)
    for number in numbers:
        image = np.full((SIZE[1], SIZE[0], 3), 10 * number, np.uint8)
        assert cv2.imwrite(str(folder / f"frame{number}{suffix}"), image)
    return folder


def test_a_folder_of_videos_gets_a_folder_each(
    videos: Path, pipeline: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(out, videos) == 0
    assert names(out) == {"a", "c"} and names(out / "a") == names(out / "c") == RESULTS
    # Nobody and no number is carried over from video to video.
    assert pipeline.resets == 2
    assert "2 of 2 inputs are complete" in capsys.readouterr().out


def test_a_damaged_video_does_not_stop_the_others(
    videos: Path, pipeline: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (videos / "b.mp4").write_bytes((videos / "a.mp4").read_bytes()[:500])
    out = tmp_path / "out"
    assert run(out, videos, "--json") == 1
    shown = capsys.readouterr()
    assert names(out) == {"a", "c"}
    assert f"'{videos / 'b.mp4'}' cannot be opened as a video" in shown.err
    summary = json.loads(shown.out)  # nothing else is printed there
    assert summary["exit_status"] == 1
    states = {Path(one["input"]).name: one["state"] for one in summary["inputs"]}
    assert states == {"a.mp4": "complete", "b.mp4": "failed", "c.MOV": "complete"}
    first = summary["inputs"][0]
    assert first["frames"] == COUNT and first["camera"]["focal_px"] == [300, 300]
    assert [(one["id"], one["frames"]) for one in first["people"]] == [(1, COUNT)]


def test_what_is_complete_is_skipped_and_the_rest_is_resumed(
    videos: Path, pipeline: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    pipeline.before = lambda n: n == COUNT + 4 and os.kill(os.getpid(), signal.SIGTERM)
    assert run(out, videos) == 128 + signal.SIGTERM
    assert names(out / "a") == RESULTS and names(out / "c") == {"motion.npz", "joints.csv"}
    made = (out / "a" / "motion.npz").stat().st_mtime_ns
    pipeline.before = lambda _n: None
    assert run(out, videos) == 0
    shown = capsys.readouterr().out
    assert "a.mp4: completed by an earlier run" in shown and "c.MOV: completed" not in shown
    assert (out / "a" / "motion.npz").stat().st_mtime_ns == made
    assert names(out / "c") == RESULTS and len(stamps_s(out / "c")) == COUNT


@pytest.mark.parametrize("change", ["option", "video", "result", "summary", "--force"])
def test_what_would_be_different_is_not_skipped(
    videos: Path, pipeline: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    out = tmp_path / "out"
    assert run(out, videos) == 0
    if change == "video":
        os.utime(videos / "a.mp4", ns=(1, 1))
    if change == "result":
        (out / "a" / "sheet.png").unlink()
    if change == "summary":
        (out / "a" / "summary.json").write_text("{")
    words = {"option": ["--people", "2"], "--force": ["--force"]}.get(change, [])
    capsys.readouterr()
    assert run(out, videos, *words) == 0
    assert "a.mp4: completed" not in capsys.readouterr().out
    assert names(out / "a") == RESULTS


def test_a_full_disk_leaves_a_video_to_be_resumed(
    videos: Path, pipeline: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(MotionFiles, "complete", lambda _files: ["motion.npz (full)"])
        assert run(out, videos) == 1
    assert not list(out.glob("*/summary.json"))
    assert run(out, videos) == 0 and names(out / "a") == RESULTS


def test_a_part_keeps_the_times_of_the_video(videos: Path, pipeline: Any, tmp_path: Path) -> None:
    assert run(tmp_path / "out", videos / "a.mp4", "--start", "0.1", "--end", "0.3") == 0
    np.testing.assert_allclose(stamps_s(tmp_path / "out"), [n / RATE for n in range(3, 9)])
    with_overlay = open_video(tmp_path / "out" / "overlay.mp4")
    assert len(list(with_overlay)) == 6
    with_overlay.close()


def test_images_are_a_video_in_natural_order(
    pipeline: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_images(tmp_path / "images", range(8, 12))
    levels: list[int] = []
    observe = type(pipeline).observe

    def noted(self: Any, image: np.ndarray, *more: Any) -> Any:
        levels.append(int(image[0, 0, 0]))
        return observe(self, image, *more)

    monkeypatch.setattr(type(pipeline), "observe", noted)
    assert run(tmp_path / "out", folder, "--fps", "10") == 0
    assert levels == [80, 90, 100, 110]
    np.testing.assert_allclose(stamps_s(tmp_path / "out"), [0, 0.1, 0.2, 0.3])
    assert names(tmp_path / "out") == RESULTS


@pytest.mark.parametrize(("number", "length"), [(1, 9000), (1, 0), (0, 0), (3, 10)])
def test_a_damaged_image_is_left_out_and_told(
    pipeline: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], number: int, length: int
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (4, SIZE[1], SIZE[0], 3)).astype(np.uint8)
    for index, image in enumerate(noise):
        cv2.imwrite(str(folder / f"{index}.jpg"), image)
    damaged = folder / f"{number}.jpg"
    damaged.write_bytes(damaged.read_bytes()[:length])
    assert run(tmp_path / "out", folder, "--fps", "10") == 0
    left = [index / 10 for index in range(4) if index != number]
    np.testing.assert_allclose(stamps_s(tmp_path / "out"), left)
    assert f"1 image is damaged and skipped: {number}.jpg" in capsys.readouterr().err


def test_photos_are_turned_as_their_camera_says(pipeline: Any, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.new("RGB", SIZE).save(folder / "a.jpg", exif=exif)
    assert run(tmp_path / "out", folder) == 0
    assert pipeline.shapes == {(SIZE[1], SIZE[0], SIZE[1], SIZE[0])}


def write_bag(folder: Path, info: bool = True, images: bool = True, count: int = COUNT) -> Path:
    """A recording of mono8 images whose third one has no pixels."""
    types = STORE.types
    kinds = {
        "/cam/image_raw": "sensor_msgs/msg/Image",
        "/cam/camera_info": "sensor_msgs/msg/CameraInfo",
    }
    width, height = SIZE
    with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        made = {t: writer.add_connection(t, k, typestore=STORE) for t, k in kinds.items()}
        for index in range(count):
            now_ns = START_NS + round(index * 1e9 / RATE)
            stamp = types["builtin_interfaces/msg/Time"](now_ns // 10**9, now_ns % 10**9)
            header = types["std_msgs/msg/Header"](stamp, "lens")
            if info:
                roi = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
                k = np.array([400, 0, width / 2, 0, 400, height / 2, 0, 0, 1.0])
                message = types["sensor_msgs/msg/CameraInfo"](
                    header, height, width, "plumb_bob", np.zeros(5), k, np.eye(3).ravel(),
                    np.zeros(12), 0, 0, roi,
                )  # fmt: skip
                data = STORE.serialize_cdr(message, kinds["/cam/camera_info"])
                writer.write(made["/cam/camera_info"], now_ns, data)
            if images:
                encoding = "infrared7" if index == 2 else "mono8"
                pixels = np.full(width * height, 100, np.uint8)
                message = types["sensor_msgs/msg/Image"](
                    header, height, width, encoding, 0, width, pixels
                )
                data = STORE.serialize_cdr(message, kinds["/cam/image_raw"])
                writer.write(made["/cam/image_raw"], now_ns, data)
    return folder


@pytest.mark.parametrize("given", ["folder", "file"])
def test_a_bag_has_its_stamps_and_its_camera(
    pipeline: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    bag = write_bag(tmp_path / "bag")
    path = bag if given == "folder" else bag / "bag.mcap"
    assert run(tmp_path / "out", path, "--start", "0.02", focal=False) == 0
    recording = load_recording(tmp_path / "out" / "motion.npz")
    expected = [START_NS + round(n * 1e9 / RATE) for n in range(COUNT) if n not in (0, 2)]
    assert recording.stamps_ns == expected
    assert recording.camera is not None and recording.camera.matrix[0, 0] == 400
    assert recording.camera.frame_id == "lens"
    assert "1 images were skipped, the last one because: Image encoding" in capsys.readouterr().err


def test_a_bag_without_camera_info_takes_the_given_camera(pipeline: Any, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", info=False)
    assert run(tmp_path / "out", bag) == 0
    camera = load_recording(tmp_path / "out" / "motion.npz").camera
    assert camera is not None and camera.matrix[0, 0] == 300


def test_an_unknown_focal_length_is_estimated_and_said_to_be(
    videos: Path,
    pipeline: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, given = tmp_path / "out", []

    def estimate(frames: Any, _stream: Any) -> FocalEstimate:
        given.extend(frames)
        return FocalEstimate(321.0, 20)

    monkeypatch.setattr(predict_job, "estimate_focal", estimate)
    assert run(out, videos / "a.mp4", "--start", "0.1", focal=False) == 0
    assert "The focal length, 321 px, is an estimate" in capsys.readouterr().err
    assert "is an estimate" in (out / "report.html").read_text()
    camera = load_recording(out / "motion.npz").camera
    assert camera is not None and camera.matrix[0, 0] == 321
    # Of the part alone, and the images are not kept.
    assert [frame.stamp_ns for frame in given] == load_recording(out / "motion.npz").stamps_ns
    assert all(frame.image is None for frame in given)


def test_nothing_is_guessed_from_too_few_people(
    videos: Path,
    pipeline: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(predict_job, "estimate_focal", lambda _frames, _stream: None)
    assert run(tmp_path / "out", videos / "a.mp4", focal=False) == 1
    assert "cannot be estimated" in capsys.readouterr().err and not (tmp_path / "out").exists()


def empty(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def mixed_sizes(tmp_path: Path) -> Path:
    folder = write_images(tmp_path / "in", range(3))
    cv2.imwrite(str(folder / "frame9.png"), np.zeros((10, 10, 3), np.uint8))
    return folder


def mixed_formats(tmp_path: Path) -> Path:
    return write_images(write_images(tmp_path / "in", range(3)), range(4, 6), ".jpg")


def damaged_images(tmp_path: Path) -> Path:
    folder = write_images(tmp_path / "in", range(3))
    for file in folder.iterdir():
        file.write_bytes(b"no image")
    return folder


def videos_and_images(tmp_path: Path) -> Path:
    folder = write_images(tmp_path / "in", range(3))
    (folder / "a.mp4").write_bytes(b"")
    return folder


def without_images(tmp_path: Path) -> Path:
    return write_bag(tmp_path / "in", images=False)


def without_info(tmp_path: Path) -> Path:
    return write_bag(tmp_path / "in", info=False)


def no_topics(tmp_path: Path) -> Path:
    with Writer(tmp_path / "in", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topic = writer.add_connection("/text", "std_msgs/msg/String", typestore=STORE)
        data = STORE.serialize_cdr(STORE.types["std_msgs/msg/String"]("x"), "std_msgs/msg/String")
        writer.write(topic, 1, data)
    return tmp_path / "in"


def damaged_bag(tmp_path: Path) -> Path:
    bag = write_bag(tmp_path / "in") / "in.mcap"
    bag.write_bytes(bag.read_bytes()[:400])
    return bag


def none(tmp_path: Path) -> Path:
    return tmp_path / "nowhere.mp4"


@pytest.mark.parametrize(
    ("make", "focal", "told"),
    [
        (empty, True, "contains no videos"),
        (mixed_sizes, True, "images of several sizes (frame0.png has 320x240 pixels, frame9.png"),
        (mixed_formats, True, "images of several formats (frame0.png is PNG, frame4.jpg is JPEG)"),
        (damaged_images, True, "has no image that can be read: all 3 files are damaged"),
        (videos_and_images, True, "contains 1 videos and 3 images"),
        (without_images, False, "No image of"),
        (without_info, False, "Give it with --focal PX or --camera FILE"),
        (no_topics, False, "has no topic of type sensor_msgs/msg/Image"),
        (damaged_bag, False, "cannot read"),
        (none, True, "No video at"),
    ],
)
def test_bad_inputs_are_refused_in_one_sentence_and_nothing_is_written(
    make: Callable[[Path], Path],
    focal: bool,
    told: str,
    pipeline: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, out = make(tmp_path), tmp_path / "out"
    assert run(out, path, focal=focal) == 1
    error = capsys.readouterr().err
    assert told in error and len(error.strip().splitlines()) == 1
    assert not out.exists() or not names(out)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["--start", "1", "--end", "1"],
            "--end: got 1, expected a time after the start at 1 s",
        ),
        (["--start", "-1"], "--start: got -1"),
        (["--start", "nan"], "--start: got nan"),
        (["--start", "9"], "a.mp4 is 0.40 s long: --start 9 is after its end"),
        (["--people", "0"], "--people: got 0, expected 1 to 32"),
        (["--fps", "0"], "--fps: got 0"),
    ],
)
def test_bad_options_are_refused(
    videos: Path,
    pipeline: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    told: str,
) -> None:
    assert run(tmp_path / "out", videos / "a.mp4", *words) == 1
    assert told in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_two_inputs_of_one_name_are_refused(videos, pipeline, tmp_path, capsys) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.mp4").write_bytes((videos / "a.mp4").read_bytes())
    assert run(tmp_path / "out", videos / "a.mp4", other / "a.mp4") == 1
    assert "Two inputs have the name a.mp4" in capsys.readouterr().err
