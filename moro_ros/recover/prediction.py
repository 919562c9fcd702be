"""From the network's forecast to predicted joints, with a table fitted to the model.

The network's change between now and a horizon is added to the published pose, so a prediction
starts at the pose of ~/humans. At short horizons a share of the change is that of the current
velocity, which is more accurate there; it decays into the network's.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from moro_ros.body.topology import NUM_JOINTS
from moro_ros.errors import CheckpointError
from moro_ros.recover.uncertainty import DIRECTIONS
from moro_ros.types import BodyMotion

PREDICTION_FILE = "prediction.npz"
HORIZONS_S = np.arange(1, 11) / 10.0
# Parts with separate shares: the pelvis, and the other joints relative to it.
PARTS = 2
# Factors of the growth coefficients: one, the speed of the body (the root mean square of its
# joints), its square, and the square of the joint's speed.
GROWTH_TERMS = 4
MODES = 8
# Speed on which the covariance is based if that of the person is unknown [m/s].
UNKNOWN_MPS = 1.0


@dataclass(frozen=True, slots=True)
class PredictionTable:
    """Parameters of predictions and their errors, measured on held-out motion.

    shares: (H, PARTS) in [0, 1], of the velocity; growth: (H, 2, J, GROWTH_TERMS), coefficients
    >= 0 of the variance [m^2] of one axis, across and along the line of sight, that is added to
    that of now; modes: (MODES, H, J, 3), the principal components of the errors, in the axes of the
    pelvis, relative to the standard deviation that the growth has.
    """

    shares: np.ndarray
    growth: np.ndarray
    modes: np.ndarray


@dataclass(frozen=True, slots=True)
class MotionPrediction:
    """The prediction of one person at H horizons, camera optical frame.

    joints: (H, J, 3) m; covariance: (H, J, 3, 3) m^2; samples: (S, H, J, 3) m, alternative
    motions.
    """

    track_id: int
    joints: np.ndarray
    covariance: np.ndarray
    samples: np.ndarray

    @property
    def finite(self) -> bool:
        """Whether all numbers are finite."""
        return all(np.isfinite(p).all() for p in (self.joints, self.covariance, self.samples))


def change(shares: np.ndarray, network: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    """Return the displacement of the joints until each horizon, (..., H, J, 3) m.

    shares: see PredictionTable; network: (..., H, J, 3) m, the network's change; velocity:
    (..., J, 3) m/s.
    """
    pelvis, joints = velocity_lead(network, velocity)
    moved: np.ndarray = network + shares[:, :1, None] * pelvis + shares[:, 1:, None] * joints
    return moved


def velocity_lead(network: np.ndarray, velocity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the velocity's change minus the network's, (..., H, J, 3) m; see change.

    For the pelvis (the same for all joints) and for the joints relative to it.
    """
    lead = HORIZONS_S[:, None, None] * velocity[..., None, :, :] - network
    pelvis = np.broadcast_to(lead[..., :1, :], lead.shape)
    return pelvis, lead - pelvis


def predict(
    table: PredictionTable,
    motion: BodyMotion,
    network: np.ndarray,
    shift: np.ndarray,
    samples: int = 0,
    temperature: float = 1.0,
) -> MotionPrediction:
    """Predict one person.

    motion: as published (F = 1); network: see change; shift: (J, 3) m, the network's change from
    the frame that the motion describes to now; samples: number of samples; temperature: their
    spread relative to the standard deviation of the prediction. A person's n-th sample deviates in
    the same way in every prediction.
    """
    velocity, shares = motion.velocity[-1].astype(np.float64), table.shares
    if not velocity.any():  # unknown, for instance in the first image
        shares = np.zeros_like(shares)
        velocity = np.full_like(velocity, UNKNOWN_MPS / 3**0.5)
    joints = motion.joints[-1] + shift + change(shares, network, velocity)
    variance = growth(table, velocity)  # (H, 2, J)
    covariance = motion.covariance[-1] + spread(variance, joints)
    axes = motion.joint_rotations[-1, 0]
    size = np.sqrt((2.0 * variance[:, 0] + variance[:, 1]) / 3.0)[..., None]
    rng = np.random.default_rng(motion.track_id)
    mix = temperature * rng.standard_normal((samples, len(table.modes)))
    away = np.einsum("sm,mhjc,dc->shjd", mix, table.modes, axes) * size
    return MotionPrediction(
        motion.track_id,
        joints.astype(np.float32),
        covariance.astype(np.float32),
        (joints + away).astype(np.float32),
    )


def growth_terms(velocity: np.ndarray) -> np.ndarray:
    """Return the factors of the growth coefficients, (..., J, GROWTH_TERMS).

    velocity: (..., J, 3) m/s.
    """
    joint = np.square(velocity).sum(-1)
    body = np.broadcast_to(joint.mean(-1, keepdims=True), joint.shape)
    return np.stack([np.ones_like(joint), np.sqrt(body), body, joint], -1)


def growth(table: PredictionTable, velocity: np.ndarray) -> np.ndarray:
    """Return the variance [m^2] that each horizon adds, (H, 2, J); velocity: (J, 3) m/s."""
    found: np.ndarray = (table.growth * growth_terms(velocity)).sum(-1)
    return found


def spread(variance: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Return the covariance (H, J, 3, 3) of variances (H, 2, J) at joints (H, J, 3)."""
    across, along = variance[:, 0, :, None, None], variance[:, 1, :, None, None]
    sight = joints / np.maximum(np.linalg.norm(joints, axis=-1, keepdims=True), 1e-6)
    line = sight[..., :, None] * sight[..., None, :]
    return across * (np.eye(3) - line) + along * line


def load_prediction(path: Path) -> PredictionTable | None:
    """Read a model's prediction.npz; None if the model has none.

    Raises: CheckpointError if the file is damaged.
    """
    if not path.is_file():
        return None
    horizons, directions = len(HORIZONS_S), len(DIRECTIONS)
    expected = {
        "shares": (horizons, PARTS),
        "growth": (horizons, directions, NUM_JOINTS, GROWTH_TERMS),
        "modes": (MODES, horizons, NUM_JOINTS, 3),
    }
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name].astype(np.float64) for name in expected}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} is not a prediction table: {error!r}") from error
    for name, shape in expected.items():
        if arrays[name].shape != shape or not np.isfinite(arrays[name]).all():
            raise CheckpointError(
                f"{path}: got {name} of shape {arrays[name].shape}, expected finite numbers of "
                f"shape {shape}. Install the model again."
            )
    return PredictionTable(**arrays)


def write_prediction(path: Path, table: PredictionTable) -> None:
    """Write a table as prediction.npz."""
    parts = {item.name: getattr(table, item.name).astype(np.float32) for item in fields(table)}
    temporary = path.with_suffix(".part.npz")
    np.savez_compressed(temporary, **parts)
    temporary.replace(path)
