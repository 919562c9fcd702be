"""Errors of single-camera joints against a true body: one score per view and condition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np

from moro_ros.body.topology import JOINT_NAMES, NUM_JOINTS
from moro_ros.evaluation.metrics import MM_PER_M, aligned, jitter
from moro_ros.evaluation.multiview import Truth
from moro_ros.evaluation.sigma import shares_within
from moro_ros.geometry.views import View
from moro_ros.types import KEYPOINTS, NUM_KEYPOINTS

T = TypeVar("T")

RATE_HZ = 30.0
# The points of a body: 22 joints and its own keypoints. An array of rows has their positions and
# then the sigma of each (sigma.axis_sigma), that of a keypoint's joint for a keypoint.
NUM_POINTS = NUM_JOINTS + NUM_KEYPOINTS
NUM_ROWS = 2 * NUM_POINTS
# Minimum number of true joints for a similarity transform.
MIN_JOINTS = 6
# The third derivative requires four frames.
MIN_RUN = 4

# The joints common to BlazePose and the body model: the twelve of the limbs.
LIMB_JOINTS: tuple[str, ...] = tuple(
    f"{side}_{name}"
    for name in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in ("left", "right")
)
BODY_ROWS = [JOINT_NAMES.index(name) for name in LIMB_JOINTS]
KEYPOINT_ROWS = [list(KEYPOINTS).index(name) for name in LIMB_JOINTS]
HIPS = [LIMB_JOINTS.index("left_hip"), LIMB_JOINTS.index("right_hip")]
# The bends of both knees, elbows and hips: rows of LIMB_JOINTS, the bent one in the middle.
BENDS = [
    [LIMB_JOINTS.index(f"{side}_{name}") for name in names]
    for names in (
        ("hip", "knee", "ankle"),
        ("shoulder", "elbow", "wrist"),
        ("shoulder", "hip", "knee"),
    )
    for side in ("left", "right")
]


@dataclass(frozen=True, slots=True)
class Score:
    """Score of one view under one condition; NaN if nothing could be measured.

    mpjpe_mm, pa_mpjpe_mm: 12 limb joints, relative to mid-hip and after a similarity transform.
    hidden_mpjpe_mm: as mpjpe_mm, only the joints whose keypoint was hidden from the model.
    root_m: distance of mid-hip in the camera frame. jitter: 10 m/s3, in the camera frame.
    coverage: share of the frames with a truth that also have a motion. frames: those with both.
    keypoints_mm: the 19 keypoints of the model's body, relative to their mid-hip; the truth must
    have the same ones. within_1_sigma, within_2_sigma: share of the errors of the 12 joints in the
    camera frame, across and along the line of sight, within the stated sigma. person: of the score.
    """

    view: str
    condition: str
    mpjpe_mm: float
    pa_mpjpe_mm: float
    hidden_mpjpe_mm: float
    root_m: float
    jitter: float
    coverage: float
    frames: int
    keypoints_mm: float = float("nan")
    within_1_sigma: float = float("nan")
    within_2_sigma: float = float("nan")
    person: str = ""


def score(
    rows: np.ndarray, view: View, truth: Truth, hidden: np.ndarray, condition: str = "plain"
) -> Score:
    """Compare a recovered body with the truth in one camera.

    rows: (F, NUM_ROWS, 3) m, in the camera frame, NaN without a motion.
    hidden: (F, K) bool, which keypoints the model did not see.
    """
    true_points = truth.points @ view.rotation.T + view.translation
    expected = true_points[:, KEYPOINT_ROWS]
    if truth.joints is not None:
        expected = truth.joints[:, BODY_ROWS] @ view.rotation.T + view.translation
    found, own_points = rows[:, BODY_ROWS], rows[:, NUM_JOINTS:NUM_POINTS]
    within = shares_within(found - expected, found, rows[:, NUM_POINTS:][:, BODY_ROWS])
    own_error = _from_hips(own_points) - _from_hips(true_points)
    found_root, expected_root = found[:, HIPS].mean(1), expected[:, HIPS].mean(1)
    error = (found - found_root[:, None]) - (expected - expected_root[:, None])
    distance = MM_PER_M * np.linalg.norm(error, axis=-1)  # (F, 12)
    similar = np.full(distance.shape, np.nan)
    known = np.isfinite(expected[..., 0]) & np.isfinite(found[..., 0])
    for number in np.flatnonzero(known.sum(1) >= MIN_JOINTS):
        row = known[number]
        moved = aligned(found[number, row], expected[number, row], scale=True)
        similar[number, row] = MM_PER_M * np.linalg.norm(moved - expected[number, row], axis=-1)
    with_truth = np.isfinite(expected_root[:, 0])
    both = with_truth & np.isfinite(found[:, 0, 0])
    return Score(
        view=view.name,
        condition=condition,
        mpjpe_mm=mean(distance),
        pa_mpjpe_mm=mean(similar),
        hidden_mpjpe_mm=mean(distance[hidden[:, KEYPOINT_ROWS]]),
        root_m=mean(np.linalg.norm(found_root - expected_root, axis=-1)),
        jitter=mean(jitter(found, RATE_HZ)) if len(found) >= MIN_RUN else float("nan"),
        coverage=float(both.sum() / with_truth.sum()) if with_truth.any() else float("nan"),
        frames=int(both.sum()),
        keypoints_mm=MM_PER_M * mean(np.linalg.norm(own_error, axis=-1)),
        within_1_sigma=within[0],
        within_2_sigma=within[1],
    )


def bends_deg(limbs: np.ndarray) -> np.ndarray:
    """Return the bends (F, 6) of knees, elbows and hips from the 12 limb joints (F, 12, 3).

    A bend is the angle between the two bones of a joint, 0 if they are straight; the bone above the
    hip ends at the shoulder.
    """
    first, middle, last = limbs[:, np.array(BENDS).T].transpose(1, 0, 2, 3)
    upper, lower = middle - first, last - middle
    sine = np.linalg.norm(np.cross(upper, lower), axis=-1)
    return np.asarray(np.degrees(np.arctan2(sine, (upper * lower).sum(-1))))


def _from_hips(points: np.ndarray) -> np.ndarray:
    """Keypoints (F, K, 3) relative to the middle of those of the hips."""
    hips = points[:, [KEYPOINT_ROWS[row] for row in HIPS]]
    return np.asarray(points - hips.mean(1, keepdims=True))


def mean(values: np.ndarray) -> float:
    """Return the mean of the finite values; NaN if there are none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")


def mean_scores(scores: Sequence[T]) -> list[T]:
    """Return the mean of each condition over views and people, in their order; frames add up.

    scores: dataclasses such as Score, with view, condition and frames.
    """
    items: list[Any] = list(scores)
    result = []
    for condition in dict.fromkeys(item.condition for item in items):
        group = [item for item in items if item.condition == condition]
        kind = type(group[0])
        means = {
            f.name: mean(np.array([getattr(item, f.name) for item in group]))
            for f in fields(kind)
            if f.type == "float"
        }
        frames = sum(item.frames for item in group)
        result.append(kind(view="mean", condition=condition, frames=frames, **means))
    return result
