"""Folders of images that `moro evaluate` writes: made before the measuring, filled after it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from moro_ros.errors import DataError


def make_folder(folder: Path, option: str) -> None:
    """Make a folder, so that a wrong one is told before minutes of work.

    option: how the user named it. Raises: DataError if it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".part").touch()
        (folder / ".part").unlink()
    except OSError as error:
        raise DataError(
            f"Cannot write to {folder} ({error}). Choose another {option} FOLDER."
        ) from error


def write_images(images: Mapping[str, np.ndarray], folder: Path) -> None:
    """Write images (H, W, 3) uint8 BGR as NAME.png.

    Raises: DataError if they cannot be written.
    """
    for name, image in images.items():
        path = folder / f"{name}.png"
        if not cv2.imwrite(str(path), image):
            raise DataError(f"Cannot write the image {path}. Is the disk full?")
