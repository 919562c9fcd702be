"""The covariance of recovered joints, from a table measured for the model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from moro_ros.body.topology import JOINT_NAMES, NUM_JOINTS
from moro_ros.errors import CheckpointError
from moro_ros.types import BodyMotion

UNCERTAINTY_FILE = "uncertainty.json"
STATES, DIRECTIONS, TERMS = (
    ("inferred", "observed"),
    ("across", "along"),
    ("floor_m2", "doubt_m2", "hidden_m2", "range", "misfit"),
)
# A keypoint farther off the body than this share of the person's box counts as this far.
LARGEST_MISFIT = 0.1
# Share of a new image in the running mean of the squared misfit.
MISFIT_GAIN = 0.3
# Growth of a joint's sigma while the person is not seen [m/s], measured on validation motion.
UNSEEN_MPS = 0.24


@dataclass(frozen=True, slots=True)
class UncertaintyTable:
    """Coefficients of the variance of one axis, measured on held-out motion.

    coefficients: (2, 2, J, 5): joint inferred or observed; axis across or along the line of
    sight; variance [m^2] = floor_m2 + doubt_m2 (1 - confidence)^2 + hidden_m2 hidden^2
    + range distance^2 + misfit (distance m)^2, where hidden is the share of the person's joints
    that are not observed, and m the misfit of that axis (PersonUncertainty).
    """

    coefficients: np.ndarray


def joint_covariance(
    table: UncertaintyTable | None,
    joints: np.ndarray,
    observed: np.ndarray,
    confidence: np.ndarray,
    misfit: np.ndarray,
    place_sigma: float | None = None,
) -> np.ndarray:
    """Return the covariance of joint positions, (F, J, 3, 3) float32 m^2, camera frame.

    table: None gives zeros, which stand for "unknown"; joints: (F, J, 3) m, camera frame;
    observed: (F, J) bool; confidence: (F, J) in [0, 1], as in BodyMotion: the visibility of
    observed joints, the mesh tokens' certainty around inferred ones; misfit: (2,), see
    PersonUncertainty.misfit; place_sigma: relative sigma of the person's distance, if other sources
    than the network give it (recover/place.py).
    """
    if table is None:
        return np.zeros((*joints.shape, 3), dtype=np.float32)
    range_m = np.linalg.norm(joints, axis=-1)
    sight = joints / np.maximum(range_m, 1e-6)[..., None]
    terms = variance_terms(joints, observed, confidence, misfit)
    index = np.arange(joints.shape[1])
    coefficients = table.coefficients[observed.astype(int), :, index]  # (F, J, 2, 5)
    across, along = np.moveaxis((coefficients * terms).sum(-1), -1, 0)
    if place_sigma is not None:
        # The table's variance includes the error of the distance, which all joints share.
        along = np.maximum(along - along[:, :1], across) + (place_sigma * range_m) ** 2
    line = sight[..., :, None] * sight[..., None, :]
    covariance = across[..., None, None] * np.eye(3) + (along - across)[..., None, None] * line
    return covariance.astype(np.float32)


class PersonUncertainty:
    """The uncertainty of one person over time.

    The misfit is how far the body is from the seen keypoints, a measure of the detector's noise: a
    running root mean square over keypoints and images.
    """

    def __init__(self) -> None:
        self._squared: np.ndarray | None = None
        # The covariance of the last image in which the person was seen, and its time.
        self._seen: tuple[np.ndarray, int] | None = None

    def compare(
        self, body: np.ndarray, points: np.ndarray, seen: np.ndarray, box_size: float
    ) -> None:
        """Update the misfit with an image; one without a seen keypoint does not count.

        body: (K, 3) m, the body's keypoints, camera frame; points: (K, 2), where they were seen, on
        the normalised image plane; seen: (K,) bool; box_size: of the person, on the same plane.
        """
        if not seen.any():
            return
        off = np.linalg.norm(body[seen, :2] / body[seen, 2:] - points[seen], axis=-1) / box_size
        share = float(np.square(np.minimum(off, LARGEST_MISFIT)).mean())
        squared = share * np.array([box_size**2, 1.0])
        before = squared if self._squared is None else self._squared
        self._squared = before + MISFIT_GAIN * (squared - before)

    @property
    def misfit(self) -> np.ndarray:
        """For DIRECTIONS: on the normalised image plane, and as a share of the box; (2,)."""
        return np.zeros(2) if self._squared is None else np.sqrt(self._squared)

    def covariance(self, table: UncertaintyTable | None, motion: BodyMotion) -> np.ndarray:
        """Return the covariance of a motion (F = 1), (1, J, 3, 3) float32 m^2, camera frame.

        While the person is not seen, or their pose is held, it is that of the last image in which
        they were seen, and grows. Without a table it is zero, which stands for "unknown".
        """
        stamp_ns = int(motion.stamps_ns[-1])
        unseen = bool(motion.held[-1]) or not motion.keypoints_seen[-1]
        if unseen and self._seen is not None and table is not None:
            grown = (UNSEEN_MPS * (stamp_ns - self._seen[1]) * 1e-9) ** 2
            return self._seen[0] + np.float32(grown) * np.eye(3, dtype=np.float32)
        place_sigma = None if motion.place is None else motion.place.sigma
        found = joint_covariance(
            table, motion.joints, motion.observed, motion.confidence, self.misfit, place_sigma
        )
        self._seen = found, stamp_ns
        return found


def distance_sigma(motion: BodyMotion, eye: np.ndarray | None) -> float:
    """Return sigma [m] of the newest pelvis along the line of sight; 0 if it is unknown.

    eye: (3,) m, of the camera in the motion's frame; None, for several cameras: the sigma in the
    direction in which it is largest.
    """
    covariance = motion.covariance[-1, 0].astype(np.float64)
    if eye is None:
        return float(np.sqrt(max(np.linalg.eigvalsh(covariance)[-1], 0.0)))
    sight = motion.joints[-1, 0].astype(np.float64) - eye
    sight /= max(float(np.linalg.norm(sight)), 1e-6)
    return float(np.sqrt(max(sight @ covariance @ sight, 0.0)))


def variance_terms(
    joints: np.ndarray, observed: np.ndarray, confidence: np.ndarray, misfit: np.ndarray
) -> np.ndarray:
    """Return the factors of a table's coefficients by axis, (..., J, 2, 5); see UncertaintyTable.

    joints: (..., J, 3) m, camera frame; observed: (..., J) bool; confidence: (..., J) in [0, 1];
    misfit: (..., 1, 2) or (2,).
    """
    square_m2 = np.square(joints).sum(-1)
    hidden = np.broadcast_to(1.0 - observed.mean(-1, keepdims=True), square_m2.shape)
    doubt = 1.0 - confidence
    shared = np.stack([np.ones_like(square_m2), doubt**2, hidden**2, square_m2], -1)
    own = square_m2[..., None] * misfit**2
    both = np.broadcast_to(shared[..., None, :], (*own.shape, shared.shape[-1]))
    return np.concatenate([both, own[..., None]], -1)


def load_uncertainty(path: Path) -> UncertaintyTable | None:
    """Read a model's uncertainty.json; None if the model has none.

    Raises: CheckpointError if the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        rows = [[[table[s][d][joint] for joint in JOINT_NAMES] for d in DIRECTIONS] for s in STATES]
        coefficients = np.array(rows, dtype=np.float64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is not an uncertainty table: {error!r}") from error
    shape = (len(STATES), len(DIRECTIONS), NUM_JOINTS, len(TERMS))
    if coefficients.shape != shape or not (coefficients >= 0).all():
        raise CheckpointError(
            f"{path}: got coefficients of shape {coefficients.shape}, expected {shape}, none of "
            "them negative. Install the model again, or delete the file and create it with 'moro "
            "evaluate sigma --fit'."
        )
    return UncertaintyTable(coefficients)


def write_uncertainty(path: Path, table: UncertaintyTable) -> None:
    """Write a table as uncertainty.json, by the names of states, directions and joints."""
    values = {
        state: {
            direction: {
                joint: [float(f"{value:.4g}") for value in table.coefficients[s, d, j]]
                for j, joint in enumerate(JOINT_NAMES)
            }
            for d, direction in enumerate(DIRECTIONS)
        }
        for s, state in enumerate(STATES)
    }
    text = json.dumps({"terms": TERMS, **values}, indent=1)
    path.write_text(text + "\n", encoding="utf-8")
