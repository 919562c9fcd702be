"""Standing feet are moved onto a known floor, and whatever is below it above."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from moro_ros.body.topology import CONTACT_JOINTS, JOINT_NAMES, NUM_JOINTS
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.live.synthetic_scenes import walker
from moro_ros.recover.ground import JOINT_HEIGHT_M, GroundPlane
from moro_ros.recover.place import Unplaced
from moro_ros.recover.refinement import Seen, moved
from moro_ros.recover.standing import Standing
from moro_ros.recover.steady_pose import BodyPose
from moro_ros.types import KEYPOINTS

FEET = list(CONTACT_JOINTS)
UP = np.array([0.0, -1.0, 0.0])
HEAD = JOINT_NAMES.index("head")
EVERYTHING = np.ones(NUM_JOINTS, bool)


class Person:
    """A standing person 3 m in front of a level camera."""

    def __init__(self, body) -> None:
        self.body, self.standing = body, Standing(body)
        turns = rotvec_to_matrix(torch.from_numpy(walker(0.0)[0]).float())[None]
        self.pose = BodyPose(turns, torch.tensor([[0.0, 0.3, 3.0]]), torch.zeros(10))

    def joints(self, pose: BodyPose) -> np.ndarray:
        rest = self.body.skeleton(pose.betas[None]).joints[:, :NUM_JOINTS]
        joints = self.body.forward_kinematics(pose.rotations, rest)[1] + pose.translation
        return joints[0].numpy().astype(float)

    @property
    def floor(self) -> GroundPlane:
        """The one that the lowest foot stands on."""
        heights = self.joints(self.pose)[FEET] @ UP - JOINT_HEIGHT_M
        return GroundPlane(UP, -float(heights.min()))

    def moved(
        self, floor: GroundPlane, contact: np.ndarray, observed: np.ndarray = EVERYTHING
    ) -> BodyPose:
        seen = Seen(
            torch.full((1, len(KEYPOINTS), 2), 9.0),  # keypoints are not used again
            torch.ones(1, len(KEYPOINTS)),
            torch.tensor([0.6]),
        )
        joints = self.joints(self.pose)
        posed = Unplaced(self.pose, joints, contact, observed, False, 0, seen)
        body = moved(self.pose, self.standing.step(self.pose, posed, 1.0, floor))
        return BodyPose(body.rotations, body.translation, self.pose.betas)


@pytest.fixture(scope="module")
def person(open_body) -> Person:
    return Person(open_body)


def excess(person: Person, pose: BodyPose, floor: GroundPlane) -> np.ndarray:
    """How far the feet (4,) are above a floor, m."""
    return person.joints(pose)[FEET] @ floor.normal + floor.offset - JOINT_HEIGHT_M


@pytest.mark.parametrize("off_m", [-0.04, 0.04])
def test_standing_feet_are_moved_onto_the_floor(person, off_m):
    floor = GroundPlane(UP, person.floor.offset + off_m)
    contact = (np.abs(excess(person, person.pose, person.floor)) < 0.01).astype(float)
    stands = contact > 0
    assert stands.any()
    pose = person.moved(floor, contact)
    before, after = (excess(person, p, floor)[stands] for p in (person.pose, pose))
    assert np.abs(before).min() > 0.03 and np.abs(after).max() < 0.018
    # The legs bend; the head follows less than half of the way.
    head = person.joints(pose)[HEAD] - person.joints(person.pose)[HEAD]
    assert np.linalg.norm(head) < 0.028


def test_feet_that_stand_on_the_floor_stay(person):
    stands = np.abs(excess(person, person.pose, person.floor)) < 0.01
    assert stands.any()
    pose = person.moved(person.floor, stands.astype(float))
    assert np.abs(person.joints(pose) - person.joints(person.pose)).max() < 2e-3


def test_a_lifted_foot_stays_in_the_air_but_not_below_the_floor(person):
    higher = GroundPlane(UP, person.floor.offset + 0.05)
    pose = person.moved(higher, np.zeros(4))
    assert np.abs(person.joints(pose) - person.joints(person.pose)).max() < 1e-3
    lower = GroundPlane(UP, person.floor.offset - 0.05)
    assert excess(person, person.pose, lower).min() < -0.045
    assert excess(person, person.moved(lower, np.zeros(4)), lower).min() > -0.025


def test_somebody_on_a_step_is_not_pulled_down(person):
    for step_m, pulled_m in ((0.1, 0.03), (0.2, 0.01), (0.4, 0.01)):
        far = GroundPlane(UP, person.floor.offset + step_m)
        pose = person.moved(far, np.ones(4))
        assert np.abs(excess(person, pose, far) - excess(person, person.pose, far)).max() < pulled_m


def test_a_floor_that_is_less_sure_moves_people_less(person):
    floor = GroundPlane(UP, person.floor.offset + 0.04)
    seen = Seen(
        torch.zeros(1, len(KEYPOINTS), 2), torch.ones(1, len(KEYPOINTS)), torch.tensor([0.6])
    )
    joints = person.joints(person.pose)
    posed = Unplaced(person.pose, joints, np.ones(4), EVERYTHING, False, 0, seen)
    steps = [person.standing.step(person.pose, posed, 1.0, floor, s) for s in (0.0, 0.02, 0.2)]
    sizes = [float(step.norm()) for step in steps]
    assert sizes[0] > 1.2 * sizes[1] and sizes[1] > 5.0 * sizes[2] > 0.0


def test_hidden_feet_do_not_bend_the_legs_as_much(person):
    floor = GroundPlane(UP, person.floor.offset - 0.04)
    hidden = EVERYTHING.copy()
    hidden[FEET] = False
    shown = excess(person, person.moved(floor, np.ones(4)), floor).min()
    unseen = excess(person, person.moved(floor, np.ones(4), hidden), floor).min()
    assert -0.04 < unseen < shown


def test_a_pose_that_was_not_refined_is_not_changed(person):
    joints = person.joints(person.pose)
    posed = Unplaced(person.pose, joints, np.ones(4), EVERYTHING, False, 0)
    assert not person.standing.step(person.pose, posed, 1.0, person.floor).any()
