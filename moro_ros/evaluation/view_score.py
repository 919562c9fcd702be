"""Scores of chosen keypoints in one camera: relative to mid-shoulder, and on the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from moro_ros.body.topology import NUM_JOINTS
from moro_ros.evaluation.metrics import MM_PER_M
from moro_ros.evaluation.multiview import MIN_VISIBILITY, Truth
from moro_ros.evaluation.sigma import shares_within
from moro_ros.evaluation.video_score import NUM_POINTS, mean
from moro_ros.geometry.lens import image_points, undistort_points
from moro_ros.geometry.views import View
from moro_ros.types import KEYPOINTS, Frame

SHOULDERS = [list(KEYPOINTS).index(f"{side}_shoulder") for side in ("left", "right")]
NEAREST_M = 0.05  # points nearer to the camera, or behind it, are not on its image


@dataclass(frozen=True, slots=True)
class ViewScore:
    """Score of one camera for the chosen keypoints; NaN if nothing could be measured.

    relative_mm: from the truth, both relative to mid-shoulder. mid_shoulder_mm: its own distance
    from the truth's. image_px: on the camera's rectified image, if the truth is inside the image.
    detector_px: the same for the front-end's seen keypoints. coverage: share of the frames with a
    truth that have a result; frames: those with both. within_1_sigma, within_2_sigma: as in
    video_score.Score, of the keypoints, with the sigma of the joint that carries each.
    """

    view: str
    condition: str
    relative_mm: float
    mid_shoulder_mm: float
    image_px: float
    detector_px: float
    coverage: float
    frames: int
    within_1_sigma: float
    within_2_sigma: float


def score_view(
    body: np.ndarray,
    view: View,
    truth: Truth,
    seen: Sequence[Frame],
    names: Sequence[str],
    condition: str,
) -> ViewScore:
    """Compare a body's own keypoints with the truth in one camera.

    body: (F, NUM_ROWS, 3) m, camera frame (video_score.py), NaN without a result.
    seen: the front-end's frames with only this person. names: of the scored keypoints.
    """
    rows = [list(KEYPOINTS).index(name) for name in names]
    found, sigma = body[:, NUM_JOINTS:NUM_POINTS], body[:, NUM_POINTS + NUM_JOINTS :]
    expected = truth.points @ view.rotation.T + view.translation
    within = shares_within((found - expected)[:, rows], found[:, rows], sigma[:, rows])
    middle, true_middle = found[:, SHOULDERS].mean(1), expected[:, SHOULDERS].mean(1)
    relative = (found - middle[:, None]) - (expected - true_middle[:, None])
    found_px, expected_px = (rectified_px(p[:, rows], view) for p in (found, expected))
    expected_px[~in_image(expected_px, view)] = np.nan
    detected_px = np.full(expected_px.shape, np.nan)
    for number, frame in enumerate(seen):
        for person in frame.people:
            if person.keypoints is not None:
                shown = person.keypoints.visibility[rows] >= MIN_VISIBILITY
                straight = undistort_points(person.keypoints.points_px[rows], frame.camera)
                detected_px[number, shown] = straight[shown]
    with_truth = np.isfinite(expected[:, rows, 0]).any(1)
    both = with_truth & np.isfinite(found[:, rows, 0]).any(1)
    return ViewScore(
        view=view.name,
        condition=condition,
        relative_mm=MM_PER_M * mean(np.linalg.norm(relative[:, rows], axis=-1)),
        mid_shoulder_mm=MM_PER_M * mean(np.linalg.norm(middle - true_middle, axis=-1)),
        image_px=mean(np.linalg.norm(found_px - expected_px, axis=-1)),
        detector_px=mean(np.linalg.norm(detected_px - expected_px, axis=-1)),
        coverage=float(both.sum() / with_truth.sum()) if with_truth.any() else float("nan"),
        frames=int(both.sum()),
        within_1_sigma=within[0],
        within_2_sigma=within[1],
    )


def rectified_px(points: np.ndarray, view: View) -> np.ndarray:
    """Return points (F, N, 3) m of a camera's frame on its rectified image, (F, N, 2).

    NaN for points behind the camera.
    """
    depth = np.where(points[..., 2:] > NEAREST_M, points[..., 2:], np.nan)
    matrix = view.camera.matrix
    return np.asarray(points[..., :2] / depth * matrix[[0, 1], [0, 1]] + matrix[:2, 2])


def in_image(pixels: np.ndarray, view: View) -> np.ndarray:
    """Return which rectified points (F, N, 2) are inside the camera's image, (F, N) bool."""
    camera, held = view.camera, np.zeros(pixels.shape[:-1], bool)
    known = np.isfinite(pixels[..., 0])
    if not known.any():
        return held
    rays = (pixels[known] - camera.matrix[:2, 2]) / camera.matrix[[0, 1], [0, 1]]
    bent = image_points(np.column_stack([rays, np.ones(len(rays))]), camera)
    inside = ((bent >= 0) & (bent < [camera.width, camera.height])).all(-1)
    # Far outside of the image a lens model may map points back into it.
    back = np.linalg.norm(undistort_points(bent, camera) - pixels[known], axis=-1)
    held[known] = inside & (back < 1.0)
    return held


def shoulder_widths(truths: Sequence[Truth]) -> np.ndarray:
    """Return the distances [m] between the shoulders of a truth, where both are known."""
    pairs = np.concatenate([truth.points[:, SHOULDERS] for truth in truths])
    widths = np.linalg.norm(pairs[:, 0] - pairs[:, 1], axis=-1)
    return np.asarray(widths[np.isfinite(widths)])
