"""The real-video benchmark with 1, 2, 3 and 4 cameras: the fused body against the same truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from moro_ros.body.body_model import BodyModel
from moro_ros.evaluation.metrics import MM_PER_M
from moro_ros.evaluation.pose2sim import Trial, TruePerson
from moro_ros.evaluation.video_score import NUM_ROWS, Score, mean, score
from moro_ros.evaluation.video_sources import MotionStream, body_rows
from moro_ros.geometry.views import View
from moro_ros.recover.fusion.fusion import Fusion
from moro_ros.recover.fusion.looks import FusedPerson
from moro_ros.recover.fusion.playback import Taken, play
from moro_ros.types import NUM_KEYPOINTS, Frame


@dataclass(frozen=True, slots=True)
class FusedScore:
    """Score of one choice of cameras for one person, or the mean over the choices.

    cameras: their number; choices: number of such sets of cameras; mpjpe_mm, pa_mpjpe_mm, root_m,
    jitter, coverage, keypoints_mm: see Score; world_mm: 22 joints in absolute position;
    within: share of the joints in the 95 % ellipsoid of their covariance.
    """

    person: str
    cameras: int
    choices: int
    mpjpe_mm: float
    pa_mpjpe_mm: float
    root_m: float
    world_mm: float
    keypoints_mm: float
    jitter: float
    coverage: float
    within: float


_LABELS = ("person", "cameras", "choices")
# 95 % quantile of the squared Mahalanobis distance in three dimensions.
CHI2 = 7.815


def taken(stream: MotionStream, frames: Sequence[Frame]) -> list[Taken]:
    """Return the results of one camera's stream for its images."""
    stream.reset()
    return [Taken(frame, stream.push(frame)) for frame in frames]


def fused_scores(
    trial: Trial, body: BodyModel, cameras: Sequence[Sequence[Taken]], truths: Sequence[TruePerson]
) -> list[FusedScore]:
    """Score all choices of 1, 2, ... cameras; the mean over the choices of each number.

    body: of the streams; cameras: of each view; truths: of trial.people, of another kind perhaps.
    """
    scores = []
    for count in range(1, len(cameras) + 1):
        found: dict[str, list[FusedScore]] = {}
        for chosen in combinations(range(len(cameras)), count):
            for one in score_choice(trial, body, cameras, truths, chosen):
                found.setdefault(one.person, []).append(one)
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
    world = View("world", trial.views[0].camera, np.eye(3), np.zeros(3))
    hidden = np.zeros((shape[1], NUM_KEYPOINTS), bool)
    return [
        _scored(
            score(points[row], world, person.truth, hidden),
            person,
            points[row, :, :22],
            covariance[row],
            len(chosen),
        )
        for row, person in enumerate(truths)
        if any(number in chosen for number, _ in trial.people[row].tracks)
    ]


def owner(one: FusedPerson, views: dict[str, int], people: Sequence[TruePerson]) -> int | None:
    """Return the true person of a fused one, by most of its tracks; None if there is none."""
    own = {(views[camera], track_id) for camera, track_id in one.tracks}
    shares = [len(own & person.tracks) / len(own) for person in people]
    best = int(np.argmax(shares))
    return best if shares[best] > 0.5 else None


def _scored(
    plain: Score, person: TruePerson, joints: np.ndarray, covariance: np.ndarray, count: int
) -> FusedScore:
    error, within = np.full(joints.shape, np.nan), float("nan")
    if person.truth.joints is not None:
        error = joints - person.truth.joints
        known = np.isfinite(error).all(-1) & (np.trace(covariance, axis1=-2, axis2=-1) > 0)
        solved = np.linalg.solve(covariance[known], error[known][..., None])[..., 0]
        within = mean(((error[known] * solved).sum(-1) < CHI2).astype(np.float64))
    return FusedScore(
        person=person.name,
        cameras=count,
        choices=1,
        mpjpe_mm=plain.mpjpe_mm,
        pa_mpjpe_mm=plain.pa_mpjpe_mm,
        root_m=plain.root_m,
        world_mm=MM_PER_M * mean(np.linalg.norm(error, axis=-1)),
        keypoints_mm=plain.keypoints_mm,
        jitter=plain.jitter,
        coverage=plain.coverage,
        within=within,
    )


def mean_of(group: Sequence[FusedScore]) -> FusedScore:
    """Return the mean over the choices."""
    names = [name for name in FusedScore.__dataclass_fields__ if name not in _LABELS]
    means: dict[str, Any] = {
        name: mean(np.array([getattr(one, name) for one in group])) for name in names
    }
    return replace(group[0], choices=len(group), **means)
