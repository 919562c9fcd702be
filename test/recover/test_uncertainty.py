"""Joint covariance: symmetric, in metres squared, longest where it was measured to be."""

import json
from dataclasses import replace

import numpy as np
import pytest

from moro_ros.errors import CheckpointError
from moro_ros.recover.uncertainty import (
    LARGEST_MISFIT,
    UNCERTAINTY_FILE,
    UNSEEN_MPS,
    PersonUncertainty,
    UncertaintyTable,
    joint_covariance,
    load_uncertainty,
    write_uncertainty,
)
from moro_ros.resources import share_path

# Across: on the normalised image plane; along: as a share of the box.
MISFIT = np.array([0.03, 0.06])


def table() -> UncertaintyTable:
    coefficients = np.zeros((2, 2, 22, 5))
    coefficients[0, 0] = 0.04, 0.02, 0.05, 0.0, 3.0  # inferred, across
    coefficients[0, 1] = 0.09, 0.0, 0.0, 0.01, 0.0  # inferred, along
    coefficients[1, 0] = 0.01, 0.0, 0.0, 0.0, 3.0
    coefficients[1, 1] = 0.02, 0.0, 0.0, 0.0, 0.0
    return UncertaintyTable(coefficients)


def people(frames=3, seed=0):
    rng = np.random.default_rng(seed)
    joints = rng.normal((0.0, 0.0, 4.0), 1.0, size=(frames, 22, 3))
    return joints, rng.random((frames, 22)) > 0.5, rng.random((frames, 22))


def test_the_axes_are_along_and_across_the_line_of_sight():
    joints, observed, confidence = people()
    covariance = joint_covariance(table(), joints, observed, confidence, MISFIT).astype(np.float64)
    np.testing.assert_allclose(covariance, covariance.swapaxes(-1, -2), atol=1e-7)
    distance = np.linalg.norm(joints, axis=-1)
    sight = joints / distance[..., None]
    along = np.einsum("fji,fjik,fjk->fj", sight, covariance, sight)
    expected = np.where(observed, 0.02, 0.09 + 0.01 * distance**2)
    np.testing.assert_allclose(along, expected, rtol=1e-5)
    across = (np.trace(covariance, axis1=-2, axis2=-1) - along) / 2
    hidden = 1 - observed.mean(-1, keepdims=True)
    inferred = 0.04 + 0.02 * (1 - confidence) ** 2 + 0.05 * hidden**2
    expected = np.where(observed, 0.01, inferred)
    expected = expected + 3.0 * (0.03 * distance) ** 2
    np.testing.assert_allclose(across, expected, rtol=1e-5)
    turned = np.einsum("fjik,fjk->fji", covariance, sight)
    np.testing.assert_allclose(turned, along[..., None] * sight, rtol=1e-4, atol=1e-6)


def test_without_a_table_the_covariance_is_unknown():
    joints, observed, confidence = people()
    covariance = joint_covariance(None, joints, observed, confidence, MISFIT)
    assert covariance.shape == (3, 22, 3, 3)
    assert not covariance.any()


def test_a_table_is_read_as_it_was_written(tmp_path):
    coefficients = np.random.default_rng(1).random((2, 2, 22, 5))
    write_uncertainty(tmp_path / UNCERTAINTY_FILE, UncertaintyTable(coefficients))
    read = load_uncertainty(tmp_path / UNCERTAINTY_FILE)
    np.testing.assert_allclose(read.coefficients, coefficients, rtol=1e-3)
    assert load_uncertainty(tmp_path / "none.json") is None


def test_a_damaged_table_is_said(tmp_path):
    path = tmp_path / UNCERTAINTY_FILE
    write_uncertainty(path, table())
    values = json.loads(path.read_text())
    values["observed"]["along"]["pelvis"][0] = -1.0
    path.write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="negative"):
        load_uncertainty(path)
    del values["observed"]["along"]["pelvis"]
    path.write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="pelvis"):
        load_uncertainty(path)


def test_the_shipped_model_is_surer_of_what_it_sees():
    shipped = load_uncertainty(share_path("models", "moro_open", UNCERTAINTY_FILE))
    assert shipped is not None
    joints, _, _ = people()
    sure, doubtful = np.full((3, 22), 0.95), np.full((3, 22), 0.2)
    seen = joint_covariance(shipped, joints, np.ones((3, 22), bool), sure, MISFIT)
    hidden = joint_covariance(shipped, joints, np.zeros((3, 22), bool), doubtful, MISFIT)
    volume = [np.linalg.det(c.astype(np.float64)) for c in (seen, hidden)]
    assert (volume[0] > 0).all()
    assert (volume[1] >= volume[0] * 0.999).all()
    assert np.median(volume[1] / volume[0]) > 2.0


def test_misfit_is_the_distance_from_the_seen_keypoints() -> None:
    body = np.array([[0.0, 0.0, 2.0], [1.0, 0.0, 2.0], [0.0, 1.0, 4.0]])
    points = np.array([[0.01, 0.0], [0.5, 0.02], [9.0, 9.0]])
    person = PersonUncertainty()
    assert not person.misfit.any()
    person.compare(body, points, np.array([True, True, False]), 0.5)
    across = np.sqrt((0.01**2 + 0.02**2) / 2)
    np.testing.assert_allclose(person.misfit, [across, across / 0.5])
    person.compare(body, points, np.zeros(3, bool), 0.5)
    np.testing.assert_allclose(person.misfit, [across, across / 0.5])
    # One lost keypoint counts no more than the largest.
    for _ in range(100):
        person.compare(body, points, np.array([False, False, True]), 0.5)
    np.testing.assert_allclose(person.misfit, [0.5 * LARGEST_MISFIT, LARGEST_MISFIT])


def test_the_covariance_grows_while_the_person_is_not_seen(posed) -> None:
    seen = posed(np.zeros((22, 3)), stamp_ns=10**9)
    person = PersonUncertainty()
    before = person.covariance(table(), seen)
    later = posed(np.zeros((22, 3)), stamp_ns=3 * 10**9, seen=False)
    grown = person.covariance(table(), later)
    np.testing.assert_allclose(grown, before + (2.0 * UNSEEN_MPS) ** 2 * np.eye(3), rtol=1e-5)
    held = replace(seen, stamps_ns=later.stamps_ns, held=np.ones(1, bool))
    np.testing.assert_array_equal(person.covariance(table(), held), grown)
    # Seen again, it is as before.
    again = posed(np.zeros((22, 3)), stamp_ns=4 * 10**9)
    np.testing.assert_array_equal(person.covariance(table(), again), before)
    assert not PersonUncertainty().covariance(None, later).any()
