"""The posture of a person on a known floor: standing feet are on it, and nothing is below it.

The distance of a person (place.py) is a compromise of several sources, and the legs are only as
certain as the keypoints, so feet may be a few centimetres above or below the floor. One more step
of the refinement (refinement.py), with the heights of the joints as further equations, moves them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from moro_ros.body.body_model import BodyModel
from moro_ros.body.topology import CONTACT_JOINTS, NUM_JOINTS
from moro_ros.recover.floor import CLEARANCE_M
from moro_ros.recover.followed_step import UNKNOWNS
from moro_ros.recover.ground import JOINT_HEIGHT_M, GroundPlane
from moro_ros.recover.place import Unplaced
from moro_ros.recover.refinement import (
    MIN_DEPTH_M,
    Measured,
    Refiner,
    difference,
    geman_mcclure,
)
from moro_ros.recover.steady_pose import BodyPose

# Sigma of the height of a joint [m], and the height from which on a joint has less and less weight
# (Geman-McClure): the person stands on a step, or the floor is wrong.
HEIGHT_SIGMA_M, STEP_M = 0.02, 0.05
# Weight of joints that the image does not show: their height follows from the posture alone.
HIDDEN_WEIGHT = 0.04
# Contact probability from which on a foot stands; it has its full weight at the second.
LIFTED_CONTACT, STANDING_CONTACT = 0.6, 0.9
FEET = list(CONTACT_JOINTS)
# Time constant with which a person follows the step [s].
FOLLOWING_S = 0.1


class Standing:
    """Moves bodies of one body model onto a floor."""

    def __init__(self, body: BodyModel) -> None:
        self._refiner = Refiner(body)

    def step(
        self,
        pose: BodyPose,
        person: Unplaced,
        size: float,
        plane: GroundPlane,
        floor_sigma: float = 0.0,
    ) -> Tensor:
        """Return the step (1, 69) of refinement.py that puts standing feet on the floor.

        pose: (F = 1) at its true distance; person: the same one before placing, refined on
        keypoints; size: of the pose's body over the template's; plane: the floor, camera optical
        frame; floor_sigma: of the camera's height above it, relative. The step is zero for a person
        who was not refined, or of whom nothing stands on the floor or is below it.
        """
        if person.seen is None:
            return torch.zeros(1, UNKNOWNS)
        skeleton = self._refiner.body.skeleton(pose.betas[None])
        _, joints, points = self._refiner.placed(pose, skeleton)
        # The pose is on the keypoints as far as it should be, and stays where it is in the image.
        points = points[..., :2] / points[..., 2:].clamp_min(MIN_DEPTH_M)
        seen = replace(person.seen, points=points)
        placed = (joints[0] + pose.translation[0]).numpy().astype(np.float64)
        lowest = np.full(NUM_JOINTS, CLEARANCE_M)
        lowest[FEET] = JOINT_HEIGHT_M
        excess = placed @ plane.normal + plane.offset - lowest * size
        stands = np.zeros(NUM_JOINTS)
        share = (person.contact - LIFTED_CONTACT) / (STANDING_CONTACT - LIFTED_CONTACT)
        stands[FEET] = np.clip(share, 0.0, 1.0) * person.observed[FEET]
        weight = np.where(excess < 0.0, 1.0, stands) * geman_mcclure((excess / STEP_M) ** 2)
        weight = weight * np.where(person.observed, 1.0, HIDDEN_WEIGHT)
        if not weight.any():
            return torch.zeros(1, UNKNOWNS)
        variance = HEIGHT_SIGMA_M**2 + (floor_sigma * plane.offset) ** 2
        measured = Measured(
            torch.arange(NUM_JOINTS),
            torch.zeros(NUM_JOINTS, 3),
            torch.from_numpy(plane.normal).float(),
            torch.from_numpy(lowest * size - plane.offset).float(),
            torch.from_numpy(weight / variance).float(),
        )
        return difference(self._refiner.refine(pose, skeleton, seen, 1, measured=measured), pose)
