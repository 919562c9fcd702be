"""Uncertainty: what is fitted covers what it should, and what is hidden is less certain."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from moro_ros.body.topology import JOINT_NAMES, MIRRORED_JOINTS, NUM_JOINTS
from moro_ros.evaluation.sigma import Samples, coverage, fit, sight_axes
from moro_ros.recover.uncertainty import (
    STATES,
    UncertaintyTable,
    joint_covariance,
    load_uncertainty,
)
from moro_ros.resources import share_path

COUNT = 4000


def made(seed: int, table: UncertaintyTable | None = None) -> Samples:
    """Errors whose variance is known: seen 0.02 m, hidden 0.05 to 0.15 m by doubt, along 2 %.

    The detector's noise adds to it: of a misfit of 0.01, 0.04 m across at 4 m, twice that along.
    """
    rng = np.random.default_rng(seed)
    joints = rng.normal([0, 0, 4], [0.5, 0.5, 1.0], (COUNT, NUM_JOINTS, 3))
    observed = rng.random((COUNT, NUM_JOINTS)) < 0.7
    confidence = rng.random((COUNT, NUM_JOINTS))
    confidence = np.where(observed, 0.8 + 0.2 * confidence, confidence)
    variance = np.where(observed, 0.02**2, 0.05**2 + 0.02 * (1 - confidence) ** 2)
    distance = np.linalg.norm(joints, axis=-1)
    misfit = rng.uniform(0.0, 0.02, (COUNT, 1)) * [1.0, 2.0]
    along = variance + (0.02 * distance) ** 2 + (misfit[:, 1:] * distance) ** 2
    variance = variance + (misfit[:, :1] * distance) ** 2
    spread = np.sqrt(np.stack([variance, variance, along], -1))
    error = spread * rng.normal(size=spread.shape)
    sigma = np.zeros_like(error)
    if table is not None:
        rows = zip(joints[:, None], observed[:, None], confidence[:, None], misfit, strict=True)
        covariance = np.concatenate([joint_covariance(table, *row) for row in rows])
        axes = np.stack([sight_axes(row) for row in joints])
        sigma = np.sqrt(np.einsum("njab,njbc,njac->nja", axes, covariance, axes))
    return Samples(error, joints, observed, confidence, misfit, sigma)


@pytest.fixture(scope="module")
def table() -> UncertaintyTable:
    return fit(made(0))


def test_the_axes_are_a_frame_with_the_line_of_sight_last() -> None:
    joints = np.random.default_rng(0).normal([0, 0, 4], 1, (22, 3))
    axes = sight_axes(joints)
    np.testing.assert_allclose(
        axes @ axes.swapaxes(-1, -2), np.tile(np.eye(3), (22, 1, 1)), atol=1e-9
    )
    np.testing.assert_allclose(axes[:, 2] * np.linalg.norm(joints, axis=-1)[:, None], joints)


def test_a_fit_covers_fresh_samples(table) -> None:
    result = coverage(made(1, table))
    for part in ("all", "observed", "inferred", "left_wrist"):
        assert result[part]["within_1_sigma"] == pytest.approx(0.683, abs=0.03), part
        assert result[part]["within_2_sigma"] == pytest.approx(0.954, abs=0.02), part
        assert result[part]["ratio"] == pytest.approx(1, abs=0.05), part
    assert result["inferred"]["sigma_m"] > 1.4 * result["observed"]["sigma_m"]
    assert set(JOINT_NAMES) <= set(result)


def test_a_table_that_is_twice_too_sure_is_found_out(table) -> None:
    sure = UncertaintyTable(table.coefficients / 4)
    result = coverage(made(1, sure))
    assert result["all"]["within_1_sigma"] < 0.45
    assert result["all"]["ratio"] == pytest.approx(2, abs=0.1)


def test_a_joint_that_is_never_hidden_is_fitted_to_what_there_is() -> None:
    samples = made(0)
    always = replace(samples, observed=np.ones_like(samples.observed))
    assert np.isfinite(fit(always).coefficients).all()
    assert set(coverage(always)) == {"all", "observed", *JOINT_NAMES}


def test_left_and_right_have_one_uncertainty() -> None:
    """Separate fits once gave one collar bone no constant part, and half the true sigma."""
    table = load_uncertainty(share_path("models", "moro_open", "uncertainty.json"))
    assert table is not None
    mirrored = table.coefficients[:, :, list(MIRRORED_JOINTS)]
    np.testing.assert_allclose(table.coefficients, mirrored, rtol=1e-3)


def test_no_joint_of_the_trunk_is_much_surer_than_the_others() -> None:
    """The constant and the detector's part of seen joints, at a usual misfit."""
    table = load_uncertainty(share_path("models", "moro_open", "uncertainty.json"))
    assert table is not None
    usual = np.array([1.0, 0.0, 0.0, 9.0, (0.02 * 3.0) ** 2])
    trunk = [JOINT_NAMES.index(name) for name in ("spine3", "neck", "left_collar", "right_collar")]
    seen = table.coefficients[STATES.index("observed")]
    variance = (seen[:, trunk] * usual).sum(-1)
    assert (variance.min(-1) > 0.4 * variance.max(-1)).all()


def test_the_shipped_model_is_less_sure_of_what_is_hidden() -> None:
    table = load_uncertainty(share_path("models", "moro_open", "uncertainty.json"))
    assert table is not None
    joints = np.tile([0.0, 0.0, 3.0], (1, NUM_JOINTS, 1))
    limbs = [
        i for i, n in enumerate(JOINT_NAMES) if n.endswith(("wrist", "elbow", "knee", "ankle"))
    ]
    seen, hidden = (
        np.trace(
            joint_covariance(
                table, joints, np.full((1, 22), state), np.full((1, 22), certainty), np.zeros(2)
            ),
            axis1=-2,
            axis2=-1,
        )[0]
        for state, certainty in ((True, 0.95), (False, 0.2))
    )
    assert (hidden[limbs] > 1.1 * seen[limbs]).all()
    assert hidden[limbs].mean() > 1.5 * seen[limbs].mean()
