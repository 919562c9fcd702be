"""Feet that stand are put on a given floor in a live stream, smoothly, and return without it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from moro_ros.body.topology import CONTACT_JOINTS
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.live.placing import Placing
from moro_ros.live.synthetic_scenes import walker
from moro_ros.recover.ground import JOINT_HEIGHT_M, GroundPlane
from moro_ros.recover.place import Unplaced
from moro_ros.recover.refinement import Seen
from moro_ros.recover.steady_pose import BodyPose

FEET = list(CONTACT_JOINTS)
LEVEL = GroundPlane(np.array([0.0, -1.0, 0.0]), 1.2)


class Stander:
    """A walker's pose 3 m in front of a level camera, of whom the lowest foot stands."""

    def __init__(self, body) -> None:
        self.placing = Placing(body, reads_floor=False)
        turns = rotvec_to_matrix(torch.from_numpy(walker(0.0)[0]).float())[None]
        self.pose = BodyPose(turns, torch.tensor([[0.0, 0.3, 3.0]]), torch.zeros(10))
        self.joints = self.placing._joints(self.pose)
        above = -self.joints[FEET, 1] - JOINT_HEIGHT_M
        self.contact = (above < above.min() + 0.01).astype(float)
        self.height_m = -float(above.min())
        skeleton = body.skeleton(self.pose.betas[None])
        chain, joints = body.forward_kinematics(turns, skeleton.joints[:, :22])
        points = body.keypoints(chain, joints, skeleton.keypoint_offsets) + self.pose.translation
        self.seen = Seen(
            points[..., :2] / points[..., 2:],
            torch.ones(points.shape[:2]),
            torch.tensor([0.6]),
        )

    def above_m(self, image: int, learn: bool = True) -> float:
        """How far the standing feet are above a floor 5 cm below them, m."""
        stamp_ns = image * 33_333_333
        seen = Unplaced(
            self.pose, self.joints, self.contact, np.ones(22, bool), False, stamp_ns, self.seen
        )
        placed = self.placing.place(1, seen, learn)
        pose = self.pose if placed is None else placed.pose
        size = float(pose.translation[0, 2] / self.pose.translation[0, 2])
        above = -self.placing._joints(pose)[FEET, 1] - JOINT_HEIGHT_M * size
        return float((above + self.height_m + 0.05)[self.contact > 0].mean())


def test_standing_feet_are_put_on_a_given_floor_but_not_on_a_learned_one(open_body):
    found = {}
    for given in (True, False):
        person = Stander(open_body)
        person.placing.set_floor(
            GroundPlane(LEVEL.normal, person.height_m + 0.05), 0.01, to_network=given
        )
        found[given] = [person.above_m(image) for image in range(40)]
        again = [person.above_m(image, learn=False) for image in range(40)]
        # A second description approaches the floor by itself.
        assert again[-1] == pytest.approx(found[given][-1], abs=0.003)
    assert max(np.abs(np.diff(found[True]))) < 0.02, "without a jump"
    assert abs(found[True][-1]) < 0.5 * abs(found[False][-1]) and abs(found[True][-1]) < 0.015


def test_feet_return_when_the_floor_is_removed(open_body):
    person = Stander(open_body)
    person.placing.set_floor(GroundPlane(LEVEL.normal, person.height_m + 0.05), 0.01)
    for image in range(40):
        person.above_m(image)
    assert person.placing._people[1].standing.target.any()
    person.placing.set_floor(None)
    for image in range(40, 80):
        person.above_m(image)
    assert not person.placing._people[1].standing.target.any()
