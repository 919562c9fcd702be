"""A steady live pose from windows that are decoded again for every frame.

Within one window the motion is smooth, but the newest frame of each window is estimated with
different context, so a sequence of newest frames jitters. Each frame is therefore predicted by the
newest window's own step from the frame before, without lag, and moved towards its estimate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from moro_ros.geometry.rotation import matrix_to_rotation_6d, rotation_6d_to_matrix
from moro_ros.recover.outlier_gate import OutlierGate
from moro_ros.recover.refinement import PlacedBody
from moro_ros.recover.uncertainty import PersonUncertainty

# Time in which the pose of a person who is seen again reaches them [s].
CORRECTED_S = 0.12
# Maximum change of the mean of each shape coefficient while it settles: 17 mm for a joint of the
# open body by the first coefficient, which is the height, and less by each other.
TOLERANCE = 0.2


class ShapeLock:
    """Averages one person's betas over the images in which the person is seen."""

    def __init__(self) -> None:
        self._images = 0
        self._mean = torch.zeros(0)
        self._least = self._most = self._mean
        self._quiet_s = 0.0
        self._last_ns: int | None = None

    def update(self, betas: Tensor, stamp_ns: int, seen: bool, settle_s: float) -> Tensor | None:
        """Return the mean (10,) after it stayed within TOLERANCE for settle_s of being seen.

        betas: (10,) at an image; stamp_ns: of the image; seen: whether the person was seen. Images
        in which the person was not seen neither count nor restart the time.
        """
        before, self._last_ns = self._last_ns, stamp_ns
        if not seen:
            return None
        self._images += 1
        first = self._images == 1
        self._mean = betas.clone() if first else self._mean.lerp(betas, 1.0 / self._images)
        least = self._mean if first else torch.minimum(self._least, self._mean)
        most = self._mean if first else torch.maximum(self._most, self._mean)
        if first or before is None or bool((most - least > TOLERANCE).any()):
            self._least = self._most = self._mean
            self._quiet_s = 0.0
            return None
        self._least, self._most = least, most
        self._quiet_s += (stamp_ns - before) * 1e-9
        return self._mean if self._quiet_s >= settle_s else None


# Share of a new window's body shape in the running one: a person's shape does not change.
SHAPE_GAIN = 0.1


@dataclass(frozen=True, slots=True)
class BodyPose(PlacedBody):
    """The pose of F frames of one body, each as in PlacedBody, and its shape: betas (10,)."""

    betas: Tensor

    def frames(self, part: slice) -> BodyPose:
        """Return some of the frames."""
        return BodyPose(self.rotations[part], self.translation[part], self.betas)


def blend(first: Tensor, second: Tensor, share: float | Tensor) -> Tensor:
    """Return the rotation between two near ones, (..., 3, 3), share of the second in [0, 1]."""
    return rotation_6d_to_matrix(matrix_to_rotation_6d(torch.lerp(first, second, share)))


class JointVelocity:
    """The velocity of one person's joints, from one image to the next.

    When a person is seen again, the pose moves from where they were expected to where they are,
    which is not their motion. Their velocity then stays the expected one for CORRECTED_S, or for as
    long as they were not seen, whichever is shorter.
    """

    def __init__(self) -> None:
        self._last: tuple[np.ndarray, int] | None = None
        self._velocity = np.zeros(0)
        self._unseen_ns: int | None = None  # stamp of the first image in which they were not seen
        self._kept_until_ns: int | None = None

    def update(self, joints: np.ndarray, stamp_ns: int, seen: bool = True) -> np.ndarray:
        """Return the mean velocity (J, 3) m/s since the last update, zero in the first one.

        joints: (J, 3) m, camera frame; stamp_ns: acquisition time of their image; seen: whether the
        person was seen in it.
        """
        before, self._last = self._last, (joints, stamp_ns)
        if not seen:
            self._kept_until_ns = None
            if self._unseen_ns is None:
                self._unseen_ns = stamp_ns
        elif self._unseen_ns is not None:
            unseen_ns = min(stamp_ns - self._unseen_ns, round(CORRECTED_S * 1e9))
            self._unseen_ns, self._kept_until_ns = None, stamp_ns + unseen_ns
        if before is None or stamp_ns <= before[1]:
            self._velocity = np.zeros_like(joints)
        elif self._kept_until_ns is None or stamp_ns >= self._kept_until_ns:
            self._velocity = (joints - before[0]) / ((stamp_ns - before[1]) * 1e-9)
        return self._velocity


class SteadyPose:
    """The running pose of one person; gain: share of each new estimate, 1 takes it unchanged.

    shape: locked betas (10,), None to let the shape follow the estimates.
    """

    def __init__(self, gain: float) -> None:
        self.gain = gain
        self.shape: Tensor | None = None
        self.last: BodyPose | None = None
        self.velocity = JointVelocity()
        self.gate = OutlierGate()
        self.uncertainty = PersonUncertainty()

    def update(self, window: BodyPose, aligned: Tensor, stride: float = 1.0) -> BodyPose:
        """Return the steady pose (F = 1) of the newest frame.

        window: the newest window's pose of the frame of the last update and of the newest, or of
        the only one there is; aligned: (1, 3) m, the newest pelvis after it was moved onto the
        keypoints; stride: frames between the two, which the gain adds up over.
        """
        newest = window.frames(slice(-1, None))
        estimate = replace(newest, translation=aligned)
        expected = self.expected(window)
        if expected is None or self.gain >= 1.0:
            return self.take(estimate)
        gain = 1.0 - (1.0 - self.gain) ** stride
        return self.take(
            BodyPose(
                blend(expected.rotations, estimate.rotations, gain),
                torch.lerp(expected.translation, aligned, gain),
                expected.betas,
            )
        )

    def expected(self, window: BodyPose) -> BodyPose | None:
        """Return the pose of the last update moved by the newest window's own step (F = 1).

        window: see update. None without a last update, or with no step to take.
        """
        if self.last is None or len(window.rotations) < 2:
            return None
        before, newest = window.frames(slice(0, 1)), window.frames(slice(-1, None))
        return BodyPose(
            self.last.rotations @ (before.rotations.mT @ newest.rotations),
            self.last.translation + newest.translation - before.translation,
            self._shape(newest.betas),
        )

    def restarted(self, window: BodyPose) -> BodyPose:
        """Return the newest frame of a window alone, of the running shape.

        Used after an update that was not published, from which a step would be wrong.
        """
        return replace(window.frames(slice(-1, None)), betas=self._shape(window.betas))

    def _shape(self, betas: Tensor) -> Tensor:
        if self.shape is not None or self.last is None:
            return betas if self.shape is None else self.shape
        return torch.lerp(self.last.betas, betas, SHAPE_GAIN)

    def take(self, pose: BodyPose) -> BodyPose:
        """Store a pose (F = 1) as the last one, with the locked shape if any, and return it."""
        self.last = pose if self.shape is None else replace(pose, betas=self.shape)
        return self.last
