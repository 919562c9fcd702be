"""`moro evaluate pose2sim --cameras`: 1, 2, 3 and 4 cameras together against the same truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from moro_ros.cli.results import print_rows, score_row, write_images
from moro_ros.cli.world_floor import floor_of_view
from moro_ros.draw.plots import bar_chart
from moro_ros.evaluation.pose2sim import FLOOR, Trial
from moro_ros.evaluation.several_cameras import FusedScore, fused_scores, taken
from moro_ros.live.motion_stream import MoRoStream
from moro_ros.recover.ground import GIVEN_SIGMA


def print_cameras(
    trials: Sequence[Trial], stream: MoRoStream, as_json: bool, folder: Path | None, floor: bool
) -> int:
    """Score all choices of cameras and print the means.

    folder: for a plot, or None; floor: whether the cameras are given the floor.
    """
    scores = []
    for trial in trials:
        cameras = []
        for view, frames in zip(trial.views, trial.frames, strict=True):
            if floor:
                stream.set_floor(floor_of_view(FLOOR, view), GIVEN_SIGMA)
            cameras.append(taken(stream, frames))
        found = fused_scores(trial, stream.body, cameras, trial.people)
        scores += [(trial.name, score) for score in found]
    rows = [{"trial": name, **score_row(score)} for name, score in scores]
    print_rows(rows, as_json)
    if folder is not None:
        write_images({"cameras": chart(scores)}, folder)
    return 0


def chart(scores: Sequence[tuple[str, FusedScore]]) -> np.ndarray:
    """Return a plot of the error in the world over the number of cameras, a bar per person."""
    series: dict[str, list[float]] = {}
    labels = [f"cameras: {number}" for number in sorted({score.cameras for _, score in scores})]
    for trial, score in scores:
        series.setdefault(f"{trial}, {score.person}", []).append(score.world_mm)
    return bar_chart("Error of 22 joints in the world, mm", labels, series)
