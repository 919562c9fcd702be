"""Corrections of a person's posture that follow measured ones smoothly, image by image."""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from torch import Tensor

from moro_ros.body.topology import NUM_JOINTS
from moro_ros.recover.place import PLACES_KEPT
from moro_ros.recover.refinement import moved
from moro_ros.recover.steady_pose import BodyPose

UNKNOWNS = 3 * NUM_JOINTS + 3
# Longer gaps between images count as this long, so a correction never jumps [s].
LONGEST_S = 0.1


class FollowedStep:
    """A step (1, 69) of refinement.py that follows its target with a time constant [s].

    target: the measured step. The steps of earlier images are kept for a second description.
    """

    def __init__(self, seconds: float) -> None:
        self.target = torch.zeros(1, UNKNOWNS)
        self._seconds = seconds
        self._made: OrderedDict[int, Tensor] = OrderedDict()

    @property
    def newest_ns(self) -> int | None:
        """The newest image that has a step."""
        return next(reversed(self._made), None)

    def corrected(self, pose: BodyPose, stamp_ns: int) -> BodyPose:
        """Return the pose (F = 1) of an image, the newest or an earlier one again, after its step.

        The first image of a person has none. An earlier one that was left out has the step of the
        nearest one.
        """
        newest_ns = self.newest_ns
        if newest_ns is None or stamp_ns > newest_ns:
            self._made[stamp_ns] = self._next(stamp_ns)
            if len(self._made) > PLACES_KEPT:
                self._made.popitem(last=False)
        step = self._made.get(stamp_ns)
        if step is None:
            step = self._made[min(self._made, key=lambda made_ns: abs(made_ns - stamp_ns))]
        if not step.any():
            return pose
        body = moved(pose, step)
        return BodyPose(body.rotations, body.translation, pose.betas)

    def _next(self, stamp_ns: int) -> Tensor:
        before_ns = self.newest_ns
        if before_ns is None:
            return torch.zeros_like(self.target)
        passed_s = min((stamp_ns - before_ns) * 1e-9, LONGEST_S)
        share = -math.expm1(-passed_s / self._seconds)
        return self._made[before_ns].lerp(self.target, share)
