"""The pose of a hand follows from its 21 points, as far as fingers can bend."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from moro_ros.body.anatomy import Hand, measure_anatomy
from moro_ros.body.body_model import BodyModel
from moro_ros.body.hand_pose import BENDS_DEG, SPREAD_DEG, HandPose, pose_hand, towards
from moro_ros.geometry.lens import image_points
from moro_ros.types import Camera, HandPoints

CAMERA = Camera(np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]]), 640, 480)
WRIST = np.array([0.5, -0.3, 1.5])
MIRROR = np.array([-1.0, 1.0, 1.0])
# Bends [deg] of knuckle, middle and last joint from a hand that is flat.
FLAT, HALF, FIST = (0.0, 0.0, 0.0), (40.0, 47.0, 30.0), (80.0, 85.0, 45.0)


@pytest.fixture(scope="module")
def hands(open_body: BodyModel) -> tuple[Hand, Hand]:
    betas = open_body.template.new_zeros(1, 10)
    rest, vertices = open_body.skeleton(betas).joints[0], open_body.rest_vertices(betas)[0]
    found = measure_anatomy(
        rest.double().numpy(), vertices.double().numpy(), open_body.vertex_parts()
    ).hands
    assert found is not None
    return found


def chain(hand: Hand, finger: int) -> np.ndarray:
    """The bones (3, 3) of a finger at rest, the last as the one before."""
    bones = np.diff(hand.joints[3 * finger : 3 * finger + 3], axis=0)
    return np.concatenate([bones, bones[1:]])


def bent(hand: Hand, bends_deg: tuple[float, ...], spread_deg: float = 0.0) -> np.ndarray:
    """Rotation vectors (15, 3) of a hand whose four fingers bend so far from flat."""
    out, turns = hand.axes[:, 0], []
    for finger in range(4):
        bones = chain(hand, finger)
        along = bones[0] - (bones[0] @ out) * out
        along /= np.linalg.norm(along)
        rest = np.degrees([np.arctan2(bone @ out, bone @ along) for bone in bones])
        own = np.array(bends_deg) - np.diff(rest, prepend=0.0)
        vectors = np.radians(own)[:, None] * np.cross(along, out)
        sideward = Rotation.from_rotvec(np.radians(spread_deg) * out)
        turns += [(sideward * Rotation.from_rotvec(vectors[0])).as_rotvec(), *vectors[1:]]
    return np.array([*turns, *np.zeros((3, 3))])


def posed(hand: Hand, vectors: np.ndarray) -> np.ndarray:
    """The 21 points of a hand whose joints turn so, from the wrist in the axes of the T-pose."""
    points, turns = np.zeros((21, 3)), Rotation.from_rotvec(vectors)
    for finger, row in enumerate((5, 9, 17, 13, 1)):
        place, above = hand.joints[3 * finger], Rotation.identity()
        points[row] = place
        for number, bone in enumerate(chain(hand, finger)):
            above = above * turns[3 * finger + number]
            place = place + above.apply(bone)
            points[row + number + 1] = place
    return points


def seen(points: np.ndarray, turn: np.ndarray, wrist: np.ndarray = WRIST) -> HandPoints:
    """What a network says of the points of a hand; its own axes look straight at it."""
    there = wrist + points @ turn.T
    ends = there[[0, 9]]
    looking = towards((ends / ends[:, 2:]).mean(axis=0))
    return HandPoints(image_points(there, CAMERA), (there - there.mean(axis=0)) @ looking, 0.9)


def pose(hand: Hand, vectors: np.ndarray, noise_m: float = 0.0, seed: int = 0) -> HandPose:
    turn = Rotation.random(random_state=seed).as_matrix()
    noise = np.random.default_rng(seed).normal(0.0, noise_m, (21, 3)) if noise_m else 0.0
    found = pose_hand(seen(posed(hand, vectors) + noise, turn), WRIST, hand, CAMERA)
    assert found is not None
    if not noise_m:
        np.testing.assert_allclose(found.turn, turn, atol=1e-6)
        # It lies at the depth of the body, on its ray in the image.
        np.testing.assert_allclose(found.palm, WRIST + turn @ hand.palm, atol=0.003)
    return found


def off_deg(found: HandPose, vectors: np.ndarray) -> np.ndarray:
    """How far the rotations of the four fingers (12,) are off."""
    there = Rotation.from_rotvec(found.fingers.reshape(15, 3)[:12])
    return np.degrees((there.inv() * Rotation.from_rotvec(vectors[:12])).magnitude())


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("bends", [FLAT, HALF, FIST, (60.0, 10.0, 5.0), (10.0, 80.0, 40.0)])
def test_the_rotations_of_fingers_are_recovered(
    hands: tuple[Hand, Hand], side: int, bends: tuple[float, ...]
) -> None:
    for seed, spread in enumerate((0.0, 12.0, -12.0)):
        if bends[0] > 50.0 and spread:
            continue  # a finger that is bent so far does not spread so far
        vectors = bent(hands[side], bends, spread)
        assert off_deg(pose(hands[side], vectors, seed=seed), vectors).max() < 0.01


def test_points_that_are_off_by_two_millimetres_turn_fingers_by_9_degrees(
    hands: tuple[Hand, Hand],
) -> None:
    vectors = bent(hands[0], HALF, 8.0)
    off = [off_deg(pose(hands[0], vectors, 0.002, seed), vectors) for seed in range(40)]
    assert 5.0 < float(np.mean(off)) < 9.0


def test_thumbs_point_where_they_are_seen_to(hands: tuple[Hand, Hand]) -> None:
    for side, hand in enumerate(hands):
        vectors = bent(hand, FLAT)
        vectors[12:] = np.array([[0.2, 0.3, -0.1], [0.0, 0.3, 0.2], [0.1, 0.4, 0.1]])
        found = pose(hand, vectors, seed=side)
        there = posed(hand, found.fingers.reshape(15, 3))
        np.testing.assert_allclose(there[1:5], posed(hand, vectors)[1:5], atol=1e-6)


def test_grip_tells_flat_half_and_fist_apart(hands: tuple[Hand, Hand]) -> None:
    for hand in hands:
        flat, half, fist = (pose(hand, bent(hand, bends)).grip for bends in (FLAT, HALF, FIST))
        assert flat == 0.0 and 0.4 < half < 0.7 and fist == 1.0
        assert pose(hand, bent(hand, (-15.0, 0.0, 0.0))).grip == 0.0, "bent backwards"


def test_the_mirrored_hand_has_the_mirrored_pose(hands: tuple[Hand, Hand]) -> None:
    left = hands[0]
    right = Hand(
        left.joints * MIRROR,
        left.knuckles * MIRROR,
        left.palm * MIRROR,
        left.axes * MIRROR[:, None] * (1, -1, 1),
    )
    rng = np.random.default_rng(3)
    points = posed(left, bent(left, HALF, 5.0)) + rng.normal(0.0, 0.003, (21, 3))
    straight = np.array([0.0, 0.0, 1.5])
    one = pose_hand(seen(points, np.eye(3), straight), straight, left, CAMERA)
    other = pose_hand(seen(points * MIRROR, np.eye(3), straight), straight, right, CAMERA)
    assert one is not None and other is not None
    assert one.grip == pytest.approx(other.grip)
    np.testing.assert_allclose(one.palm * MIRROR, other.palm, atol=1e-9)
    # A rotation vector is mirrored like an angular velocity.
    mirrored = one.fingers.reshape(15, 3) * -MIRROR
    np.testing.assert_allclose(mirrored, other.fingers.reshape(15, 3), atol=1e-9)


def test_what_no_finger_can_do_is_cut_off(hands: tuple[Hand, Hand]) -> None:
    hand = hands[1]
    backwards = pose(hand, bent(hand, (60.0, -45.0, 0.0))).fingers.reshape(15, 3)
    allowed = bent(hand, (60.0, BENDS_DEG[1][0], 0.0))
    np.testing.assert_allclose(backwards[1], allowed[1], atol=1e-6)
    apart = pose(hand, bent(hand, FLAT, 45.0)).fingers.reshape(15, 3)
    sideward = apart[0] @ hand.axes[:, 0]
    assert np.degrees(sideward) == pytest.approx(SPREAD_DEG, abs=1.5)
    wild = np.random.default_rng(1).normal(0.0, 0.05, (21, 3))
    found = pose_hand(seen(wild, np.eye(3)), WRIST, hand, CAMERA)
    assert found is not None and np.isfinite(found.fingers).all() and 0.0 <= found.grip <= 1.0
    angles = np.degrees(np.linalg.norm(found.fingers.reshape(15, 3), axis=1))
    assert angles.max() < 130.0


def test_a_palm_that_is_taken_for_the_back_of_the_hand_is_refused(
    hands: tuple[Hand, Hand],
) -> None:
    """Its fingers would bend backwards."""
    hand = hands[0]
    points = posed(hand, bent(hand, HALF))
    turn = Rotation.random(random_state=1).as_matrix()
    assert pose_hand(seen(points, turn), WRIST, hand, CAMERA) is not None
    flipped = points - 2.0 * np.outer(points @ hand.axes[:, 0], hand.axes[:, 0])
    assert pose_hand(seen(flipped, turn), WRIST, hand, CAMERA) is None


def test_a_hand_beside_that_of_the_body_is_somebody_elses(hands: tuple[Hand, Hand]) -> None:
    points = seen(posed(hands[0], bent(hands[0], HALF)), np.eye(3))
    assert pose_hand(points, WRIST, hands[0], CAMERA) is not None
    assert pose_hand(points, WRIST + np.array([0.0, 0.2, 0.0]), hands[0], CAMERA) is None
    assert pose_hand(points, WRIST * [1, 1, -1], hands[0], CAMERA) is None


def test_all_points_in_one_place_are_no_error(hands: tuple[Hand, Hand]) -> None:
    points = HandPoints(np.full((21, 2), 300.0), np.zeros((21, 3)), 0.9)
    found = pose_hand(points, np.array([0.0, 0.1, 1.5]), hands[0], CAMERA)
    assert found is None or np.isfinite(found.fingers).all()
