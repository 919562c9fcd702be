"""The real-video benchmark with 1, 2, 3 and 4 cameras: all methods against the same truth.

The methods are the fused body, and the triangulation of the same keypoints without a body.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from moro_ros.body.body_model import BodyModel
from moro_ros.evaluation.metrics import MM_PER_M, point_jitter
from moro_ros.evaluation.pose2sim import Trial, TruePerson
from moro_ros.evaluation.triangulated import keypoint_rows, smoothed, triangulated
from moro_ros.evaluation.video_score import (
    BODY_ROWS,
    KEYPOINT_ROWS,
    NUM_POINTS,
    NUM_ROWS,
    RATE_HZ,
    bends_deg,
    mean,
    score,
)
from moro_ros.evaluation.video_sources import MotionStream, body_rows
from moro_ros.geometry.views import View
from moro_ros.recover.fusion.fusion import Fusion
from moro_ros.recover.fusion.looks import FusedPerson
from moro_ros.recover.fusion.playback import Taken, play
from moro_ros.types import Frame


@dataclass(frozen=True, slots=True)
class FusedScore:
    """Score of one method and choice of cameras for one person, or the mean over the choices.

    method: see METHODS; cameras: their number; choices: number of such sets of cameras; mpjpe_mm,
    pa_mpjpe_mm, root_m: see Score. world_mm: 22 joints in absolute position; keypoints_mm: 19
    keypoints in absolute position; shared_mm: those that this method and the triangulation have;
    alone_mm: those that the triangulation does not have; bends_deg: error of the bends of knees,
    elbows and hips; jitter: 10 m/s3; coverage: share of the keypoints that have a position; within:
    share of the joints in the 95 % ellipsoid of their covariance. NaN if a method has no such value
    or nothing could be measured.
    """

    person: str
    method: str
    cameras: int
    choices: int
    mpjpe_mm: float
    pa_mpjpe_mm: float
    root_m: float
    world_mm: float
    keypoints_mm: float
    shared_mm: float
    alone_mm: float
    bends_deg: float
    jitter: float
    coverage: float
    within: float


# The fused body, the triangulated keypoints, and these with interpolated gaps and a low-pass.
METHODS = ("body", "triangulated", "smoothed")
_LABELS = ("person", "method", "cameras", "choices")
# 95 % quantile of the squared Mahalanobis distance in three dimensions.
CHI2 = 7.815


def taken(stream: MotionStream, frames: Sequence[Frame]) -> list[Taken]:
    """Return the results of one camera's stream for its images."""
    stream.reset()
    return [Taken(frame, stream.push(frame)) for frame in frames]


def fused_scores(
    trial: Trial, body: BodyModel, cameras: Sequence[Sequence[Taken]], truths: Sequence[TruePerson]
) -> list[FusedScore]:
    """Score all choices of 1, 2, ... cameras; the mean over the choices of each number and method.

    body: of the streams; cameras: of each view; truths: of trial.people, of another kind perhaps.
    """
    scores = []
    for count in range(1, len(cameras) + 1):
        found: dict[tuple[str, str], list[FusedScore]] = {}
        for chosen in combinations(range(len(cameras)), count):
            for one in score_choice(trial, body, cameras, truths, chosen):
                found.setdefault((one.person, one.method), []).append(one)
        scores += [mean_of(group) for group in found.values()]
    return scores


def score_choice(
    trial: Trial,
    body: BodyModel,
    cameras: Sequence[Sequence[Taken]],
    truths: Sequence[TruePerson],
    chosen: Sequence[int],
) -> list[FusedScore]:
    """Score one choice of cameras, by their numbers, on all people that one of them sees."""
    views = {trial.views[number].name: number for number in chosen}
    fusion = Fusion(body, [trial.views[number] for number in chosen])
    reels: dict[str, Iterator[Taken]] = {name: iter(cameras[n]) for name, n in views.items()}
    shape = (len(truths), len(cameras[chosen[0]]))
    points = np.full((*shape, NUM_ROWS, 3), np.nan)
    covariance = np.full((*shape, 22, 3, 3), np.nan)
    for index, (_, people) in enumerate(play(fusion, reels)):
        for one in people:
            whose = owner(one, views, truths)
            if whose is not None and index < shape[1]:
                points[whose, index] = body_rows(one.motion, body)[0]
                covariance[whose, index] = one.motion.covariance[0]
    scores = []
    for row, person in enumerate(truths):
        if not any(number in chosen for number, _ in trial.people[row].tracks):
            continue
        found = {"body": points[row]}
        if len(chosen) > 1:
            keypoints = triangulated(trial, row, chosen)
            found["triangulated"] = keypoint_rows(keypoints)
            found["smoothed"] = keypoint_rows(smoothed(keypoints, RATE_HZ))
        world = View("world", trial.views[0].camera, np.eye(3), np.zeros(3))
        of_person = _compare(found, person, world, len(chosen))
        within = _within(points[row, :, :22], person, covariance[row])
        scores += [replace(of_person[0], within=within), *of_person[1:]]
    return scores


def owner(one: FusedPerson, views: dict[str, int], people: Sequence[TruePerson]) -> int | None:
    """Return the true person of a fused one, by most of its tracks; None if there is none."""
    own = {(views[camera], track_id) for camera, track_id in one.tracks}
    shares = [len(own & person.tracks) / len(own) for person in people]
    best = int(np.argmax(shares))
    return best if shares[best] > 0.5 else None


def _compare(
    found: dict[str, np.ndarray], person: TruePerson, world: View, count: int
) -> list[FusedScore]:
    """Score each method's rows (F, NUM_ROWS, 3) of one person in the world frame."""
    truth = person.truth
    true_joints = np.nan if truth.joints is None else truth.joints
    true_bends = bends_deg(truth.points[:, KEYPOINT_ROWS])
    hidden = np.zeros(truth.points.shape[:2], bool)
    distances = {m: _distance_mm(rows[:, 22:NUM_POINTS], truth.points) for m, rows in found.items()}
    shared = alone = np.zeros(truth.points.shape[:2], bool)
    if "triangulated" in found:
        known = np.isfinite(distances["triangulated"])
        shared, alone = known & np.isfinite(distances["body"]), ~known
    scores = []
    for method, rows in found.items():
        is_body, distance = method == "body", distances[method]
        plain = score(rows, world, truth if is_body else replace(truth, joints=None), hidden)
        expected = true_bends
        if is_body and truth.joints is not None:
            expected = bends_deg(truth.joints[:, BODY_ROWS])
        scores.append(
            FusedScore(
                person=person.name,
                method=method,
                cameras=count,
                choices=1,
                mpjpe_mm=plain.mpjpe_mm,
                pa_mpjpe_mm=plain.pa_mpjpe_mm,
                root_m=plain.root_m,
                world_mm=mean(_distance_mm(rows[:, :22], true_joints)) if is_body else np.nan,
                keypoints_mm=mean(distance),
                shared_mm=mean(distance[shared]),
                alone_mm=mean(distance[alone]),
                bends_deg=mean(np.abs(bends_deg(rows[:, BODY_ROWS]) - expected)),
                jitter=point_jitter(rows[:, BODY_ROWS], RATE_HZ),
                coverage=_share(np.isfinite(distance), np.isfinite(truth.points[..., 0])),
                within=np.nan,
            )
        )
    return scores


def _distance_mm(points: np.ndarray, truth: np.ndarray | float) -> np.ndarray:
    return np.asarray(MM_PER_M * np.linalg.norm(points - truth, axis=-1))


def _share(found: np.ndarray, known: np.ndarray) -> float:
    return float(found.sum() / known.sum()) if known.any() else float("nan")


def _within(joints: np.ndarray, person: TruePerson, covariance: np.ndarray) -> float:
    """Share of the joints (F, 22, 3) in the 95 % ellipsoid of their covariance (F, 22, 3, 3)."""
    if person.truth.joints is None:
        return float("nan")
    error = joints - person.truth.joints
    known = np.isfinite(error).all(-1) & (np.trace(covariance, axis1=-2, axis2=-1) > 0)
    solved = np.linalg.solve(covariance[known], error[known][..., None])[..., 0]
    return mean(((error[known] * solved).sum(-1) < CHI2).astype(np.float64))


def mean_of(group: Sequence[FusedScore]) -> FusedScore:
    """Return the mean over the choices."""
    names = [name for name in FusedScore.__dataclass_fields__ if name not in _LABELS]
    means: dict[str, Any] = {
        name: mean(np.array([getattr(one, name) for one in group])) for name in names
    }
    return replace(group[0], choices=len(group), **means)
