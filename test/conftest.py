"""Fixtures shared by all tests: the open body and a small synthetic motion."""

from __future__ import annotations

import numpy as np
import pytest

from moro_ros.body.body_model import BodyModel, load_body_model
from moro_ros.data.mocap import MotionSet
from moro_ros.resources import share_path


@pytest.fixture(scope="session")
def open_body() -> BodyModel:
    """The open body model."""
    return load_body_model(share_path("models", "open_body", "OPEN_NEUTRAL.npz"))


@pytest.fixture()
def walking() -> MotionSet:
    """Two clips of a person who swings arms and legs and walks along y at 1 m/s, 30 Hz."""
    frames, clips = 90, 2
    phase = np.linspace(0, 6 * np.pi, frames)
    rotations = np.zeros((frames, 22, 3), np.float32)
    rotations[:, 0] = (np.pi / 2, 0, 0)  # the body's y axis onto the world's z axis
    for joint, sign in ((1, 1), (2, -1), (16, -1), (17, 1)):
        rotations[:, joint, 0] = 0.5 * sign * np.sin(phase)
    translation = np.zeros((frames, 3), np.float32)
    translation[:, 1] = np.arange(frames) / 30
    translation[:, 2] = 0.95
    return MotionSet(
        np.concatenate([rotations] * clips),
        np.concatenate([translation] * clips),
        np.array([0, frames]),
        np.array([frames, frames]),
        np.array(["a", "b"]),
        np.array(["walk_run", "daily_reach_sit"]),
        np.array(["a_1", "b_1"]),
        30.0,
    )


@pytest.fixture()
def motion_file(tmp_path, walking):
    """The walking person as a file of open motion."""
    path = tmp_path / "motion.npz"
    np.savez(
        path, rot=walking.rotations, trans=walking.translation, lengths=walking.lengths,
        subjects=walking.subjects, category=walking.categories, names=walking.names, fps=30,
    )  # fmt: skip
    return path
