"""Retargeting of another skeleton's motion to the 22 SMPL-X joints, z up, on the floor.

Bones whose direction a rest pose fixes (arms and legs) keep their direction in space: the target's
rest direction is rotated onto the source's before the source's rotation. All others keep their
rotation relative to the rest pose. The translation is scaled by the length of the legs, so that
feet meet the floor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from moro_ros.body.body_model import BodyModel
from moro_ros.body.topology import JOINT_NAMES, NUM_JOINTS, PARENTS
from moro_ros.data.mocap import resample_motion
from moro_ros.errors import DataError
from moro_ros.geometry.rotation import matrix_to_rotvec, rotvec_to_matrix

FPS = 30.0
# Joint -> the joint at the other end of its bone.
LIMBS = {1: 4, 2: 5, 4: 7, 5: 8, 16: 18, 17: 19, 18: 20, 19: 21}
HANDS = {20: 18, 21: 19}  # no joint beyond; in rest the hand continues the forearm
# In rest a foot is aligned with its shin: if a skeleton spreads its legs, the soles tilt too.
FEET = {7: 4, 8: 5, 10: 4, 11: 5}
SOLE_SHARE = 0.15  # of a foot's vertices, the lowest ones
STANDING_SPEED = 0.25  # m/s, a slower sole is standing
FLOOR_SHARE = 0.3  # share of standing soles below the floor; steps and stools are higher
FLOOR_SHARE_AIRBORNE = 0.02  # if no sole ever stands
Z_FROM_Y_UP = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
# A higher speed is caused by confused markers.
LARGEST_SPEED = 13.0  # m/s, relative to the pelvis
LARGEST_PLACE = 1e5  # m from the origin; a larger distance is an error
LARGEST_TURN = np.radians(40.0)  # per frame at 30 Hz, of trunk and legs
STEADY_JOINTS = (0, 1, 2, 3, 4, 5, 6, 9, 12, 15)
MARGIN = 3  # frames around a spike that are also removed
SHORTEST_BONE = 1e-3  # of the legs' length; shorter ones have no direction
SHORTEST = 30  # frames of a clip
# Frames of a source that are converted at once, 5 min at 120 Hz: about 0.5 GB.
BLOCK = 36_000


@dataclass(frozen=True, slots=True)
class SourceMotion:
    """Another skeleton's motion; y up, in rest facing +z with the left hand at +x.

    rotations: (F, 22, 3, 3) of the bone that drives each SMPL-X joint, in the world, relative to
    the rest pose; rest: (22, 3) rest positions of the joints, any unit and origin; hips: (F, 3) the
    middle of the hip joints, same unit; rate_hz: of the frames.
    """

    rotations: np.ndarray
    rest: np.ndarray
    hips: np.ndarray
    rate_hz: float


@dataclass(frozen=True, slots=True)
class TargetSkeleton:
    """The target body, mean shape, y up.

    rest: joints (22, 3) m about the pelvis; soles: for each foot joint of FEET the points (N, 3) m
    under the foot, about that joint.
    """

    body: BodyModel
    rest: np.ndarray
    soles: dict[int, np.ndarray]


def target_skeleton(body: BodyModel) -> TargetSkeleton:
    """Return the mean-shape skeleton of a body model."""
    joints = body.joint_template[:NUM_JOINTS].double().numpy()
    vertices, owner = body.template.double().numpy(), body.vertex_parts()
    soles = {}
    for joint in FEET:
        foot = vertices[owner == joint]
        low = foot[foot[:, 1] < np.quantile(foot[:, 1], SOLE_SHARE)]
        soles[joint] = low - joints[joint]
    return TargetSkeleton(body, joints - joints[0], soles)


def retarget(source: SourceMotion, target: TargetSkeleton) -> tuple[np.ndarray, np.ndarray]:
    """Return rotation vectors (F, 22, 3) rad and pelvis (F, 3) m at 30 Hz, float32.

    Raises: DataError if the source's rest pose does not face +z or has a bone without length, or
    if its values are too large.
    """
    check_facing(source.rest)
    world = source.rotations @ alignment(source.rest, target.rest)
    local = world.copy()
    local[:, 1:] = world[:, list(PARENTS[1:])].swapaxes(-1, -2) @ world[:, 1:]
    scale = leg_length(target.rest) / leg_length(source.rest)
    # Hips are where the source's are; the pelvis follows from the target's own hips.
    pelvis = scale * source.hips - world[:, 0] @ ((target.rest[1] + target.rest[2]) / 2)
    local[:, 0] = Z_FROM_Y_UP @ local[:, 0]
    rotations = matrix_to_rotvec(torch.from_numpy(local)).float().numpy()
    places = pelvis @ Z_FROM_Y_UP.T
    if not (np.isfinite(rotations).all() and np.abs(places).max(initial=0) < LARGEST_PLACE):
        raise DataError("its values give no valid position or rotation")
    rotations, places = resample_motion(rotations, places.astype(np.float32), source.rate_hz, FPS)
    return rotations, on_the_floor(rotations, places, target)


def check_facing(rest: np.ndarray) -> None:
    """Raise DataError unless the left hip is at +x of the right one and the knees below."""
    across, leg = rest[1] - rest[2], leg_length(rest)
    wide = float(np.linalg.norm(across))
    if not np.isfinite(rest).all() or leg <= 0 or wide <= 0:
        raise DataError("its skeleton has hips or legs of zero length")
    for joint, child in LIMBS.items():
        if not np.linalg.norm(rest[child] - rest[joint]) > SHORTEST_BONE * leg:
            raise DataError(
                f"its skeleton has zero length from {JOINT_NAMES[joint]} to {JOINT_NAMES[child]}"
            )
    if across[0] < 0.8 * wide or rest[4][1] > rest[1][1]:
        raise DataError("its rest pose does not stand upright along y, facing +z")


def alignment(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the rotation (22, 3, 3) from the target's rest pose to the source's."""
    turns = np.tile(np.eye(3), (NUM_JOINTS, 1, 1))
    for joint, child in LIMBS.items():
        turns[joint] = shortest_arc(target[child] - target[joint], source[child] - source[joint])
    for joint, forearm in HANDS.items():
        turns[joint] = turns[forearm]
    for joint, shin in FEET.items():
        bones = [rest[LIMBS[shin]] - rest[shin] for rest in (target, source)]
        turns[joint] = shortest_arc(*(bone * (1, 1, 0) for bone in bones))
    return turns


def shortest_arc(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the smallest rotation (3, 3) of one direction onto another, which is not opposite."""
    lengths = np.linalg.norm(first), np.linalg.norm(second)
    if min(lengths) == 0:
        raise DataError("its rest pose has shins that point forward")
    a, b = first / lengths[0], second / lengths[1]
    cosine = float(a @ b)
    if cosine < -0.99:
        raise DataError("its rest pose is a limb folded back on itself")
    x, y, z = np.cross(a, b)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + cross + cross @ cross / (1 + cosine)


def leg_length(rest: np.ndarray) -> float:
    """Return the mean length of both legs, hip to ankle."""
    bones = [rest[low] - rest[high] for high, low in ((1, 4), (4, 7), (2, 5), (5, 8))]
    return float(np.linalg.norm(bones, axis=1).sum() / 2)


def world_joints(
    rotations: np.ndarray, places: np.ndarray, target: TargetSkeleton
) -> tuple[np.ndarray, np.ndarray]:
    """Return the joints' rotations (F, 22, 3, 3) and positions (F, 22, 3) m of a motion."""
    chain = rotvec_to_matrix(torch.from_numpy(rotations))
    rest = torch.from_numpy(target.rest.astype(np.float32))
    turns, joints = target.body.forward_kinematics(chain, rest.expand(len(chain), -1, -1))
    return turns.numpy(), joints.numpy() + places[:, None]


def on_the_floor(rotations: np.ndarray, places: np.ndarray, target: TargetSkeleton) -> np.ndarray:
    """Return the pelvis with the floor at z = 0, first frame at x = y = 0.

    The floor is where the soles stand still; a motion that never stands touches it with its lowest
    frames.
    """
    turns, joints = world_joints(rotations, places, target)
    lowest, standing = [], []
    for joint, points in target.soles.items():
        height = (points @ turns[:, joint, 2].T).min(0) + joints[:, joint, 2]
        speed = np.linalg.norm(velocity(joints[:, joint]), axis=-1)
        lowest.append(height)
        standing.append(speed < STANDING_SPEED)
    low = np.stack(lowest)
    # Only the lower end of a standing foot is used: the heel of a tiptoe is not the floor.
    under = np.minimum(low[:2], low[2:])
    still = under[np.logical_and(standing[:2], standing[2:])]
    if still.size >= FPS / 3:
        floor = float(np.quantile(still, FLOOR_SHARE))
    else:
        floor = float(np.quantile(under.min(0), FLOOR_SHARE_AIRBORNE))
    return (places - np.array([places[0, 0], places[0, 1], floor])).astype(np.float32)


def velocity(places: np.ndarray) -> np.ndarray:
    """Return the velocity (F, 3) m/s of positions (F, 3) m at 30 Hz; 0 for a single one."""
    return np.gradient(places, axis=0) * FPS if len(places) > 1 else np.zeros_like(places)


def whole_parts(rotations: np.ndarray, places: np.ndarray, target: TargetSkeleton) -> list[slice]:
    """Return the frames between tracking errors, each part of a second or more."""
    relative = world_joints(rotations, places, target)[1] - places[:, None]
    speed = np.linalg.norm(np.diff(relative, axis=0), axis=-1).max(1) * FPS
    steady = rotvec_to_matrix(torch.from_numpy(rotations[:, list(STEADY_JOINTS)]))
    step = matrix_to_rotvec(steady[:-1].mT @ steady[1:]).norm(dim=-1).amax(1).numpy()
    spikes = np.flatnonzero((speed > LARGEST_SPEED) | (step > LARGEST_TURN))
    good = np.ones(len(places) + 2, bool)
    good[[0, -1]] = False
    for spike in spikes:
        good[max(1, spike + 1 - MARGIN) : spike + 3 + MARGIN] = False
    edges = np.flatnonzero(np.diff(good.astype(int)))
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [slice(int(a), int(b)) for a, b in pairs if b - a >= SHORTEST]
