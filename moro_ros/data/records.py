"""The files of published data sets, read without running code in them (pickles.py)."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from moro_ros.data.dataset import SetCard
from moro_ros.data.pickles import unpickled
from moro_ros.errors import NPZ_ERRORS
from moro_ros.types import SmplxParams


def load_pickle(path: Path, card: SetCard, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """Read the given arrays of a pickled dictionary, also from Python 2.

    Raises: DataError if the file is missing, damaged, lacks a key or contains more than data.
    """
    card.need_file(path, f"a pickle of the arrays {', '.join(keys)}")
    try:
        with path.open("rb") as file:
            content = unpickled(file)
    except (pickle.UnpicklingError, *NPZ_ERRORS) as error:
        raise card.damaged(path, error) from error
    if not isinstance(content, dict):
        raise card.damaged(path, f"a {type(content).__name__} instead of a dictionary")
    missing = [key for key in keys if key not in content]
    if missing:
        raise card.damaged(path, f"the arrays {', '.join(missing)} are missing")
    return {key: np.asarray(content[key]) for key in keys}


class Archive:
    """The arrays of one npz file, read on access, including arrays of objects."""

    def __init__(self, path: Path, card: SetCard, required: Sequence[str]) -> None:
        card.need_file(path, f"an npz file of the arrays {', '.join(required)}")
        self.path, self.card = path, card
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except NPZ_ERRORS as error:
            raise card.damaged(path, error) from error
        self.keys = frozenset(name.removesuffix(".npy") for name in names)
        missing = [key for key in required if key not in self.keys]
        if missing:
            raise card.damaged(path, f"the arrays {', '.join(missing)} are missing")

    def __contains__(self, key: str) -> bool:
        """Return whether the file has an array."""
        return key in self.keys

    def read(self, key: str) -> np.ndarray:
        """Return an array; raises DataError if it is damaged or contains more than data."""
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{key}.npy") as file:
                dtype, shape, fortran = _header(file)
                if dtype.hasobject:
                    return np.asarray(unpickled(file))
                count = int(np.prod(shape, dtype=np.int64))
                values = np.frombuffer(bytearray(file.read()), dtype)  # writable, unlike bytes
                if len(values) != count:
                    raise ValueError(f"{key} has {len(values)} values instead of {count}")
                return values.reshape(shape, order="F" if fortran else "C")
        except (pickle.UnpicklingError, *NPZ_ERRORS) as error:
            raise self.card.damaged(self.path, error) from error

    def shape(self, key: str) -> tuple[int, ...]:
        """Return an array's shape without reading it."""
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{key}.npy") as file:
                return _header(file)[1]
        except NPZ_ERRORS as error:
            raise self.card.damaged(self.path, error) from error

    def rows(self, key: str, count: int) -> np.ndarray:
        """Return an array whose first dimension must be `count`."""
        values = self.read(key)
        if len(values.shape) == 0 or len(values) != count:
            reason = f"{key} has shape {values.shape}, expected {count} rows"
            raise self.card.damaged(self.path, reason)
        return values


def _header(file: IO[bytes]) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """Read the header of an npy file: dtype, shape, whether in Fortran order."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    return dtype, shape, fortran


def load_json(path: Path, card: SetCard, what: str) -> Any:
    """Read a JSON file; raises DataError if it is missing or damaged."""
    card.need_file(path, what)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise card.damaged(path, error) from error


def kinect_lens(path: Path, card: SetCard, what: str) -> tuple[np.ndarray, tuple[float, ...]]:
    """Read the matrix (3, 3) and the distortion of a Kinect's Color.json, as in PROX and EgoBody.

    Raises: DataError if the file is missing or damaged.
    """
    values = load_json(path, card, f"{what}: camera_mtx and k")
    try:
        matrix = np.asarray(values["camera_mtx"], np.float64).reshape(3, 3)
        return matrix, tuple(float(value) for value in np.ravel(values.get("k", ())))
    except (KeyError, TypeError, ValueError) as error:
        raise card.damaged(path, error) from error


def rigid_transform(values: object, path: Path, card: SetCard) -> np.ndarray:
    """Return a (4, 4) float64 rigid transform [m] from a file; raises DataError if invalid."""
    try:
        matrix = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise card.damaged(path, error) from error
    # Published matrices are rounded to three digits and more.
    upright = matrix.shape == (4, 4) and np.isfinite(matrix).all()
    if not upright or np.abs(matrix[:3, :3] @ matrix[:3, :3].T - np.eye(3)).max() > 5e-3:
        raise card.damaged(path, f"expected a rigid (4, 4) transform, got shape {matrix.shape}")
    return matrix


def image_size(path: Path, card: SetCard) -> tuple[int, int]:
    """Return width and height of an image file from its header; raises DataError."""
    card.need_file(path, "an image")
    try:
        with Image.open(path) as image:
            return image.size
    except (UnidentifiedImageError, OSError) as error:
        raise card.damaged(path, error) from error


ARRAYS = ("transl", "global_orient", "body_pose", "betas")


def read_fits(paths: Sequence[Path], card: SetCard) -> SmplxParams:
    """Read the parameters of one person in consecutive frames; the shape is their mean.

    paths: one pickle per frame and person, as in EgoBody, PROX and RICH.

    Raises: DataError if a file is missing, damaged or for another body model.
    """
    rows = [read_fit(path, card) for path in paths]
    arrays = {key: np.stack([row[key] for row in rows]) for key in ARRAYS}
    return SmplxParams(
        arrays["betas"].mean(0), arrays["global_orient"], arrays["body_pose"], arrays["transl"]
    )


def read_fit(path: Path, card: SetCard) -> dict[str, np.ndarray]:
    """Read one frame's parameters, each as a float32 vector."""
    fit = load_pickle(path, card, ARRAYS)
    flat = {key: np.asarray(value, np.float32).reshape(-1) for key, value in fit.items()}
    flat["betas"] = flat["betas"][:10]
    for key, count in (("transl", 3), ("global_orient", 3), ("body_pose", 63), ("betas", 10)):
        if flat[key].size != count or not np.isfinite(flat[key]).all():
            raise card.damaged(path, f"{key} has {flat[key].size} numbers, expected {count}")
    return flat
