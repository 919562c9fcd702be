"""The pose of a hand from its 21 landmarks: orientation, fingers and grip; or from its knuckles.

It is derived from the directions between the points, because a network that only sees a hand knows
neither its distance nor its size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from moro_ros.body.anatomy import Hand
from moro_ros.geometry.lens import normalised_points
from moro_ros.types import Camera, HandPoints

# Rows of HandPoints: the wrist, the knuckle of the middle finger, and those of all four fingers.
WRIST, MIDDLE_KNUCKLE, KNUCKLES = 0, 9, (5, 9, 13, 17)
# The first row of each finger, in the order of the body's joints: index, middle, pinky, ring. Three
# more rows follow, to the tip. The thumb's are the last joints.
FINGERS, THUMB = (5, 9, 17, 13), 1
# Limits of fingers [deg]: bend of knuckles and the two joints after them back and forth from a flat
# hand, spread of knuckles to each side, and rotation of the joints of a thumb.
BENDS_DEG = ((-30.0, 95.0), (-10.0, 115.0), (-15.0, 85.0))
SPREAD_DEG = 22.0
THUMB_DEG = (50.0, 60.0, 85.0)
# Measured bends of a finger, summed over its joints [deg], of a flat hand and of a fist
# (docs/targets.md).
FLAT_DEG, FIST_DEG = 20.0, 190.0
# If fingers bend backwards by more (same sum), the palm was mistaken for the back of the hand,
# which happens with hands seen from the side.
BACKWARDS_DEG = -30.0
# A hand farther [m] from that of the recovered body belongs to another person.
FARTHEST_M = 0.15
# Errors of a seen knuckle and of the recovered orientation of a hand: the weights of the fit.
KNUCKLE_M, TURN_RAD = 0.012, 0.7
# Maximum distance of fitted knuckles from the seen ones (root mean square).
FITTING_M = 0.03
ROUNDS = 6


@dataclass(frozen=True, slots=True)
class HandPose:
    """The observed pose of one hand of a person.

    score: probability that it is a hand; grip: 0 flat to 1 a fist; palm: (3,) m, the middle of the
    palm's skin, camera frame; turn: (3, 3) orientation of the hand, which is that of the wrist
    joint of a hand that is straight; fingers: (45,) rotation vectors [rad] of the 15 finger joints
    relative to their parents, SMPL-X order.
    """

    score: float
    grip: float
    palm: np.ndarray
    turn: np.ndarray
    fingers: np.ndarray


def pose_hand(points: HandPoints, wrist: np.ndarray, hand: Hand, camera: Camera) -> HandPose | None:
    """Return the pose of a hand, at the distance of the body's wrist.

    wrist: (3,) m, the body's wrist, camera frame; hand: of the person's shape and the same side.
    None if the points are not at the body's hand, if the fingers would bend backwards, or if the
    lens is unknown.
    """
    ends = points.points_px[[WRIST, MIDDLE_KNUCKLE]]
    plane, sound = normalised_points(ends, camera)
    if not sound.all() or wrist[2] <= 0.0:
        return None
    ray = np.append(plane.mean(axis=0), 1.0)
    seen = points.points @ towards(ray).T
    seen = seen - seen[WRIST]
    rest = hand.joints[[3 * FINGERS.index(row) for row in KNUCKLES]]
    turn = _aligned(rest, seen[list(KNUCKLES)])
    # The middle of the hand is moved onto its ray, at the depth that it has on the body.
    inside = hand.joints[3] / 2
    expected = wrist + turn @ inside
    place = ray * expected[2]
    if not np.linalg.norm(place - expected) < FARTHEST_M:
        return None
    fingers, bent = bend_fingers(seen @ turn, hand)
    bent_deg = math.degrees(bent)
    if bent_deg < BACKWARDS_DEG:
        return None
    grip = min(max((bent_deg - FLAT_DEG) / (FIST_DEG - FLAT_DEG), 0.0), 1.0)
    return HandPose(points.score, grip, place + turn @ (hand.palm - inside), turn, fingers)


def towards(ray: np.ndarray) -> np.ndarray:
    """Return the smallest rotation (3, 3) of the camera's z axis onto a ray (3,)."""
    return _shortest(np.array([0.0, 0.0, 1.0]), ray, math.pi)


def bend_fingers(points: np.ndarray, hand: Hand) -> tuple[np.ndarray, float]:
    """Return the rotations (45,) rad of the finger joints, and the bend of the fingers, rad.

    points: (21, 3) in the axes of the hand at rest. Each joint gets the direction of the segment
    after it: a knuckle bends and spreads, the joints after it bend, those of the thumb use the
    shortest rotation. Angles are limited to what fingers can do. The second number is the sum over
    the joints of a finger, the mean of the four, from a flat hand.
    """
    out = hand.axes[:, 0]
    turns, sums = [], []
    for number, row in enumerate(FINGERS):
        rest, seen = hand.joints[3 * number : 3 * number + 3], points[row : row + 4]
        bones = np.diff(rest, axis=0)
        rotations, bent = _finger(bones, np.diff(seen, axis=0), out)
        turns += rotations
        sums.append(bent)
    bones = np.diff(hand.joints[12:15], axis=0)
    turns += _thumb(bones, np.diff(points[THUMB : THUMB + 4], axis=0))
    return Rotation.from_matrix(np.stack(turns)).as_rotvec().ravel(), float(np.mean(sums))


def _finger(bones: np.ndarray, seen: np.ndarray, out: np.ndarray) -> tuple[list[np.ndarray], float]:
    """The rotations of a finger's three joints, and its bend out of the palm's plane.

    bones: (2, 3) at rest; seen: (3, 3), the directions of the three bones.
    """
    along = _unit(bones[0] - (bones[0] @ out) * out)
    hinge, across = np.cross(along, out), np.cross(out, along)
    # The last bone has no joint at its end, and continues the one before at rest.
    at_rest = [_angle(bone, along, out) for bone in (*bones, bones[1])]
    first = seen[0]
    forward, sideways = first @ along, first @ across
    # A finger bent at a right angle cannot spread.
    straight = math.hypot(forward, sideways) / max(float(np.linalg.norm(first)), 1e-9)
    limit = math.radians(SPREAD_DEG) * straight
    spread = math.atan2(math.copysign(1.0, forward) * sideways, abs(forward))
    sideward = _about(out, float(np.clip(spread, -limit, limit)))
    turns, before_seen, before_rest, total = [], 0.0, 0.0, 0.0
    for bone, rest, (low, high) in zip(seen, at_rest, BENDS_DEG, strict=True):
        angle = _angle(sideward.T @ bone, along, out)
        # A finger bends further, not back the long way round.
        bend = (angle - before_seen + math.pi / 2) % (2 * math.pi) - math.pi / 2
        total += bend
        bend = min(max(bend, math.radians(low)), math.radians(high))
        turns.append(_about(hinge, bend - (rest - before_rest)))
        before_seen, before_rest = angle, rest
    turns[0] = sideward @ turns[0]
    return turns, total


def _thumb(bones: np.ndarray, seen: np.ndarray) -> list[np.ndarray]:
    """The rotations of the thumb's three joints; the arguments are those of _finger."""
    turns, above = [], np.eye(3)
    for bone, there, limit in zip((*bones, bones[1]), seen, THUMB_DEG, strict=True):
        turn = _shortest(bone, above.T @ there, math.radians(limit))
        above = above @ turn
        turns.append(turn)
    return turns


def _aligned(rest: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The rotation (3, 3) that turns vectors (N, 3) onto others as nearly as possible."""
    left, _, right = np.linalg.svd(seen.T @ rest)
    mirror = np.sign(np.linalg.det(left @ right))
    return np.asarray(left @ np.diag([1.0, 1.0, mirror]) @ right)


def _angle(bone: np.ndarray, along: np.ndarray, out: np.ndarray) -> float:
    return math.atan2(float(bone @ out), float(bone @ along))


def _about(axis: np.ndarray, angle: float) -> np.ndarray:
    return np.asarray(Rotation.from_rotvec(angle * axis).as_matrix())


def _shortest(start: np.ndarray, end: np.ndarray, limit: float) -> np.ndarray:
    """The smallest rotation that turns one vector onto another, of an angle up to a limit."""
    axis = np.cross(_unit(start), _unit(end))
    angle = math.atan2(float(np.linalg.norm(axis)), float(_unit(start) @ _unit(end)))
    return _about(_unit(axis), min(angle, limit))


def _unit(vector: np.ndarray) -> np.ndarray:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9))


def fit_hand(
    knuckles: np.ndarray, wrist: np.ndarray, turn: np.ndarray, seen: np.ndarray
) -> np.ndarray | None:
    """Rotate a hand about its wrist so that its knuckles match the seen ones.

    knuckles: (N, 3) m from the wrist in the hand's own frame; wrist: (3,) m, camera frame; turn:
    (3, 3), the initial orientation; seen: (N, 2), the knuckles on the normalised image plane.
    Damped Gauss-Newton; the result stays as near to `turn` as the knuckles allow, because two
    orientations of a hand may look alike.
    Returns (3, 3), or None if no orientation near `turn` fits.
    """
    if wrist[2] <= 0.0:
        return None
    found, prior = turn, np.zeros(3)
    for _ in range(ROUNDS):
        off, slope = _residuals(knuckles, wrist, found, seen)
        normal = slope.T @ slope / KNUCKLE_M**2 + np.eye(3) / TURN_RAD**2
        step = np.linalg.solve(normal, -slope.T @ off / KNUCKLE_M**2 - prior / TURN_RAD**2)
        found, prior = Rotation.from_rotvec(step).as_matrix() @ found, prior + step
    off, _ = _residuals(knuckles, wrist, found, seen)
    fits = float(np.sqrt((off**2).mean())) < FITTING_M
    return found if fits else None


def _residuals(
    knuckles: np.ndarray, wrist: np.ndarray, turn: np.ndarray, seen: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The errors of the knuckles (2 N,) m, and their derivative by a small rotation (2 N, 3)."""
    arms = knuckles @ turn.T
    points = wrist + arms
    depth = np.maximum(points[:, 2:], 1e-3)
    off = (points[:, :2] / depth - seen) * wrist[2]
    # d p = d w x arm; of x / z: (d x - x / z d z) / z.
    slopes = np.cross(np.eye(3)[None], arms[:, None])  # (N, w, xyz)
    plane = points[:, :2] / depth
    slope = (slopes[..., :2] - plane[:, None] * slopes[..., 2:]) / depth[:, None] * wrist[2]
    return off.ravel(), slope.swapaxes(1, 2).reshape(-1, 3)
