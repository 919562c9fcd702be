"""Bodies stored as one pickle per frame and person, as EgoBody, PROX and RICH are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from moro_ros.data.layout import SetCard
from moro_ros.data.records import load_pickle
from moro_ros.types import SmplxParams

ARRAYS = ("transl", "global_orient", "body_pose", "betas")


def read_fits(paths: Sequence[Path], card: SetCard) -> SmplxParams:
    """Read the parameters of one person in consecutive frames; the shape is their mean.

    Raises: DataError if a file is missing, damaged or of another body model.
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
