"""The files of moro_recorder before anything is recorded."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

from moro_ros.ros import recorder


def test_nothing_is_left_if_there_is_no_room_for_the_bag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(recorder, "MotionBag", full)
    with pytest.raises(OSError, match="No space left"):
        recorder.RecordingFiles(tmp_path / "out", overwrite=False, compressed=False)
    assert list(tmp_path.iterdir()) == []
