"""Trials whose truth is a body fit, from several detectors, with a cache of fits."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np

from moro_ros.assets import cache_dir
from moro_ros.body.body_model import BodyModel
from moro_ros.errors import NPZ_ERRORS
from moro_ros.evaluation import body_fit
from moro_ros.evaluation.association import associate, only
from moro_ros.evaluation.body_fit import FittedBody, Marks, fit_body
from moro_ros.evaluation.metrics import MM_PER_M
from moro_ros.evaluation.multiview import Truth, observations, triangulate
from moro_ros.evaluation.pose2sim import Trial
from moro_ros.evaluation.video_score import RATE_HZ
from moro_ros.geometry.views import View
from moro_ros.types import Frame

LOGGER = logging.getLogger(__name__)
# Maximum median distance of the keypoints of two detectors for one person, m.
SAME_M = 0.25
# The fields of a body that a fit depends on.
BODY_ARRAYS = ("joint_template", "joint_shapedirs", "keypoint_template", "keypoint_shapedirs")


def fit_trial(
    trial: Trial,
    body: BodyModel,
    marked: BodyModel,
    others: Sequence[Sequence[Sequence[Frame]]] = (),
) -> Trial:
    """Return a trial whose truth is a body fitted to each person.

    marked: the same body with the keypoints of the truth, on which the fit does not depend. They
    must be those of the evaluated model, or the same pose has an error.
    others: results of further detectors for the same images, frames of each view. People that they
    do not see are fitted without them.
    """
    found = []
    for frames in others:
        people = [only(frames, tracks) for tracks in associate(trial.views, frames)]
        found.append([(shown, triangulate(trial.views, shown)) for shown in people])
    fitted = []
    for person in trial.people:
        marks = [_marks(trial.views, only(trial.frames, person.tracks))]
        for candidates in found:
            near = [(apart(person.truth, truth), shown) for shown, truth in candidates]
            nearest = min(near, key=lambda pair: pair[0], default=(np.inf, None))
            if nearest[0] < SAME_M and nearest[1] is not None:
                marks.append(_marks(trial.views, nearest[1]))
        fit = cached_fit(trial.views, marks, person.truth, body)
        fitted.append(replace(person, truth=fit.truth(marked), fit=fit))
    return replace(trial, people=tuple(fitted))


def _marks(views: Sequence[View], frames: Sequence[Sequence[Frame]]) -> Marks:
    return Marks(*observations(views, frames))


def apart(first: Truth, second: Truth) -> float:
    """Return the median distance [m] of two truths' keypoints; infinite if none are common."""
    count = min(len(first.points), len(second.points))
    distance = np.linalg.norm(first.points[:count] - second.points[:count], axis=-1)
    known = distance[np.isfinite(distance)]
    return float(np.median(known)) if known.size else float("inf")


def cached_fit(
    views: Sequence[View], marks: Sequence[Marks], start: Truth, body: BodyModel
) -> FittedBody:
    """Return the fit of a person, from the user's cache if it is there.

    The file name is a hash of all inputs of the fit: keypoints, cameras, body and code.
    """
    digest = hashlib.sha256(Path(body_fit.__file__).read_bytes())
    arrays = [start.points, *(getattr(body, name).numpy() for name in BODY_ARRAYS)]
    arrays += [array for mark in marks for array in (mark.points, mark.weight)]
    arrays += [array for v in views for array in (v.camera.matrix, v.rotation, v.translation)]
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    path = cache_dir() / "fits" / f"{digest.hexdigest()}.npz"
    names = [item.name for item in fields(FittedBody)]
    try:
        with np.load(path, allow_pickle=False) as archive:
            return FittedBody(**{name: archive[name] for name in names})
    except NPZ_ERRORS:
        LOGGER.debug("%s is not in the cache", path)
    fit = fit_body(views, marks, start, body, RATE_HZ)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npz", delete=False) as file:
            np.savez(file, **asdict(fit))
        os.replace(file.name, path)
    except OSError as error:
        LOGGER.warning("The fit is not cached: cannot write %s (%s).", path.parent, error)
    return fit


def residuals(trial: Trial, triangulated: Trial) -> list[dict[str, float | str]]:
    """Return the residuals of each person's fit: a row for each detector.

    size: of the body relative to the model's; mean and median px over all views and of each view;
    mm: the median distance between the fit's keypoints and the triangulated ones.
    """
    rows: list[dict[str, float | str]] = []
    for person, before in zip(trial.people, triangulated.people, strict=True):
        if person.fit is None:
            continue
        gap = MM_PER_M * apart(person.truth, before.truth)
        for number, seen in enumerate(person.fit.residual_px, 1):
            row: dict[str, float | str] = {
                "trial": trial.name,
                "person": person.name,
                "detector": str(number),
                "size": float(person.fit.size[0]),
                "frames": float(person.fit.known.sum()),
                "mean_px": float(np.nanmean(seen)),
                "median_px": float(np.nanmedian(seen)),
            }
            for view, of_view in zip(trial.views, seen, strict=True):
                some = np.isfinite(of_view).any()
                row[f"{view.name}_px"] = float(np.nanmedian(of_view)) if some else float("nan")
            rows.append({**row, "triangulated_mm": gap})
    return rows
