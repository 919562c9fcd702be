"""Refinement: it finds a bent limb, believes no outlier, and stays where nothing is seen."""

from __future__ import annotations

import pytest
import torch

from moro_ros.body.body_model import BodyModel, Skeleton
from moro_ros.body.topology import JOINT_NAMES, NUM_JOINTS
from moro_ros.geometry.rotation import matrix_to_rotvec, rotvec_to_matrix
from moro_ros.recover.refinement import (
    PlacedBody,
    Refiner,
    Seen,
    difference,
    moved,
)
from moro_ros.types import KEYPOINTS, NUM_KEYPOINTS

NAMES = list(KEYPOINTS)
ELBOW = JOINT_NAMES.index("left_elbow")


def keypoints_of(body: BodyModel, placed: PlacedBody, skeleton: Skeleton) -> torch.Tensor:
    chain, joints = body.forward_kinematics(placed.rotations, skeleton.joints[:, :NUM_JOINTS])
    local = body.keypoints(chain, joints, skeleton.keypoint_offsets)
    return local + placed.translation[:, None]


def seen_of(body: BodyModel, placed: PlacedBody, skeleton: Skeleton) -> Seen:
    points = keypoints_of(body, placed, skeleton)
    planar = points[..., :2] / points[..., 2:]
    size = (planar.amax(1) - planar.amin(1)).amax(-1) * 1.2
    return Seen(planar, torch.ones(len(planar), NUM_KEYPOINTS), size)


def bodies(count: int, spread: float = 0.2) -> PlacedBody:
    """People who stand before the camera, 3 to 5 m away, each bent a little in his own way."""
    generator = torch.Generator().manual_seed(3)
    turn = spread * torch.randn(count, NUM_JOINTS, 3, generator=generator)
    turn[:, 0, 0] += torch.pi  # body y up onto camera y down
    place = torch.tensor([[0.1, 0.2, 3.0]]) + torch.rand(count, 3, generator=generator)
    return PlacedBody(rotvec_to_matrix(turn), place)


@pytest.fixture(scope="module")
def skeleton(open_body: BodyModel) -> Skeleton:
    return open_body.skeleton(torch.zeros(1, 10))


def bent(placed: PlacedBody, joint: int, angle: float) -> PlacedBody:
    turn = torch.zeros(len(placed.rotations), NUM_JOINTS, 3)
    turn[:, joint, 1] = angle
    return PlacedBody(placed.rotations @ rotvec_to_matrix(turn), placed.translation)


def error(body: BodyModel, a: PlacedBody, b: PlacedBody, skeleton: Skeleton) -> torch.Tensor:
    return (keypoints_of(body, a, skeleton) - keypoints_of(body, b, skeleton)).norm(dim=-1)


def test_no_steps_change_nothing(open_body, skeleton) -> None:
    network = bodies(3)
    seen = seen_of(open_body, bodies(3, 0.4), skeleton)
    assert Refiner(open_body).refine(network, skeleton, seen, 0) is network


def test_the_truth_stays(open_body, skeleton) -> None:
    truth = bodies(4)
    found = Refiner(open_body).refine(truth, skeleton, seen_of(open_body, truth, skeleton), 3)
    assert float(difference(found, truth).abs().max()) < 1e-3


def test_a_bent_arm_is_found(open_body, skeleton) -> None:
    network = bodies(5)
    truth = bent(network, ELBOW, 0.6)
    found = Refiner(open_body).refine(network, skeleton, seen_of(open_body, truth, skeleton), 5)
    wrist = NAMES.index("left_wrist")
    before = error(open_body, network, truth, skeleton)[:, wrist]
    after = error(open_body, found, truth, skeleton)[:, wrist]
    # One arm points so that its bend is hardly seen from the front.
    assert float(after.median()) < 0.3 * float(before.median())


def test_a_trunk_does_not_lean_to_widen_its_shoulders(open_body, skeleton) -> None:
    """Points of a person a tenth nearer than the network says: the body keeps its distance."""
    network = bodies(5)
    nearer = PlacedBody(network.rotations, network.translation * torch.tensor([1.0, 1.0, 0.9]))
    found = Refiner(open_body).refine(network, skeleton, seen_of(open_body, nearer, skeleton), 5)
    shoulders = [NAMES.index(f"{side}_shoulder") for side in ("left", "right")]
    moved_m = keypoints_of(open_body, found, skeleton) - keypoints_of(open_body, network, skeleton)
    # 0.05 m without TRUNK_DEPTH_SPREAD.
    assert float(moved_m[:, shoulders, 2].mean(1).abs().max()) < 0.02


def test_one_gross_outlier_is_not_believed(open_body, skeleton) -> None:
    truth = bodies(5)
    seen = seen_of(open_body, truth, skeleton)
    seen.points[:, NAMES.index("left_wrist")] += 2 * seen.box_size[:, None]
    found = Refiner(open_body).refine(truth, skeleton, seen, 5)
    assert float(error(open_body, found, truth, skeleton).max()) < 0.02


def test_what_is_not_seen_stays(open_body, skeleton) -> None:
    network = bodies(4)
    seen = seen_of(open_body, bent(network, ELBOW, 0.6), skeleton)
    blind = Seen(seen.points, torch.zeros_like(seen.weight), seen.box_size)
    found = Refiner(open_body).refine(network, skeleton, blind, 3)
    assert float(difference(found, network).abs().max()) < 1e-5


def test_blind_bodies_return_from_the_expected_to_the_network(open_body, skeleton) -> None:
    network = bodies(4)
    expected = bent(network, ELBOW, 0.4)
    seen = seen_of(open_body, network, skeleton)
    blind = Seen(seen.points, torch.zeros_like(seen.weight), seen.box_size)
    refiner = Refiner(open_body)
    near, far = (
        refiner.refine(network, skeleton, blind, 3, expected, stride).rotations[:, ELBOW]
        for stride in (1, 10)
    )
    angle_near, angle_far = (
        matrix_to_rotvec(network.rotations[:, ELBOW].mT @ turned).norm(dim=-1)
        for turned in (near, far)
    )
    assert bool((angle_near < 0.3).all()) and bool((angle_near > 0.2).all())
    assert bool((angle_far < angle_near).all())  # the longer ago, the less it says


def test_only_what_is_seen_keeps_its_correction(open_body, skeleton) -> None:
    """The left arm is hidden: its correction of earlier frames fades, that of the right one not."""
    network = bodies(4)
    right = JOINT_NAMES.index("right_elbow")
    expected = bent(bent(network, ELBOW, 0.4), right, -0.4)
    seen = seen_of(open_body, expected, skeleton)
    hidden = [NAMES.index(f"left_{point}") for point in ("elbow", "wrist")]
    seen.weight[:, hidden] = 0.0
    found = Refiner(open_body).refine(network, skeleton, seen, 1, expected)
    left_rad, right_rad = (
        matrix_to_rotvec(network.rotations[:, j].mT @ found.rotations[:, j]).norm(dim=-1)
        for j in (ELBOW, right)
    )
    assert bool((left_rad < 0.3).all()) and bool((right_rad > 0.38).all())


def test_bodies_do_not_touch_one_another(open_body, skeleton) -> None:
    network = bodies(3)
    truth = bent(network, ELBOW, 0.5)
    seen = seen_of(open_body, truth, skeleton)
    refiner = Refiner(open_body)
    together = refiner.refine(network, skeleton, seen, 2)
    alone = refiner.refine(
        PlacedBody(network.rotations[1:2], network.translation[1:2]),
        skeleton,
        Seen(seen.points[1:2], seen.weight[1:2], seen.box_size[1:2]),
        2,
    )
    assert torch.allclose(together.rotations[1:2], alone.rotations, atol=1e-4)


def test_the_jacobian_is_the_slope(open_body, skeleton) -> None:
    """The gradient of the keypoint terms agrees with finite differences of their cost."""
    body = open_body.double()
    wide = Skeleton(skeleton.joints.double(), skeleton.keypoint_offsets.double())
    base = bodies(1)
    now = PlacedBody(base.rotations.double(), base.translation.double())
    other = bodies(1, 0.35)
    seen = seen_of(body, PlacedBody(other.rotations.double(), other.translation.double()), wide)
    refiner = Refiner(body)
    refiner.moves = refiner.moves.double()
    try:
        network = keypoints_of(body, now, wide)[..., 2] + 0.1
        matrix, gradient = refiner._keypoint_terms(now, wide, seen, network)
        torch.manual_seed(0)
        step = torch.randn(1, 3 * NUM_JOINTS + 3, dtype=torch.float64)

        def residuals(placed: PlacedBody) -> torch.Tensor:
            points = keypoints_of(body, placed, wide)
            planar = (points[..., :2] / points[..., 2:] - seen.points) / unit
            along = refiner.trunk * ((points[..., 2] - network) / (0.03 * network))[..., None]
            return torch.cat([planar, along], -1)

        unit = (refiner.keypoint_spread * seen.box_size[:, None])[..., None]
        ahead, behind = (residuals(moved(now, s * step)) for s in (1e-5, -1e-5))
        slope, residual = (ahead - behind) / 2e-5, residuals(now)  # (1, K, 3)
        weight = (1 + residual[..., :2].square().sum(-1) / 25).pow(-2)[..., None]
        expected = (weight * residual * slope).sum()
        assert float((gradient * step).sum()) == pytest.approx(float(expected), rel=1e-4)
        quadratic = (weight * slope.square()).sum()
        found = (step @ matrix[0] @ step.T).squeeze()
        assert float(found) == pytest.approx(float(quadratic), rel=1e-4)
    finally:
        body.float()
