"""The fit of predictions: it finds the shares and the spread that made the samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from moro_ros.body.topology import NUM_JOINTS
from moro_ros.evaluation.prediction import (
    Samples,
    coverage,
    fit,
    methods,
    mpjpe_mm,
)
from moro_ros.evaluation.sigma import NORMAL_SHARE, joined
from moro_ros.recover.prediction import HORIZONS_S, MODES, change

COUNT = 600
# Of the velocity, in the motion of the pelvis and in that of the other joints.
SHARES = np.linspace([0.9, 0.6], [0.2, 0.05], len(HORIZONS_S))


def made(seed: int, noise_m: float = 0.01) -> Samples:
    """People whose motion is known, and errors that grow with the horizon and with their speed."""
    rng = np.random.default_rng(seed)
    joints = rng.normal([0, 0, 4], 0.5, (COUNT, NUM_JOINTS, 3))
    speed = rng.uniform(0.2, 2.0, (COUNT, 1, 1))
    velocity = speed * rng.normal(size=(COUNT, 1, 3)) + 0.3 * rng.normal(size=joints.shape)
    shape = (COUNT, len(HORIZONS_S), NUM_JOINTS, 3)
    network = HORIZONS_S[:, None, None] * (
        velocity[:, None] + 0.5 * rng.normal(size=(COUNT, 1, 1, 3)) + 0.2 * rng.normal(size=shape)
    )
    covariance = np.tile(1e-4 * np.eye(3), (COUNT, NUM_JOINTS, 1, 1))
    pelvis = np.tile(np.eye(3), (COUNT, 1, 1))
    samples = Samples(joints, velocity, covariance, pelvis, network, np.zeros((COUNT, 11, 22, 3)))
    moved = change(SHARES, network, velocity)
    body = np.square(velocity).sum(-1).mean(-1)[:, None, None, None]
    sigma = np.sqrt(1e-4 + (0.02**2 + 0.03**2 * body) * HORIZONS_S[:, None, None])
    error = sigma * rng.normal(size=shape) * (noise_m / 0.01)
    truth = np.concatenate([joints[:, None], joints[:, None] + moved + error], 1)
    return replace(samples, truth=truth)


@pytest.fixture(scope="module")
def samples() -> Samples:
    return made(0)


def test_the_shares_that_made_the_motion_are_found(samples: Samples) -> None:
    np.testing.assert_allclose(fit(samples).shares, SHARES, atol=0.03)


def test_a_share_is_at_least_nothing_and_at_most_all(samples: Samples) -> None:
    """Whatever the samples say: a prediction lies between network and velocity."""
    wild = replace(samples, network=-0.5 * samples.network)
    shares = fit(wild).shares
    assert shares.min() >= 0.0 and 1.0 - 1e-6 < shares.max() <= 1.0


def test_the_covariance_covers_fresh_samples_and_grows(samples: Samples) -> None:
    table = fit(samples)
    within = coverage(table, made(1))
    for row, share in zip(within, NORMAL_SHARE.values(), strict=True):
        np.testing.assert_allclose(row, share, atol=0.02)
    assert (coverage(table, made(1, noise_m=0.02))[0] < 0.5).all()
    assert (np.diff(table.growth, axis=0) >= 0).all()


def test_the_modes_are_as_large_as_the_stated_deviation(samples: Samples) -> None:
    """Independent errors have no common direction; one that all joints share is one mode."""
    rng = np.random.default_rng(2)
    shared = 0.3 * HORIZONS_S[:, None, None] * rng.normal(size=(COUNT, 1, 1, 1))
    common = replace(samples, truth=samples.truth.copy())
    common.truth[:, 1:] += shared * np.array([1.0, 0.0, 0.0])
    modes = fit(common).modes
    assert modes.shape == (MODES, len(HORIZONS_S), NUM_JOINTS, 3)
    assert np.square(modes).sum(0).max() <= 1.01
    first = np.square(modes[0]).mean((0, 1))
    assert first[0] > 0.5 and first[1] < 0.1 and first[2] < 0.1


def test_the_methods_are_compared_on_the_same_samples(samples: Samples) -> None:
    table = fit(samples)
    errors = {name: mpjpe_mm(found, samples) for name, found in methods(table, samples).items()}
    best = errors.pop("prediction")
    assert all((best < error).all() for error in errors.values())
    moved = np.linalg.norm(samples.truth[:, 1:] - samples.joints[:, None], axis=-1)
    np.testing.assert_allclose(errors["constant position"], 1e3 * moved.mean((0, 2)))
    twice = joined([samples, samples])
    np.testing.assert_allclose(mpjpe_mm(methods(table, twice)["prediction"], twice), best)
