"""The evaluator: motion from any method against true motion of any set, by the paper's metrics.

A set is an iterable of TrueMotion; a reader (readers/) converts a method's result file to a list of
FoundMotion. Frames without a result are excluded and reported as coverage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from moro_ros.body.topology import JOINT_NAMES, NUM_JOINTS
from moro_ros.evaluation.metrics import joint_errors, paper_metrics, pooled_means

# Metrics that require the person's position in space.
PLACED_ONLY = ("GMPJPE [mm]", "RTE [%]", "G-Accel [m/s2]", "Jitter [10 m/s3]", "Sliding [mm]")
# Minimum consecutive frames for metrics over time.
MIN_FRAMES = 4
# A frame belongs to the first level whose bound its share of hidden joints does not exceed.
OCCLUSION_LEVELS: tuple[tuple[str, float], ...] = (
    ("nothing hidden", 0.0),
    ("up to a quarter", 0.25),
    ("up to a half", 0.5),
    ("more than a half", 1.0),
)


@dataclass(frozen=True, slots=True)
class TrueMotion:
    """One person's true motion in one fixed frame of reference.

    frames: (F,) numbers of the video's frames, rising; joints: (F, 22, 3) m; visible: (F, 22) bool
    or None; vertices: (F, V, 3) m or None.
    """

    name: str
    fps: float
    frames: np.ndarray
    joints: np.ndarray
    visible: np.ndarray | None = None
    vertices: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class FoundMotion:
    """A method's result for one person.

    person: the method's own id; frames, joints, vertices: as in TrueMotion; placed: whether the
    position in space is valid, in the truth's frame of reference.
    """

    person: str
    frames: np.ndarray
    joints: np.ndarray
    vertices: np.ndarray | None = None
    placed: bool = True


@dataclass(frozen=True, slots=True)
class Report:
    """The accuracy of a method on a set.

    means: the paper's metrics, pooled over the frames of all sequences; joint_mm: MPJPE of each
    joint by name; level_mm: by the share of hidden joints, if visibility is known; time_mm: name
    of the sequence -> mean error of each true frame (F,), NaN where nothing was found; coverage:
    share of the true frames with a result.
    """

    means: dict[str, float]
    joint_mm: dict[str, float]
    level_mm: dict[str, float]
    time_mm: dict[str, np.ndarray] = field(default_factory=dict)
    coverage: float = 0.0


def evaluate(truths: Iterable[TrueMotion], found: Callable[[str], Sequence[FoundMotion]]) -> Report:
    """Compare results with the truth.

    found: the name of a true motion -> all people that the method found in that video; the best
    match is scored.
    """
    pooled: list[dict[str, np.ndarray]] = []
    errors, hidden, times = [], [], {}
    true_frames = found_frames = 0
    for truth in truths:
        true_frames += len(truth.frames)
        times[truth.name] = np.full(len(truth.frames), np.nan)
        match = best_match(truth, found(truth.name))
        if match is None:
            continue
        own, theirs = common(truth, match)
        error = joint_errors(match.joints[theirs], truth.joints[own])
        times[truth.name][own] = error.mean(1)
        errors.append(error)
        found_frames += len(own)
        if truth.visible is not None:
            hidden.append((error, ~truth.visible[own]))
        pooled += [_metrics(truth, match, own[run], theirs[run]) for run in runs(truth.frames[own])]
    every = np.concatenate(errors) if errors else np.zeros((0, NUM_JOINTS))
    joint_mm = {name: _mean(every[:, j]) for j, name in enumerate(JOINT_NAMES)}
    coverage = found_frames / max(true_frames, 1)
    return Report(pooled_means(pooled), joint_mm, _levels(hidden), times, coverage)


def best_match(truth: TrueMotion, people: Sequence[FoundMotion]) -> FoundMotion | None:
    """Return the person nearest to the truth over most of it; None without an overlap."""
    best, least = None, np.inf
    for person in people:
        own, theirs = common(truth, person)
        if not len(own):
            continue
        error = joint_errors(person.joints[theirs], truth.joints[own]).mean()
        if person.placed:
            error += (
                1e3
                * np.linalg.norm(person.joints[theirs, 0] - truth.joints[own, 0], axis=-1).mean()
            )
        cost = error * len(truth.frames) / len(own)
        if cost < least:
            best, least = person, cost
    return best


def common(truth: TrueMotion, found: FoundMotion) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the true and of the found frames that are common."""
    _, own, theirs = np.intersect1d(truth.frames, found.frames, return_indices=True)
    finite = np.isfinite(found.joints[theirs]).all((1, 2))
    return own[finite], theirs[finite]


def runs(frames: np.ndarray) -> list[slice]:
    """Return the runs of consecutive frames that are long enough for every metric."""
    if not len(frames):
        return []
    step = int(np.diff(frames).min()) if len(frames) > 1 else 1
    edges = [0, *(np.flatnonzero(np.diff(frames) != step) + 1), len(frames)]
    return [slice(a, b) for a, b in pairwise(edges) if b - a >= MIN_FRAMES]


def _metrics(
    truth: TrueMotion, found: FoundMotion, own: np.ndarray, theirs: np.ndarray
) -> dict[str, np.ndarray]:
    meshes = truth.vertices is not None and found.vertices is not None
    if meshes and truth.vertices is not None and found.vertices is not None:
        meshes = truth.vertices.shape[1] == found.vertices.shape[1]
    metrics = paper_metrics(
        found.joints[theirs],
        truth.joints[own],
        truth.fps,
        None if truth.visible is None else truth.visible[own],
        found.vertices[theirs] if meshes and found.vertices is not None else None,
        truth.vertices[own] if meshes and truth.vertices is not None else None,
    )
    if not found.placed:
        metrics = {name: v for name, v in metrics.items() if name not in PLACED_ONLY}
    return metrics


def _levels(samples: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    if not samples:
        return {}
    error = np.concatenate([e for e, _ in samples]).mean(1)
    return error_by_level(error, np.concatenate([h for _, h in samples]).mean(1))


def error_by_level(error: np.ndarray, share: np.ndarray) -> dict[str, float]:
    """Return the mean error of the frames of each level, by its name; NaN where there are none.

    error: (F,); share: (F,) of the joints that are hidden.
    """
    level = np.searchsorted([bound for _, bound in OCCLUSION_LEVELS], share)
    return {name: _mean(error[level == i]) for i, (name, _) in enumerate(OCCLUSION_LEVELS)}


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")
