"""Reading video files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from moro_ros.errors import VideoError
from moro_ros.inference.video import open_video


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten frames of growing brightness at 25 Hz."""
    path = tmp_path_factory.mktemp("video") / "ten.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25.0, (64, 48))
    for index in range(10):
        writer.write(np.full((48, 64, 3), 20 * index, dtype=np.uint8))
    writer.release()
    return path


def test_frames_come_in_order_and_again_after_a_rewind(video: Path) -> None:
    reader = open_video(video)
    assert (reader.width, reader.height, reader.rate_hz, reader.frame_count) == (64, 48, 25.0, 10)
    for _ in range(2):
        means = [float(image.mean()) for image in reader]
        np.testing.assert_allclose(means, 20.0 * np.arange(10), atol=3.0)
        reader.rewind()
    reader.close()


def test_what_is_no_video_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="No video at"):
        open_video(tmp_path / "none.mp4")
    text = tmp_path / "text.mp4"
    text.write_text("not a video")
    with pytest.raises(VideoError, match="ffmpeg"):
        open_video(text)
