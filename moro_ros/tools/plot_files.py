"""Images of plots as files of a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from moro_ros.errors import DataError


def write_plots(images: Mapping[str, np.ndarray], folder: Path) -> None:
    """Write images (H, W, 3) uint8 BGR as NAME.png; the folder is made if it is missing.

    Raises: DataError if it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, image in images.items():
            (folder / f"{name}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    except OSError as error:
        raise DataError(
            f"The plots cannot be written to {folder} ({error}): choose another --plots FOLDER."
        ) from error
