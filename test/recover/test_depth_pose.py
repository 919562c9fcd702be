"""A posture in rendered depth images: what the network misjudges along the line of sight."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from moro_ros.body.topology import JOINT_NAMES, NUM_JOINTS
from moro_ros.evaluation.depth_scenes import Board, as_measured, render_depth
from moro_ros.geometry.depth_image import DepthImage
from moro_ros.geometry.mesh import vertex_normals
from moro_ros.geometry.rotation import rotvec_to_matrix
from moro_ros.live.synthetic_scenes import sitter
from moro_ros.recover.depth_pose import DepthMeter
from moro_ros.recover.place import Unplaced
from moro_ros.recover.refinement import Refiner, Seen, moved
from moro_ros.recover.steady_pose import BodyPose
from moro_ros.types import KEYPOINTS, Camera

CAMERA = Camera(np.array([[425.0, 0, 320], [0, 425.0, 240], [0, 0, 1]]), 640, 480)
AWAY_M = 2.2
BOX = 0.6
SPINE, SHOULDER, ELBOW = (JOINT_NAMES.index(n) for n in ("spine1", "right_shoulder", "right_elbow"))
WRIST, HEAD = JOINT_NAMES.index("right_wrist"), JOINT_NAMES.index("head")


def turned(pose: BodyPose, joint: int, rotvec: list[float]) -> BodyPose:
    rotations = pose.rotations.clone()
    rotations[0, joint] = rotations[0, joint] @ rotvec_to_matrix(torch.tensor(rotvec))
    return replace(pose, rotations=rotations)


class Scene:
    """A person who sits and reaches out, a depth image of them, and their keypoints."""

    def __init__(self, body) -> None:
        self.body, self.meter, self.refiner = body, DepthMeter(body), Refiner(body)
        turns = rotvec_to_matrix(torch.from_numpy(sitter(2.0)[0]).float())[None]
        self.true = BodyPose(turns, torch.tensor([[0.0, 0.2, AWAY_M]]), torch.zeros(10))

    def joints(self, pose: BodyPose) -> np.ndarray:
        rest = self.body.skeleton(pose.betas[None]).joints[:, :NUM_JOINTS]
        placed = self.body.forward_kinematics(pose.rotations, rest)[1] + pose.translation
        return placed[0].numpy()

    def seen(self) -> Seen:
        skeleton = self.body.skeleton(self.true.betas[None])
        chain, joints = self.body.forward_kinematics(
            self.true.rotations, skeleton.joints[:, :NUM_JOINTS]
        )
        points = self.body.keypoints(chain, joints, skeleton.keypoint_offsets)
        points = points + self.true.translation
        weight = torch.ones(1, len(KEYPOINTS))
        return Seen(points[..., :2] / points[..., 2:], weight, torch.tensor([BOX]))

    def depth(self, boards: tuple[Board, ...] = (), clothes_m: float = 0.0) -> DepthImage:
        mesh = self.body.skin(self.true.rotations, self.true.betas[None]).vertices[0]
        vertices = (mesh + self.true.translation).numpy()
        normals = vertex_normals(vertices, self.body.faces.numpy())
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        vertices = vertices + clothes_m * normals
        wall = Board(np.array([-5.0, -3.0, 3.2]), np.array([10.0, 0, 0]), np.array([0, 6.0, 0]))
        metres = render_depth([vertices], self.body.faces.numpy(), [wall, *boards], CAMERA)
        return DepthImage(as_measured(metres, np.random.default_rng(0)), CAMERA, 0)

    def unplaced(self, pose: BodyPose, seen: Seen) -> Unplaced:
        everything = np.ones(NUM_JOINTS, bool)
        return Unplaced(pose, self.joints(pose), np.zeros(4), everything, False, 0, seen)

    def measured(self, wrong: BodyPose, seen: Seen, depth: DepthImage) -> np.ndarray:
        """The joints (22, 3) m of a pose in the measured posture, at the measured distance."""
        found = self.meter.measure(self.unplaced(wrong, seen), depth)
        assert found is not None and found.posture is not None
        body = moved(wrong, found.posture)
        bent = BodyPose(body.rotations, body.translation, wrong.betas)
        return self.joints(bent) * np.exp(found.clue.log_scale)


@pytest.fixture(scope="module")
def scene(open_body) -> Scene:
    return Scene(open_body)


def along(found: np.ndarray, true: np.ndarray, joint: int) -> float:
    return abs(float(found[joint, 2] - true[joint, 2]))


def test_an_arm_and_a_trunk_are_bent_onto_the_surface(scene):
    """The arm is estimated too far from the camera, and the trunk leans the wrong way."""
    wrong = turned(turned(scene.true, SPINE, [-0.15, 0.0, 0.0]), SHOULDER, [0.0, -0.5, 0.0])
    seen, true = scene.seen(), scene.joints(scene.true)
    # On the keypoints alone.
    body = scene.refiner.refine(wrong, scene.body.skeleton(wrong.betas[None]), seen, 1)
    plain = scene.joints(BodyPose(body.rotations, body.translation, wrong.betas))
    found = scene.measured(wrong, seen, scene.depth())
    for joint in (WRIST, ELBOW, HEAD):
        assert along(plain, true, joint) > 0.04
        assert along(found, true, joint) < 0.5 * along(plain, true, joint)
        assert along(found, true, joint) < 0.03


def test_a_correct_posture_stays(scene):
    true = scene.joints(scene.true)
    found = scene.measured(scene.true, scene.seen(), scene.depth())
    assert np.linalg.norm(found - true, axis=-1).mean() < 0.02


def test_a_body_beside_its_outline_is_moved_across_the_line_of_sight(scene):
    """All keypoints are 3 cm beside the body, as those of a detector may be."""
    seen, true = scene.seen(), scene.joints(scene.true)
    off = torch.tensor([0.03, 0.0, 0.0])
    wrong = replace(scene.true, translation=scene.true.translation + off)
    seen = replace(seen, points=seen.points + off[:2] / AWAY_M)
    found = scene.measured(wrong, seen, scene.depth())
    assert abs(float((found - true)[:, 0].mean())) < 0.012


def test_thick_clothes_are_measured_and_do_not_bring_people_nearer(scene):
    posed = scene.unplaced(scene.true, scene.seen())
    depth = scene.depth(clothes_m=0.04)
    bare = scene.meter.measure(posed, scene.depth())
    first = scene.meter.measure(posed, depth)
    assert abs(bare.bulk) < 0.1 and first.bulk > 0.15
    again = scene.meter.measure(posed, depth, None, first.bulk)
    nearer_m = [AWAY_M * (bare.clue.log_scale - one.clue.log_scale) for one in (first, again)]
    assert nearer_m[0] > 0.03 and abs(nearer_m[1]) < 0.5 * nearer_m[0]
    assert again.bulk == pytest.approx(first.bulk, abs=0.15)


def test_a_distance_that_the_keypoints_contradict_is_not_used(scene):
    """Where most keypoints are seen, something is 0.5 m before the surface that was found."""
    seen = scene.seen()
    posed = scene.unplaced(scene.true, seen)
    depth = scene.depth()
    for x, y in seen.points[0].numpy():
        column, row = round(425 * float(x) + 320), round(425 * float(y) + 240)
        depth.metres[row - 8 : row + 9, column - 8 : column + 9] -= 0.5
    assert scene.meter.measure(posed, depth) is None
    unseen = replace(seen, weight=0.1 * seen.weight)
    assert scene.meter.measure(scene.unplaced(scene.true, unseen), depth) is not None


def test_a_hand_that_is_not_seen_or_behind_something_is_not_pulled(scene):
    """A board hides the hand: its surface is not the hand's, whatever the detector says."""
    true = scene.joints(scene.true)
    hand = true[WRIST]
    board = Board(hand - [0.15, 0.15, 0.5], np.array([0.3, 0, 0]), np.array([0, 0.3, 0]))
    depth = scene.depth((board,))
    found = scene.measured(scene.true, scene.seen(), depth)
    assert along(found, true, WRIST) < 0.05
    seen = scene.seen()
    seen.weight[0, KEYPOINTS["right_wrist"]] = 0.0
    near = Board(hand - [0.15, 0.15, 0.1], np.array([0.3, 0, 0]), np.array([0, 0.3, 0]))
    found = scene.measured(scene.true, seen, scene.depth((near,)))
    assert along(found, true, WRIST) < 0.05


def test_a_wrist_behind_the_back_is_not_taken_for_the_back(scene):
    """The detector often reports hidden limbs as visible; the body's own surface is before it."""
    behind = turned(scene.true, SHOULDER, [0.0, -2.2, 0.0])
    hidden = Scene(scene.body)
    hidden.true = behind
    true = hidden.joints(behind)
    found = hidden.measured(behind, hidden.seen(), hidden.depth())
    assert along(found, true, WRIST) < 0.05


def test_the_lower_quartile_around_a_point_is_the_nearer_surface():
    metres = np.full((480, 640), 3.0, np.float32)
    metres[200:280, 310:320] = 2.0  # a limb beside the point
    metres[0:100] = np.nan
    depth = DepthImage(metres, CAMERA, 0)
    point = np.array([[0.0, 0.0, 2.0], [0.0, -1.0, 2.0], [0.0, 0.0, -1.0], [5.0, 0.0, 2.0]])
    near = depth.nearest(point, 0.04)
    assert near[0] == pytest.approx(2.0) and np.isnan(near[1:]).all()
    beside = np.array([[0.06, 0.0, 2.0]])  # 13 pixels from the limb
    assert depth.nearest(beside, 0.01)[0] == pytest.approx(3.0)
