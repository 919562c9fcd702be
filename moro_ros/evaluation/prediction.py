"""Prediction of held-out motion: fitted on one set of motion and checked on another.

Sequences run as live streams (live_benchmark.py), so predictions start from published poses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import lsq_linear

from moro_ros.body.topology import NUM_JOINTS
from moro_ros.data.synthesis import ObservedMotion
from moro_ros.evaluation.live_benchmark import RATE_HZ, WARM_UP, images_of
from moro_ros.evaluation.sigma import AXES, NORMAL_SHARE, non_negative, sight_axes
from moro_ros.live.motion_stream import MoRoStream
from moro_ros.live.predictor import network_changes
from moro_ros.recover.prediction import (
    GROWTH_TERMS,
    HORIZONS_S,
    MODES,
    PARTS,
    PredictionTable,
    change,
    growth_terms,
    velocity_lead,
)
from moro_ros.recover.uncertainty import DIRECTIONS

# Images of a sequence after which people are predicted.
STARTS = tuple(range(WARM_UP, WARM_UP + 25, 4))
AHEAD = np.round(HORIZONS_S * RATE_HZ).astype(int)
FRAMES = STARTS[-1] + int(AHEAD[-1]) + 1

# Errors are limited to this: one lost body must not widen every sigma.
LARGEST_ERROR_M = 1.5
# Of the shares' fit: rounds, and the distance below which errors are squared.
REWEIGHTED, NEAR_M = 8, 0.02
LEAST_SIGMA_M = 0.005
# The error of a displacement depends on that of now, so its variance does not simply add up.
GROWTH_FACTORS = np.geomspace(0.1, 10.0, 80)


@dataclass(frozen=True, slots=True)
class Samples:
    """N predicted people, camera optical frame.

    joints, velocity: (N, J, 3) m, m/s, as published; covariance: (N, J, 3, 3) m^2; pelvis:
    (N, 3, 3), its rotation; network: (N, H, J, 3) m, the network's change; truth: (N, 1 + H, J, 3)
    m, now and at the horizons.
    """

    joints: np.ndarray
    velocity: np.ndarray
    covariance: np.ndarray
    pelvis: np.ndarray
    network: np.ndarray
    truth: np.ndarray


def collect(stream: MoRoStream, batches: Iterator[ObservedMotion]) -> Samples:
    """Run a stream on observed sequences and keep the inputs of predictions."""
    rows = []
    for observed in batches:
        truth = observed.joints.numpy()
        stream.reset()
        for number, image in enumerate(images_of(observed)):
            motions = stream.push(image)
            if number in STARTS:
                found = network_changes(stream, motions)
                for motion in motions:
                    rows.append(
                        (
                            motion.joints[-1],
                            motion.velocity[-1],
                            motion.covariance[-1],
                            motion.joint_rotations[-1, 0],
                            found[motion.track_id][0],
                            truth[motion.track_id - 1, [number, *(number + AHEAD)]],
                        )
                    )
            if number == STARTS[-1]:
                break
    return Samples(*(np.stack(column) for column in zip(*rows)))


@dataclass(frozen=True, slots=True)
class Predicted:
    """A table's prediction of N samples: joints (N, H, J, 3) m, and their added variance.

    variance: (N, H, 2, J) m^2, across and along the line of sight.
    """

    joints: np.ndarray
    variance: np.ndarray


def predicted(table: PredictionTable, samples: Samples) -> Predicted:
    """Predict all samples."""
    moved = change(table.shares, samples.network, samples.velocity)
    return Predicted(samples.joints[:, None] + moved, variance_of(table.growth, samples))


def variance_of(growth: np.ndarray, samples: Samples) -> np.ndarray:
    """Return the added variance of growth coefficients, (N, H, 2, J)."""
    return np.einsum("hdjt,njt->nhdj", growth, growth_terms(samples.velocity))


def methods(table: PredictionTable, samples: Samples) -> dict[str, np.ndarray]:
    """Return the joints (N, H, J, 3) of each prediction method, by name."""
    now, steady = samples.joints[:, None], HORIZONS_S[:, None, None] * samples.velocity[:, None]
    return {
        "constant position": np.broadcast_to(now, samples.network.shape),
        "constant velocity": now + steady,
        "network alone": now + samples.network,
        "prediction": predicted(table, samples).joints,
    }


def mpjpe_mm(joints: np.ndarray, samples: Samples) -> np.ndarray:
    """Return the mean error of each horizon, (H,) mm, in the camera frame."""
    error = np.linalg.norm(joints - samples.truth[:, 1:], axis=-1)
    return 1e3 * error.mean((0, 2))


def coverage(table: PredictionTable, samples: Samples) -> np.ndarray:
    """Return the shares of axis errors within one and two sigma at each horizon, (2, H)."""
    found = predicted(table, samples)
    return within_sigma(*axis_errors(found.joints, samples), found.variance)


def axis_errors(joints: np.ndarray, samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """Return errors [m] and variances of now [m^2], (N, H, J, 3).

    joints: (N, H, J, 3) m; axes: across, across and along the line of sight.
    """
    axes = sight_axes(joints)
    error = np.einsum("nhjab,nhjb->nhja", axes, joints - samples.truth[:, 1:])
    return error, np.einsum("nhjab,njbc,nhjac->nhja", axes, samples.covariance, axes)


def within_sigma(error: np.ndarray, now: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return the shares of errors within one and two sigma, (2, H).

    error, now: see axis_errors; variance: (N, H, 2, J), added to now.
    """
    across, along = variance[:, :, 0], variance[:, :, 1]
    sigma = np.sqrt(now + np.stack([across, across, along], -1))
    within = np.abs(error) / np.maximum(sigma, 1e-9)
    return np.stack([(within <= limit).mean((0, 2, 3)) for limit in NORMAL_SHARE])


def fit(samples: Samples) -> PredictionTable:
    """Fit a table: first the shares, then the growth of their errors, then its components."""
    shares = fit_shares(samples)
    empty = np.zeros((len(HORIZONS_S), len(DIRECTIONS), NUM_JOINTS, GROWTH_TERMS))
    nothing = PredictionTable(shares, empty, np.zeros((MODES, *samples.network.shape[1:])))
    found = predicted(nothing, samples)
    growth = fit_growth(found.joints, samples)
    return PredictionTable(shares, growth, fit_modes(found.joints, growth, samples))


def fit_shares(samples: Samples) -> np.ndarray:
    """Return the shares (H, PARTS) in [0, 1] with the least mean error.

    The mean distance is minimised by least squares that are weighted by one over the distance.
    """
    lead = np.stack(velocity_lead(samples.network, samples.velocity), -1)  # (N, H, J, 3, PARTS)
    target = samples.truth[:, 1:] - samples.joints[:, None] - samples.network
    shares = np.zeros((len(HORIZONS_S), PARTS))
    for horizon in range(len(HORIZONS_S)):
        terms, wanted = lead[:, horizon].reshape(-1, 3, PARTS), target[:, horizon].reshape(-1, 3)
        scale = np.ones(len(wanted))
        for _ in range(REWEIGHTED):
            rows = (terms * scale[:, None, None]).reshape(-1, PARTS)
            values = (wanted * scale[:, None]).ravel()
            # Two rows with the same normal equations; a little more where they are singular.
            gram = rows.T @ rows
            root = np.linalg.cholesky(gram + 1e-9 * np.trace(gram) * np.eye(PARTS))
            found = lsq_linear(root.T, np.linalg.solve(root, rows.T @ values), bounds=(0.0, 1.0)).x
            distance = np.linalg.norm(wanted - terms @ found, axis=-1)
            scale = 1.0 / np.sqrt(np.maximum(distance, NEAR_M))
        shares[horizon] = found
    return shares


def fit_growth(joints: np.ndarray, samples: Samples) -> np.ndarray:
    """Return the coefficients of the growth, (H, 2, J, GROWTH_TERMS), of predicted joints.

    It is the variance of the error of the predicted displacement, scaled for each horizon so that
    the shares within one and two sigma are balanced (sigma.balance). The increase from horizon to
    horizon is fitted, so that it never falls.
    """
    error, now = axis_errors(joints, samples)
    start = samples.joints[:, None] - samples.truth[:, :1]
    moved = np.einsum("nhjab,nhjb->nhja", sight_axes(joints), start)
    squared = np.minimum(np.abs(error - moved), LARGEST_ERROR_M) ** 2
    terms = growth_terms(samples.velocity)
    growth = np.zeros((len(HORIZONS_S), len(DIRECTIONS), NUM_JOINTS, GROWTH_TERMS))
    for direction, axes in enumerate(AXES):
        for joint in range(NUM_JOINTS):
            base = np.zeros(GROWTH_TERMS)
            for horizon in range(len(HORIZONS_S)):
                target = squared[:, horizon, joint][:, list(axes)].mean(-1)
                base = base + non_negative(terms[:, joint], target - terms[:, joint] @ base)
                growth[horizon, direction, joint] = base
    variance = variance_of(growth, samples)
    sums = np.stack(
        [within_sigma(error, now, factor * variance).sum(0) for factor in GROWTH_FACTORS]
    )
    best = GROWTH_FACTORS[np.abs(sums - sum(NORMAL_SHARE.values())).argmin(0)]
    return np.maximum.accumulate(best[:, None, None, None] * growth, 0)


def fit_modes(joints: np.ndarray, growth: np.ndarray, samples: Samples) -> np.ndarray:
    """Return the principal components of the errors, see PredictionTable.modes."""
    moved = samples.truth[:, 1:] - samples.truth[:, :1]
    error = moved - (joints - samples.joints[:, None])
    local = np.einsum("ndc,nhjd->nhjc", samples.pelvis, error)
    variance = variance_of(growth, samples)
    sigma = np.sqrt((2.0 * variance[:, :, 0] + variance[:, :, 1]) / 3.0)
    relative = local / np.maximum(sigma, LEAST_SIGMA_M)[..., None]
    rows = relative.reshape(len(relative), -1)
    # The components have the size that a sample has: each row's mean square is one.
    rows = rows / np.sqrt(np.square(rows).mean(0) + 1e-12)
    _, sizes, components = np.linalg.svd(rows, full_matrices=False)
    modes = sizes[:MODES, None] * components[:MODES] / np.sqrt(len(rows))
    return modes.reshape(MODES, *local.shape[1:])
