"""Compare the triangulation of the benchmark with that of Pose2Sim, on the same keypoints.

    pip install --no-deps pose2sim
    pip install anytree c3d opencv-python-headless pandas rtoml tqdm
    python scripts/compare_triangulation.py

On both trials of docs/cameras.md, all choices of 2, 3 and 4 cameras. Keypoints are undistorted
first. The limits are those of evaluation/multiview.py; --default uses those of Pose2Sim instead,
15 px and a likelihood of 0.3. Columns: trial, person, number of cameras; mean and median difference
of the points that both have, mm; share of the keypoints that only one of them has; error of
Pose2Sim's points against the body fitted to the keypoints of the other landmark network, mm; share
of the keypoints that Pose2Sim has.
"""

from __future__ import annotations

import sys
from itertools import combinations

import numpy as np
from Pose2Sim.triangulation import triangulation_from_best_cameras

from moro_ros.cli.evaluate_video import load_trials, marked_body, remembering_frontend
from moro_ros.config import PipelineConfig
from moro_ros.evaluation.association import only
from moro_ros.evaluation.multiview import MAX_REPROJECTION_PX, MIN_VISIBILITY
from moro_ros.evaluation.pose2sim import TRIALS, Trial
from moro_ros.evaluation.triangulated import triangulated
from moro_ros.geometry.lens import undistort_points
from moro_ros.live.load import load_stream
from moro_ros.types import NUM_KEYPOINTS


def observed(trial: Trial, person: int, least: float) -> np.ndarray:
    """Return undistorted pixels and visibility (C, F, K, 3) of a person; NaN below `least`."""
    frames = only(trial.frames, trial.people[person].tracks)
    found = np.full((len(frames), len(frames[0]), NUM_KEYPOINTS, 3), np.nan)
    for row, of_view in enumerate(frames):
        for number, frame in enumerate(of_view):
            if frame.people and (keypoints := frame.people[0].keypoints) is not None:
                pixels = undistort_points(keypoints.points_px.astype(np.float64), frame.camera)
                found[row, number] = np.column_stack([pixels, keypoints.visibility])
    found[found[..., 2] < least] = np.nan
    return found


def by_pose2sim(trial: Trial, seen: np.ndarray, chosen: tuple[int, ...], px: float) -> np.ndarray:
    """Return the keypoints (F, K, 3) m that Pose2Sim triangulates from some cameras."""
    views = [trial.views[number] for number in chosen]
    projections = [v.camera.matrix @ np.column_stack([v.rotation, v.translation]) for v in views]
    limits = {"reproj_error_threshold_triangulation": px, "min_cameras_for_triangulation": 2}
    points = np.full((*seen.shape[1:3], 3), np.nan)
    for frame, keypoint in np.ndindex(*seen.shape[1:3]):
        columns = seen[list(chosen), frame, keypoint].T
        if np.isfinite(columns[2]).sum() > 1:
            points[frame, keypoint] = triangulation_from_best_cameras(
                {"triangulation": limits}, columns, columns, projections, {}
            )[0]
    return points


def main() -> None:
    """Print one line per person and number of cameras."""
    default = "--default" in sys.argv
    px, least = (15.0, 0.3) if default else (MAX_REPROJECTION_PX, MIN_VISIBILITY)
    body = marked_body(load_stream(PipelineConfig()))
    trials, _ = load_trials(TRIALS, "other", remembering_frontend("full")[0], body)
    for trial in trials:
        for row, person in enumerate(trial.people):
            seen, known = observed(trial, row, least), np.isfinite(person.truth.points[..., 0])
            for count in range(2, len(trial.views) + 1):
                lines = []
                for chosen in combinations(range(len(trial.views)), count):
                    theirs = by_pose2sim(trial, seen, chosen, px)
                    ours = triangulated(trial, row, chosen)
                    apart = 1e3 * np.linalg.norm(theirs - ours, axis=-1)
                    error = 1e3 * np.linalg.norm(theirs - person.truth.points, axis=-1)
                    single = np.isfinite(theirs[..., 0]) != np.isfinite(ours[..., 0])
                    share = np.isfinite(error).sum() / known.sum()
                    found = np.nanmean(apart), np.nanmedian(apart), single[known].mean()
                    lines.append((*found, np.nanmean(error), share))
                print(trial.name, person.name, count, *np.round(np.mean(lines, axis=0), 3))


if __name__ == "__main__":
    main()
