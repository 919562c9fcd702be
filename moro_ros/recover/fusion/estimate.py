"""From motions of single cameras to the solver's input, and from its solution to a motion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from moro_ros.body.size import BodySize
from moro_ros.body.topology import NUM_JOINTS, PARENTS
from moro_ros.geometry.lens import normalised_points
from moro_ros.geometry.rotation import matrix_to_rotvec, rotvec_to_matrix
from moro_ros.geometry.views import View
from moro_ros.recover.fusion.clothes import UNKNOWN, clothes_of
from moro_ros.recover.fusion.looks import Key, Look
from moro_ros.recover.fusion.solver import KEYPOINT_SHARE, TURNS, Expected, ViewTerm
from moro_ros.recover.ground import moved
from moro_ros.recover.refinement import PlacedBody, smplx_of
from moro_ros.types import NUM_KEYPOINTS, PRIOR, BodyMotion, Frame, PersonObservation

# Minimum visibility of a keypoint that is used.
VISIBLE = 0.5
# Spread of the pelvis if the network gives no covariance: across the line of sight, m, and along
# it, as a share of the distance.
ACROSS_M, ALONG = 0.1, 0.1
# Nobody's stature is known better than this, relative: shoes and the posture while measured.
LEAST_SIGMA = 0.01
LEAST_BOX = 1e-3
# No camera's direction is known better than this, rad; nobody is nearer to one than this, m.
LEAST_ANGLE, LEAST_RANGE_M = 1e-3, 0.1
# Weight of a rotation in a view that does not see what it moves, if another view does. The variance
# of seen joints is 0.02 (legs) to 0.28 (arms) of that of hidden ones by the measured uncertainty.
HIDDEN = 0.1
# (22, 22): the joints that a rotation moves directly; of the last of a limb, the joint itself.
_MOVED = np.array([[parent == j for parent in PARENTS] for j in range(NUM_JOINTS)])
_MOVED |= np.diag(~_MOVED.any(1))


def tensor(values: object) -> Tensor:
    """Return numbers as a float32 tensor."""
    return torch.from_numpy(np.asarray(values, np.float32))


def look_of(person: PersonObservation, frame: Frame, motion: BodyMotion) -> Look:
    """Return one camera's look at one person; frame: of that image; motion: of the person."""
    if person.keypoints is None:
        unseen = np.zeros((NUM_KEYPOINTS, 2))
        return Look(frame.stamp_ns, unseen, np.zeros(NUM_KEYPOINTS), 1.0, motion)
    points, sound = normalised_points(person.keypoints.points_px, frame.camera)
    seen = sound & (person.keypoints.visibility > VISIBLE)
    weight = np.where(seen, person.keypoints.visibility, 0.0)
    box = float(np.ptp(points[seen], axis=0).max()) if seen.any() else 1.0
    clothes = UNKNOWN if frame.image is None else clothes_of(frame.image, person.keypoints)
    return Look(frame.stamp_ns, points, weight, max(box, LEAST_BOX), motion, clothes)


def network_body(view: View, look: Look) -> PlacedBody:
    """Return one camera's estimate of a person (N = 1), in the world frame at the look's time."""
    smplx = look.motion.smplx
    turns = torch.from_numpy(np.concatenate([smplx.global_orient, smplx.body_pose], 1))
    local = rotvec_to_matrix(turns[-1].unflatten(-1, (-1, 3)))
    root = tensor(view.rotation.T) @ local[:1]
    place = pelvis_at(look.motion, look.stamp_ns)
    return PlacedBody(torch.cat([root, local[1:]])[None], tensor(view.world(place[None])))


def pelvis_at(motion: BodyMotion, stamp_ns: int) -> np.ndarray:
    """Return the pelvis (3,) m of a motion extrapolated to another time with its velocity."""
    elapsed_s = (stamp_ns - int(motion.stamps_ns[-1])) * 1e-9
    return np.asarray(motion.joints[-1, 0] + elapsed_s * motion.velocity[-1, 0])


def place_precision(view: View, motion: BodyMotion) -> np.ndarray:
    """Return the inverse covariance of the network's pelvis, (3, 3) 1/m^2, world axes."""
    covariance = motion.covariance[-1, 0].astype(np.float64)
    if not covariance.any():
        distance = float(np.linalg.norm(motion.joints[-1, 0]))
        sight = motion.joints[-1, 0].astype(np.float64) / max(distance, 1e-6)
        along = np.outer(sight, sight)
        covariance = ACROSS_M**2 * (np.eye(3) - along) + (ALONG * distance) ** 2 * along
    return np.asarray(view.rotation.T @ np.linalg.inv(covariance) @ view.rotation)


def extrinsics_covariance(sights: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Return the covariance of a person's place by the errors of the extrinsics, (3, 3) m^2.

    A camera's direction is only known as well as its keypoints agree with the others'. Along its
    line of sight a camera alone knows the place to ALONG. sights: (C, 3) m, from the cameras to the
    pelvis; angles: (C,) rad, the residuals of their keypoints, NaN without any.
    """
    total = np.zeros((3, 3))
    for sight, angle in zip(sights, angles, strict=True):
        if np.isfinite(angle):
            square_m2 = max(float(sight @ sight), LEAST_RANGE_M**2)
            along = np.outer(sight, sight) / square_m2
            across = np.eye(3) - along
            total += (across / max(angle, LEAST_ANGLE) ** 2 + along / ALONG**2) / square_m2
    return np.asarray(np.linalg.inv(total))


def turn_weights(looks: Sequence[Look], used: Sequence[bool]) -> np.ndarray:
    """Return the weights (C, 22) of the views' rotations, by which views see what they move.

    Rotations that no used view sees have the weight 1 in all of them; used: (C,).
    """
    seen = np.stack([look.motion.observed[-1] for look in looks]) @ _MOVED.T
    weight = np.where(seen, 1.0, HIDDEN) * np.array(used)[:, None]
    return np.asarray(weight / weight.max(0))


def known_stature(size: BodySize, looks: Sequence[Look]) -> tuple[float, float]:
    """Return the stature [m] of the view that knows the distance best, and its precision, 1/m^2.

    Only views whose distance has other sources than the network count; 0, 0 without any.
    """
    motions = [look.motion for look in looks]
    known = [(m.place.sigma, m) for m in motions if m.place and m.place.source != PRIOR]
    if not known:
        return 0.0, 0.0
    sigma, motion = min(known, key=lambda one: one[0])
    stature_m = size.stature(tensor(motion.smplx.betas))
    return stature_m, (max(sigma, LEAST_SIGMA) * stature_m) ** -2


def view_terms(
    views: list[View],
    looks: list[Look],
    networks: list[PlacedBody],
    size: BodySize,
    used: Sequence[bool] | None = None,
) -> ViewTerm:
    """Return the solver's input from looks at one person, each with its view.

    size: of the body model; used: (C,), whether a view counts; None: all do. The residuals of
    views that do not count are computed, too.
    """
    used = [True] * len(looks) if used is None else used
    counts = np.array(used, np.float64)
    precisions = [place_precision(v, look.motion) for v, look in zip(views, looks, strict=True)]
    return ViewTerm(
        rotation=tensor([view.rotation for view in views]),
        translation=tensor([view.translation for view in views]),
        points=tensor([look.points for look in looks]),
        weight=tensor(counts[:, None] * np.stack([look.weight for look in looks])),
        spread=KEYPOINT_SHARE * tensor([look.box_size for look in looks]),
        network=PlacedBody(
            torch.cat([body.rotations for body in networks]),
            torch.cat([body.translation for body in networks]),
        ),
        turn_weight=tensor(turn_weights(looks, used)),
        place_precision=tensor(counts[:, None, None] * np.stack(precisions)),
        betas=tensor([look.motion.smplx.betas for look in looks]),
        stature=known_stature(size, [look for look, one in zip(looks, used, strict=True) if one]),
    )


def stepped(
    body: PlacedBody,
    before: Mapping[Key, PlacedBody],
    now: Mapping[Key, PlacedBody],
    frames: float,
) -> Expected:
    """Return a body advanced by the mean step of the networks of the views known both times.

    frames: between the two.
    """
    steps = [(before[key], now[key]) for key in now if key in before]
    if not steps:
        return Expected(body, torch.zeros(TURNS + 3), frames)
    turns = torch.stack([matrix_to_rotvec(a.rotations.mT @ b.rotations) for a, b in steps]).mean(0)
    place = torch.stack([b.translation - a.translation for a, b in steps]).mean(0)
    # Each joint gets the same freedom in all directions.
    amount = turns[0].norm(dim=-1).repeat_interleave(3)
    size = torch.cat([amount, place.norm().expand(3)])
    moved_on = PlacedBody(body.rotations @ rotvec_to_matrix(turns), body.translation + place)
    return Expected(moved_on, size, frames)


def in_world(view: View, look: Look, person: int) -> BodyMotion:
    """Return one camera's own motion in the world frame, at the time of a look."""
    motion = look.motion
    shift = pelvis_at(motion, look.stamp_ns) - motion.joints[-1, 0]
    placed = moved(motion, view.rotation.T, view.centre + view.rotation.T @ shift)
    return replace(placed, track_id=person, stamps_ns=np.array([look.stamp_ns], np.int64))


def fused_motion(
    person: int,
    looks: list[Look],
    body: PlacedBody,
    chain: Tensor,
    joints: np.ndarray,
    betas: Tensor,
    pelvis_rest: Tensor,
) -> BodyMotion:
    """Return a solved body as a motion (F = 1) in the world frame, without velocity and covariance.

    looks: all of one time; chain: (22, 3, 3) rotations of the joints; joints: (22, 3) m.
    """
    motions = [look.motion for look in looks]
    best = max(looks, key=lambda look: float(look.weight.sum())).motion
    seen = np.array([look.weight.any() for look in looks])
    return BodyMotion(
        track_id=person,
        stamps_ns=np.array([looks[0].stamp_ns], np.int64),
        joints=joints[None],
        joint_rotations=chain[None].numpy(),
        velocity=np.zeros((1, *joints.shape), np.float32),
        covariance=np.zeros((1, *joints.shape, 3), np.float32),
        confidence=np.max([motion.confidence[-1:] for motion in motions], 0),
        observed=np.any([motion.observed[-1:] for motion in motions], 0),
        contact=np.mean([motion.contact[-1:] for motion in motions], 0),
        smplx=smplx_of(body, betas, pelvis_rest),
        vertices=None,
        token_ids=best.token_ids[-1:],
        keypoints_seen=np.array([bool(seen.any())]),
        held=np.zeros(1, bool),
    )
