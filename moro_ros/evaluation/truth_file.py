"""True motion in npz files, so that any set can be evaluated without code of its own.

One person in one video, readable without pickle (F frames):

    joints    (F, 22, 3) float, m, SMPL-X order, camera optical frame (or any fixed frame)
    fps       Hz
    frames    (F,) int, numbers of the video's frames; left out: 0, 1, 2, ...
    visible   (F, 22) bool, left out where it is not known
    vertices  (F, V, 3) float, m, left out where there is no mesh
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from moro_ros.body.topology import NUM_JOINTS
from moro_ros.errors import DataError
from moro_ros.evaluation.evaluator import TrueMotion


def load_truth(path: Path) -> TrueMotion:
    """Read one file; its name without the suffix is the motion's name.

    Raises: DataError if the file is missing or not of the layout above.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            joints = arrays["joints"].astype(np.float64)
            count = len(joints)
            given = {name: arrays[name] for name in arrays.files}
            fps = float(arrays["fps"])
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} is not a file of true motion ({error}); expected an npz with joints, fps."
        ) from error
    frames = given.get("frames", np.arange(count))
    visible, vertices = given.get("visible"), given.get("vertices")
    wrong = [
        f"{name} {given[name].shape}"
        for name, shape in (
            ("joints", (count, NUM_JOINTS, 3)),
            ("frames", (count,)),
            ("visible", (count, NUM_JOINTS)),
        )
        if name in given and given[name].shape != shape
    ]
    if vertices is not None and (vertices.ndim != 3 or vertices.shape[::2] != (count, 3)):
        wrong.append(f"vertices {vertices.shape}")
    if wrong:
        raise DataError(
            f"{path}: {', '.join(wrong)}; expected joints (F, {NUM_JOINTS}, 3), frames (F,), "
            f"visible (F, {NUM_JOINTS}) and vertices (F, V, 3) of one F."
        )
    return TrueMotion(
        path.stem, fps, frames, joints, None if visible is None else visible.astype(bool), vertices
    )


def truths_at(path: Path) -> Iterator[TrueMotion]:
    """Yield the motion of a file, or of every npz file of a folder, by name.

    Raises: DataError if there is none.
    """
    files = sorted(path.glob("*.npz")) if path.is_dir() else [path]
    if not files:
        raise DataError(f"No npz file of true motion in {path}.")
    for file in files:
        yield load_truth(file)
