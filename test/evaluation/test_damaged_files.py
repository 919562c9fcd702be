"""Every reader of npz files names one whose compressed data are damaged."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moro_ros.body.body_model import REQUIRED_ARRAYS, load_body_model
from moro_ros.data.dataset import SetCard
from moro_ros.data.mocap import load_motion
from moro_ros.data.prox import CARD
from moro_ros.data.records import Archive
from moro_ros.errors import NPZ_ERRORS, MoroError
from moro_ros.evaluation.readers.bodies import load_rest_joints
from moro_ros.evaluation.truth import load_truth
from moro_ros.io.recording import load_recording

NAMES = {
    *REQUIRED_ARRAYS,
    *("rot", "trans", "lengths", "subjects", "category", "names", "fps", "joints", "stamps_ns"),
    *("ids", "frame_id", "image_size"),
}


def archive(path: Path, card: SetCard = CARD) -> Any:
    return Archive(path, card, ["joints"]).read("joints")


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    path = tmp_path / "file.npz"
    np.savez_compressed(path, **{name: np.arange(500.0) for name in NAMES})
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as members:
        starts = [(one.header_offset, one.compress_size) for one in members.infolist()]
    for start, size in starts:
        lengths = data[start + 26 : start + 28], data[start + 28 : start + 30]
        begin = start + 30 + sum(int.from_bytes(length, "little") for length in lengths)
        data[begin : begin + size] = b"\xff" * size
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "read", [load_motion, load_body_model, load_rest_joints, load_truth, load_recording, archive]
)
def test_damaged_data_are_named_with_the_file(read: Callable[[Path], Any], damaged: Path) -> None:
    with pytest.raises(MoroError, match=r"file\.npz"):
        read(damaged)


def test_all_that_numpy_and_zlib_raise_is_known(damaged: Path) -> None:
    with np.load(damaged) as arrays, pytest.raises(NPZ_ERRORS) as raised:
        arrays["joints"]
    assert type(raised.value).__name__ == "error"
