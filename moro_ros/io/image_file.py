"""Reads and writes one image; OpenCV itself crashes on names that are not UTF-8."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from moro_ros.errors import DataError


def write_image(path: Path, image: np.ndarray) -> None:
    """Write an image (H, W, 3) uint8 BGR as PNG in one step; raises DataError if impossible."""
    part = path.with_name(f".part-{path.name}")
    try:
        part.write_bytes(cv2.imencode(".png", image)[1].tobytes())
        part.replace(path)
    except OSError as error:
        raise DataError(f"Cannot write the image {path} ({error}). Is the disk full?") from error
    finally:
        part.unlink(missing_ok=True)


def read_image(path: Path) -> np.ndarray | None:
    """Return an image (H, W, 3) uint8 BGR; None if it is damaged. Raises: OSError."""
    data = np.frombuffer(path.read_bytes(), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
