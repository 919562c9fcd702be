"""Checks that a result file holds the arrays that its project documents."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from moro_ros.errors import DataError


def arrays_of(
    path: Path, values: Any, layout: Mapping[str, tuple[int, ...]], where: str = ""
) -> dict[str, np.ndarray]:
    """Return arrays by name, as float64, all of one number of frames.

    layout: name -> shape without the frames; where: the place in the file, for messages.
    Raises: DataError if one is missing or of another shape.
    """
    if not isinstance(values, Mapping):
        raise DataError(
            f"{path}{where}: got {type(values).__name__}, expected a dictionary of arrays "
            f"{', '.join(layout)}."
        )
    arrays: dict[str, np.ndarray] = {}
    for name, shape in layout.items():
        if name not in values:
            raise DataError(
                f"{path}{where}: the array {name} is missing; expected {', '.join(layout)}, got "
                f"{', '.join(map(str, values))}."
            )
        array = np.asarray(values[name], np.float64)
        if array.shape[1:] != shape:
            raise DataError(
                f"{path}{where}: {name} has shape {array.shape}, expected (frames, "
                f"{', '.join(map(str, shape))})."
            )
        arrays[name] = array
    counts = {len(array) for array in arrays.values()}
    if len(counts) > 1:
        raise DataError(f"{path}{where}: the arrays have different numbers of frames: {counts}.")
    return arrays
