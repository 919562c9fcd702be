"""Triangulated keypoints without a body: the method of Pose2Sim and FreeMoCap.

Each keypoint is triangulated from the views that agree on it (multiview.triangulate). Short gaps
are then interpolated, and a low-pass filter removes noise, with the default values of Pose2Sim.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.signal import butter, filtfilt

from moro_ros.evaluation.association import only
from moro_ros.evaluation.multiview import triangulate
from moro_ros.evaluation.pose2sim import Trial
from moro_ros.evaluation.video_score import BODY_ROWS, KEYPOINT_ROWS, NUM_POINTS, NUM_ROWS
from moro_ros.types import NUM_KEYPOINTS

# Longest gap that is interpolated, frames; cut-off and order of the filter, which runs forwards and
# backwards, each time with half of the order.
LONGEST_GAP = 20
CUT_OFF_HZ, ORDER = 6.0, 4


def triangulated(trial: Trial, person: int, chosen: Sequence[int]) -> np.ndarray:
    """Return the keypoints (F, K, 3) m of a person from some cameras, by number; NaN if unknown.

    They are in the world frame. Which tracks are those of the person is given.
    """
    frames = only(trial.frames, trial.people[person].tracks)
    views = [trial.views[number] for number in chosen]
    return triangulate(views, [frames[number] for number in chosen]).points


def smoothed(points: np.ndarray, rate_hz: float) -> np.ndarray:
    """Interpolate short gaps of each point of (F, K, 3) linearly, then apply the low-pass filter.

    Sequences too short for the filter are left as they are.
    """
    lower, upper = butter(ORDER // 2, CUT_OFF_HZ / (rate_hz / 2))
    shortest = 3 * max(len(lower), len(upper)) + 1
    result = points.copy()
    for path in result.swapaxes(0, 1):
        known = np.flatnonzero(np.isfinite(path[:, 0]))
        for before, after in pairwise(known):
            if 1 < after - before <= LONGEST_GAP + 1:
                share = np.linspace(0, 1, after - before + 1)[:, None]
                path[before : after + 1] = (1 - share) * path[before] + share * path[after]
        known = np.flatnonzero(np.isfinite(path[:, 0]))
        for run in np.split(known, np.flatnonzero(np.diff(known) > 1) + 1):
            if len(run) >= shortest:
                path[run] = filtfilt(lower, upper, path[run], axis=0)
    return result


def keypoint_rows(points: np.ndarray) -> np.ndarray:
    """Return keypoints (F, K, 3) as rows (F, NUM_ROWS, 3), also those of the 12 limb joints."""
    rows = np.full((len(points), NUM_ROWS, 3), np.nan)
    rows[:, BODY_ROWS] = points[:, KEYPOINT_ROWS]
    rows[:, NUM_POINTS - NUM_KEYPOINTS : NUM_POINTS] = points
    return rows
