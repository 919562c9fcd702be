"""Uncertainty of joints, fitted on one set of motion and checked on another.

Both sets are run as live streams (live_benchmark.py), so that the measurement includes the stream's
gain, look-ahead and refinement.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
from scipy.optimize import nnls

from moro_ros.body.topology import JOINT_NAMES, MIRRORED_JOINTS, NUM_JOINTS
from moro_ros.data.synthesis import ObservedMotion
from moro_ros.evaluation.live_benchmark import WARM_UP, images_of
from moro_ros.live.motion_stream import MoRoStream
from moro_ros.recover.uncertainty import (
    DIRECTIONS,
    STATES,
    TERMS,
    UncertaintyTable,
    variance_terms,
)

T = TypeVar("T")

# Errors are limited to this [m]: one lost body must not widen every sigma.
LARGEST_ERROR_M = 1.0
# Shares within one and two sigma of a normal distribution.
NORMAL_SHARE = {1: 0.6827, 2: 0.9545}
# The axes of an error for each of DIRECTIONS.
AXES = ((0, 1), (2,))
# Rounds of weighting; after 3 the collar bones had half the true sigma.
ROUNDS = 10
FACTORS = np.linspace(0.2, 1.5, 53)


@dataclass(frozen=True, slots=True)
class Samples:
    """Errors of joints in a stream, N samples of each of the 22 joints.

    error_m: (N, 22, 3), in the axes across, across and along the line of sight; joints: (N, 22, 3)
    m, as described, camera frame; observed: (N, 22) bool; confidence: (N, 22).
    misfit: (N, 2), see recover.uncertainty.PersonUncertainty; sigma_m: (N, 22, 3), the stream's
    sigma of the same axes, zero if unknown.
    """

    error_m: np.ndarray
    joints: np.ndarray
    observed: np.ndarray
    confidence: np.ndarray
    misfit: np.ndarray
    sigma_m: np.ndarray


def joined(parts: Sequence[T]) -> T:
    """Return several samples, dataclasses of arrays, as one."""
    kind: Any = type(parts[0])
    names = [item.name for item in fields(kind)]
    return kind(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def collect(stream: MoRoStream, batches: Iterable[ObservedMotion]) -> Samples:
    """Run a stream on observed sequences and compare its results with the truth."""
    rows: list[tuple[np.ndarray, ...]] = []
    for observed in batches:
        truth = observed.joints.numpy()
        images = list(images_of(observed))
        index = {image.stamp_ns: number for number, image in enumerate(images)}
        stream.reset()
        for image in images:
            for motion in stream.push(image):
                at = index[int(motion.stamps_ns[-1])]
                if at < WARM_UP:
                    continue
                found = motion.joints[-1]
                rows.append(
                    (
                        in_sight_axes(found - truth[motion.track_id - 1, at], found),
                        found,
                        motion.observed[-1],
                        motion.confidence[-1],
                        stream.tracks[motion.track_id].steady.uncertainty.misfit,
                        axis_sigma(motion.covariance[-1], found),
                    )
                )
    columns = [np.stack(column) for column in zip(*rows)]
    return Samples(*columns)


def sight_axes(joints: np.ndarray) -> np.ndarray:
    """Return the axes (..., 3, 3), as rows: across, across, along the sight of joints (..., 3)."""
    along = joints / np.maximum(np.linalg.norm(joints, axis=-1, keepdims=True), 1e-6)
    side = np.cross(along, [0.0, 1.0, 0.0])
    side = side / np.maximum(np.linalg.norm(side, axis=-1, keepdims=True), 1e-6)
    return np.stack([side, np.cross(along, side), along], -2)


def in_sight_axes(error_m: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Return errors (..., 3) m of joints (..., 3) in the joints' sight_axes."""
    return np.asarray(np.einsum("...ab,...b->...a", sight_axes(joints), error_m))


def axis_sigma(covariance: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Return sigma (..., 3) m of covariances (..., 3, 3) in the sight_axes of joints (..., 3)."""
    axes = sight_axes(joints)
    spread = np.einsum("...ab,...bc,...ac->...a", axes, covariance, axes)
    return np.asarray(np.sqrt(np.maximum(spread, 0)))


def shares_within(
    error_m: np.ndarray, joints: np.ndarray, sigma_m: np.ndarray
) -> tuple[float, float]:
    """Return the shares of axis errors within 1 and 2 sigma; NaN if there are none.

    error_m, joints: (..., 3) m, camera frame; sigma_m: (..., 3), see axis_sigma. NaN is left out.
    """
    off = np.abs(in_sight_axes(error_m, joints)) / sigma_m
    off = off[np.isfinite(off)]
    one, two = (float((off <= n).mean()) if off.size else float("nan") for n in NORMAL_SHARE)
    return one, two


def fit(samples: Samples) -> UncertaintyTable:
    """Fit the variance of each joint, state and direction by non-negative least squares.

    The additional variance of an inferred joint over an observed one is fitted, so that hiding a
    joint never makes it more certain. Left and right have the same coefficients.
    """
    observed = STATES.index("observed")
    coefficients = np.zeros((len(STATES), len(DIRECTIONS), NUM_JOINTS, len(TERMS)))
    squared = np.minimum(np.abs(samples.error_m), LARGEST_ERROR_M) ** 2
    every = terms_of(samples)
    for joint in range(NUM_JOINTS):
        both = sorted({joint, MIRRORED_JOINTS[joint]})
        seen = samples.observed[:, both].ravel()
        for direction, axes in enumerate(AXES):
            terms = every[:, both, direction].reshape(len(seen), -1)
            target = squared[:, both][..., list(axes)].mean(-1).ravel()
            base = non_negative(terms[seen], target[seen])
            more = non_negative(terms[~seen], target[~seen] - terms[~seen] @ base)
            coefficients[observed, direction, joint] = base
            coefficients[1 - observed, direction, joint] = base + more
    state = samples.observed.astype(int)
    variance = (coefficients[state, :, np.arange(NUM_JOINTS)] * every).sum(-1)  # (N, 22, 2)
    for direction, axes in enumerate(AXES):
        error_m = np.abs(samples.error_m[..., list(axes)])
        coefficients[:, direction] *= balance(error_m, variance[..., direction, None])
    return UncertaintyTable(coefficients)


def terms_of(samples: Samples) -> np.ndarray:
    """Return the factors of the coefficients, (N, 22, 2, len(TERMS))."""
    misfit = samples.misfit[:, None]
    return variance_terms(samples.joints, samples.observed, samples.confidence, misfit)


def balance(error_m: np.ndarray, variance: np.ndarray) -> float:
    """Return the factor of a variance that balances the shares within one and two sigma.

    Errors have more outliers than a normal distribution: the share within one sigma is to be as
    much above that of a normal distribution as the share within two is below.
    """
    within = error_m / np.maximum(np.sqrt(variance), 1e-9)
    sums = [sum((within <= n * f**0.5).mean() for n in NORMAL_SHARE) for f in FACTORS]
    return float(FACTORS[np.abs(np.array(sums) - sum(NORMAL_SHARE.values())).argmin()])


def non_negative(terms: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Non-negative coefficients whose mean prediction is the mean target; zero if that is below.

    Weighted by the inverse expectation of a first fit: the spread of a squared error is
    proportional to its expectation.
    """
    solution = np.zeros(terms.shape[1])
    if not len(target) or target.mean() <= 0:
        return solution
    scale = np.maximum(np.abs(terms).mean(0), 1e-9)
    weight = np.ones(len(target))
    for _ in range(ROUNDS):
        solution = nnls(terms / scale * weight[:, None], target * weight)[0] / scale
        weight = 1.0 / np.maximum(terms @ solution, 0.05 * target.mean())
    expected = float((terms @ solution).mean())
    return np.asarray(solution * (float(target.mean()) / max(expected, 1e-12)))


def coverage(samples: Samples) -> dict[str, dict[str, float]]:
    """Return the fit of sigma: for all joints, seen joints, inferred joints, and each joint.

    Keys: within_1_sigma and within_2_sigma, shares of axis errors (a normal distribution has 0.683
    and 0.954); sigma_m, the root mean square of one axis' sigma; error_m, that of the errors;
    ratio, their quotient; samples.
    """
    every = np.ones(samples.observed.shape, bool)
    parts = {"all": every, "observed": samples.observed, "inferred": ~samples.observed}
    result = {name: _cover(samples, part) for name, part in parts.items() if part.any()}
    for joint, name in enumerate(JOINT_NAMES):
        part = np.zeros_like(every)
        part[:, joint] = True
        result[name] = _cover(samples, part)
    return result


def _cover(samples: Samples, part: np.ndarray) -> dict[str, float]:
    error, sigma = samples.error_m[part], samples.sigma_m[part]
    spread = float(np.sqrt(np.square(sigma).mean()))
    actual = float(np.sqrt(np.square(error).mean()))
    within = np.abs(error) / np.maximum(sigma, 1e-9)
    return {
        "within_1_sigma": float((within <= 1).mean()),
        "within_2_sigma": float((within <= 2).mean()),
        "sigma_m": spread,
        "error_m": actual,
        "ratio": actual / max(spread, 1e-9),
        "samples": float(part.sum()),
    }
