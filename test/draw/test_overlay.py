"""overlay.mp4 shows each motion on the frame it was recovered from, and plays."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from moro_ros.body.body_model import BodyModel, load_body_model
from moro_ros.draw import overlay
from moro_ros.errors import DataError
from moro_ros.io.frames import VideoFrame
from moro_ros.io.recording import ROW, MotionRecording
from moro_ros.io.video import open_video
from moro_ros.resources import share_path
from moro_ros.types import Camera

WIDTH, HEIGHT, FOCAL, RATE, FRAMES = 320, 240, 320.0, 20.0, 10
DEPTH_M = 4.0
CAMERA = Camera(
    np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1.0]]), WIDTH, HEIGHT
)
STAMPS_NS = 1000 + np.arange(FRAMES) * 50_000_000


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return load_body_model(share_path("models", "open_body", "OPEN_NEUTRAL.npz"))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "grey.mp4"
    fourcc = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(path), fourcc, RATE, (WIDTH, HEIGHT))
    for _ in range(FRAMES):
        writer.write(np.full((HEIGHT, WIDTH, 3), 40, np.uint8))
    writer.release()
    return path


def walker(body: BodyModel, dropped: set[int]) -> MotionRecording:
    """Somebody upright who moves 0.2 m to the right per frame; some frames were not processed."""
    recording = MotionRecording(CAMERA)
    rest = body.skeleton(torch.zeros(1, 10)).joints[0, :22].numpy()
    for index, stamp_ns in enumerate(STAMPS_NS.tolist()):
        if index in dropped:
            continue
        recording.stamps_ns.append(stamp_ns)
        row = np.zeros((), ROW)
        row["stamps_ns"] = stamp_ns
        row["global_orient"] = [np.pi, 0, 0]
        x = -0.9 + 0.2 * index
        row["transl"] = np.array([x, 0, DEPTH_M]) - rest[0]
        row["joints"] = (rest - rest[0]) * [1, -1, -1] + [x, 0, DEPTH_M]
        recording.add(1, row)
    return recording


def drawn_columns(path: Path) -> list[float]:
    """Mean column of what is drawn left of the top view, per frame; nan where nothing is."""
    capture = cv2.VideoCapture(str(path))
    means = []
    while True:
        ok, image = capture.read()
        if not ok:
            return means
        _, columns = np.nonzero(np.abs(image[: HEIGHT // 2].astype(int) - 40).max(-1) > 40)
        means.append(float(columns.mean()) if len(columns) else np.nan)


def test_each_motion_lies_on_its_own_frame(video: Path, body: BodyModel, tmp_path: Path) -> None:
    recording = walker(body, dropped={0, 4})
    path, page = overlay.write_overlay(open_video(video), STAMPS_NS, recording, body, tmp_path)
    columns = drawn_columns(path)
    assert len(columns) == FRAMES
    assert np.isnan(columns[0])  # not processed, and nothing before it to repeat
    expected = FOCAL * (-0.9 + 0.2 * np.arange(FRAMES)) / DEPTH_M + WIDTH / 2
    expected[4] = expected[3]  # the dropped frame repeats the picture before
    assert np.allclose(columns[1:], expected[1:], atol=6)
    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(RATE)
    sheet = cv2.imread(str(page))
    assert sheet is not None and sheet.std() > 5
    assert sorted(p.name for p in tmp_path.iterdir()) == ["overlay.mp4", "sheet.png"]


def test_an_old_motion_does_not_stay(video: Path, body: BodyModel, tmp_path: Path) -> None:
    recording = walker(body, dropped=set(range(2, FRAMES)))
    path, _ = overlay.write_overlay(open_video(video), STAMPS_NS, recording, body, tmp_path)
    columns = drawn_columns(path)
    assert np.isfinite(columns[1:6]).all()  # held for a quarter of a second
    assert np.isnan(columns[8:]).all()


def test_a_video_without_people_gives_a_video_and_a_sheet(
    video: Path, body: BodyModel, tmp_path: Path
) -> None:
    recording = MotionRecording(CAMERA)
    recording.stamps_ns = STAMPS_NS[2:4].tolist()
    path, page = overlay.write_overlay(open_video(video), STAMPS_NS, recording, body, tmp_path)
    assert np.isnan(drawn_columns(path)).all()
    assert page.is_file()


def test_large_videos_are_drawn_smaller_in_the_same_place(
    video: Path, body: BodyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlay, "MAX_WIDTH", WIDTH // 2)
    recording = walker(body, dropped=set())
    overlay.write_overlay(open_video(video), STAMPS_NS, recording, body, tmp_path)
    capture = cv2.VideoCapture(str(tmp_path / "overlay.mp4"))
    _, image = capture.read()
    assert image.shape == (HEIGHT // 2, WIDTH // 2, 3)
    _, columns = np.nonzero(np.abs(image[: HEIGHT // 4].astype(int) - 40).max(-1) > 40)
    assert columns.mean() == pytest.approx((WIDTH / 2 - FOCAL * 0.9 / DEPTH_M) / 2, abs=5)


def test_errors_leave_nothing_half_written(video: Path, body: BodyModel, tmp_path: Path) -> None:
    recording = walker(body, dropped=set())
    with pytest.raises(DataError, match="No image"):
        overlay.write_overlay(open_video(video), STAMPS_NS[:0], recording, body, tmp_path)
    recording.camera = None
    with pytest.raises(DataError, match="camera"):
        overlay.write_overlay(open_video(video), STAMPS_NS, recording, body, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [(1, 1), (1, 600), (9000, 2), (641, 361)])
def test_images_of_any_size_have_a_video(size: tuple[int, int], body: BodyModel, tmp_path: Path):
    """Its sides are even and not 0; a panorama is scaled down by its width."""
    camera = Camera(np.array([[300.0, 0, 0.5], [0, 300.0, 0.5], [0, 0, 1]]), *size)
    recording = MotionRecording(camera)
    recording.stamps_ns = [0, 50_000_000]
    image = np.zeros((size[1], size[0], 3), np.uint8)
    frames = Frames([VideoFrame(stamp_ns, image) for stamp_ns in recording.stamps_ns])
    overlay.write_overlay(frames, np.array(recording.stamps_ns), recording, body, tmp_path)
    drawn = open_video(tmp_path / "overlay.mp4")
    assert drawn.width % 2 == drawn.height % 2 == 0 and drawn.frame_count == 2
    drawn.close()


class Frames(list):
    """Frames of a source."""

    rate_hz = 20.0
