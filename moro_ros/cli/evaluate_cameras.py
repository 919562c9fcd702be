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
        write_images(charts(scores), folder)
    return 0


def charts(scores: Sequence[tuple[str, FusedScore]]) -> dict[str, np.ndarray]:
    """Return plots of errors in the world over the number of cameras, by name.

    cameras: of the body, a bar per person; triangulation: of both methods with two cameras and
    more, at the keypoints that both have.
    """
    joints: dict[str, list[float]] = {}
    shared: dict[str, list[float]] = {}
    for trial, score in scores:
        name = f"{trial}, {score.person}"
        if score.method == "body":
            joints.setdefault(name, []).append(score.world_mm)
        if score.cameras > 1 and score.method != "smoothed":
            shared.setdefault(f"{name}, {score.method}", []).append(score.shared_mm)
    numbers = sorted({score.cameras for _, score in scores})
    labels = [f"cameras: {number}" for number in numbers]
    title = "Error of the same keypoints in the world, mm"
    return {
        "cameras": bar_chart("Error of 22 joints in the world, mm", labels, joints),
        "triangulation": bar_chart(title, labels[1:], shared),
    }
