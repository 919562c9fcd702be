"""Predicted joints: they begin at the published pose, and their covariance grows."""

import dataclasses

import numpy as np
import pytest

from moro_ros.errors import CheckpointError
from moro_ros.recover.prediction import (
    GROWTH_TERMS,
    HORIZONS_S,
    MODES,
    PREDICTION_FILE,
    UNKNOWN_MPS,
    PredictionTable,
    load_prediction,
    predict,
    write_prediction,
)
from moro_ros.resources import share_path

NOW = np.zeros((22, 3))


def table(shares=(0.0, 0.0)):
    growth = np.zeros((10, 2, 22, GROWTH_TERMS))
    growth[:, 0, :, 0] = 0.01 * HORIZONS_S[:, None]
    growth[:, 1, :, 0] = 0.04 * HORIZONS_S[:, None]
    growth[:, :, :, 3] = 0.1
    modes = np.random.default_rng(0).normal(size=(MODES, 10, 22, 3))
    return PredictionTable(np.tile(shares, (10, 1)), growth, modes)


@pytest.fixture
def motion(posed):
    """Somebody who walks sideways at 1 m/s and moves the right wrist at 2 m/s."""
    still = posed(np.zeros((22, 3)), track_id=3)
    velocity = np.tile([1.0, 0.0, 0.0], (1, 22, 1))
    velocity[0, 21] = [1.0, 2.0, 0.0]
    covariance = np.tile(np.diag([1e-4, 1e-4, 4e-4]), (1, 22, 1, 1))
    return dataclasses.replace(still, velocity=velocity, covariance=covariance)


def test_a_prediction_begins_at_the_published_pose(motion):
    found = predict(table(), motion, np.zeros((10, 22, 3)), NOW)
    np.testing.assert_allclose(found.joints, np.tile(motion.joints, (10, 1, 1)), rtol=1e-6)
    moved = predict(table(), motion, np.zeros((10, 22, 3)), NOW + 0.5)
    np.testing.assert_allclose(moved.joints, found.joints + 0.5, rtol=1e-6)


def test_pelvis_and_joints_move_by_network_and_velocity_in_their_shares(motion):
    steady = HORIZONS_S[:, None, None] * motion.velocity
    network = np.random.default_rng(1).normal(size=(10, 22, 3))

    def moved(*shares):
        return predict(table(shares), motion, network, NOW).joints - motion.joints

    np.testing.assert_allclose(moved(0.0, 0.0), network, atol=1e-6)
    np.testing.assert_allclose(moved(1.0, 1.0), steady, atol=1e-6)
    pelvis = np.tile(steady[:, :1] - network[:, :1], (1, 22, 1))
    np.testing.assert_allclose(moved(1.0, 0.0), network + pelvis, atol=1e-6)
    np.testing.assert_allclose(
        moved(0.0, 0.25),
        0.75 * (network - network[:, :1]) + 0.25 * (steady - steady[:, :1]) + network[:, :1],
        atol=1e-6,
    )


def test_the_covariance_begins_with_that_of_now_and_grows_with_time_and_speed(motion):
    found = predict(table(), motion, np.zeros((10, 22, 3)), NOW)
    joints = motion.joints[-1]
    sight = joints / np.linalg.norm(joints, axis=-1, keepdims=True)
    added = found.covariance - motion.covariance
    along = np.einsum("ja,hjab,jb->hj", sight, added, sight)
    across = (np.trace(added, axis1=-2, axis2=-1) - along) / 2
    speed = np.square(motion.velocity[-1]).sum(-1)
    np.testing.assert_allclose(along, 0.04 * HORIZONS_S[:, None] + 0.1 * speed, rtol=1e-4)
    np.testing.assert_allclose(across, 0.01 * HORIZONS_S[:, None] + 0.1 * speed, rtol=1e-4)
    assert (np.linalg.eigvalsh(np.diff(found.covariance, axis=0)) > -1e-7).all()


def test_a_person_of_unknown_velocity_is_predicted_as_one_who_may_move(motion):
    """In the first image, velocity is zero; that is not the velocity of somebody who stands."""
    new = dataclasses.replace(motion, velocity=np.zeros_like(motion.velocity))
    network = np.random.default_rng(1).normal(size=(10, 22, 3))
    found = predict(table((1.0, 1.0)), new, network, NOW)
    np.testing.assert_allclose(found.joints - motion.joints, network, atol=1e-6)
    added = np.trace(found.covariance - motion.covariance, axis1=-2, axis2=-1)
    assert (added > 0.99 * 3 * 0.1 * UNKNOWN_MPS**2).all()


def test_samples_are_as_many_as_asked_for_and_spread_with_the_temperature(motion):
    network = np.zeros((10, 22, 3))
    assert predict(table(), motion, network, NOW).samples.shape == (0, 10, 22, 3)
    cold = predict(table(), motion, network, NOW, 3, 0.0)
    np.testing.assert_allclose(cold.samples, np.tile(cold.joints, (3, 1, 1, 1)))
    warm, hot = (predict(table(), motion, network, NOW, 3, t) for t in (1.0, 2.0))
    away = warm.samples - warm.joints
    np.testing.assert_allclose(hot.samples - hot.joints, 2 * away, atol=1e-5)
    assert np.linalg.norm(away[0] - away[1], axis=-1).mean() > 0.05


def test_a_sample_goes_the_same_way_in_every_prediction(motion):
    first, second = (
        predict(table(), motion, np.full((10, 22, 3), shift), NOW, count)
        for shift, count in ((0.0, 2), (0.3, 4))
    )
    np.testing.assert_allclose(
        second.samples[:2] - second.joints, first.samples - first.joints, atol=1e-5
    )
    other = predict(table(), dataclasses.replace(motion, track_id=4), np.zeros((10, 22, 3)), NOW, 2)
    assert np.abs(other.samples - first.samples).max() > 0.05


def test_a_table_is_read_as_it_was_written(tmp_path):
    path = tmp_path / PREDICTION_FILE
    assert load_prediction(path) is None
    write_prediction(path, table((0.5, 0.25)))
    read = load_prediction(path)
    np.testing.assert_array_equal(read.shares, table((0.5, 0.25)).shares)
    np.testing.assert_allclose(read.modes, table().modes, rtol=1e-6)
    assert [entry.name for entry in tmp_path.iterdir()] == [PREDICTION_FILE]


def test_a_damaged_table_is_refused(tmp_path):
    path = tmp_path / PREDICTION_FILE
    path.write_bytes(b"no archive")
    with pytest.raises(CheckpointError, match="not a prediction table"):
        load_prediction(path)
    write_prediction(path, dataclasses.replace(table(), shares=np.zeros((3, 4))))
    with pytest.raises(CheckpointError, match=r"got shares of shape \(3, 4\)"):
        load_prediction(path)
    write_prediction(path, dataclasses.replace(table(), shares=np.full((10, 2), np.nan)))
    with pytest.raises(CheckpointError, match="finite"):
        load_prediction(path)


def test_the_shipped_table_moves_from_velocity_to_the_network():
    found = load_prediction(share_path("models", "moro_open", PREDICTION_FILE))
    assert found is not None
    assert (found.shares >= 0).all() and (found.shares <= 1).all()
    assert (found.shares[0] > found.shares[-1] + 0.2).all()
    assert (np.diff(found.growth, axis=0) >= 0).all()
