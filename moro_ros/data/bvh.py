"""BVH motion files: the parser, and the skeletons of the CMU conversions.

Three conversions of the CMU database are in use, by cgspeed (B. Hahne) for MotionBuilder, DAZ and
3ds Max; each names the bones in its own way. MotionBuilder's and DAZ's begin with a T-pose frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from moro_ros.data.retarget import SourceMotion
from moro_ros.errors import DataError

# Conversion -> the bone that drives each of the 22 SMPL-X joints.
SKELETONS: dict[str, tuple[str, ...]] = {
    "MotionBuilder": (
        "Hips", "LeftUpLeg", "RightUpLeg", "LowerBack", "LeftLeg", "RightLeg", "Spine", "LeftFoot",
        "RightFoot", "Spine1", "LeftToeBase", "RightToeBase", "Neck", "LeftShoulder",
        "RightShoulder", "Head", "LeftArm", "RightArm", "LeftForeArm", "RightForeArm",
        "LeftFingerBase", "RightFingerBase",
    ),
    "3ds Max": (
        "Hips", "LeftHip", "RightHip", "lowerback", "LeftKnee", "RightKnee", "Chest", "LeftAnkle",
        "RightAnkle", "Chest2", "LeftToe", "RightToe", "lowerneck", "LeftCollar", "RightCollar",
        "Head", "LeftShoulder", "RightShoulder", "LeftElbow", "RightElbow", "lhand", "rhand",
    ),
    # Two bones of the spine, and no toes.
    "DAZ": (
        "hip", "lThigh", "rThigh", "abdomen", "lShin", "rShin", "chest", "lFoot", "rFoot", "chest",
        "lFoot", "rFoot", "neck", "lCollar", "rCollar", "head", "lShldr", "rShldr", "lForeArm",
        "rForeArm", "lHand", "rHand",
    ),
}  # fmt: skip
# Where the forearm ends; the bone that moves the hand may begin farther out.
WRISTS = {
    "MotionBuilder": ("LeftHand", "RightHand"),
    "3ds Max": ("LeftWrist", "RightWrist"),
    "DAZ": ("lHand", "rHand"),
}
# A step that no person makes within one frame, and that the next steps do not come near.
T_POSE_STEP = np.radians(10.0)
T_POSE_RATIO = 3.0


@dataclass(frozen=True, slots=True)
class Bone:
    """A joint of a BVH file: its parent (-1 for the root), offset (3,) and channels."""

    name: str
    parent: int
    offset: np.ndarray
    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BvhFile:
    """A parsed file: bones, parents first; values (F, all channels); rate_hz."""

    bones: tuple[Bone, ...]
    values: np.ndarray
    rate_hz: float


def read_bvh(path: Path) -> BvhFile:
    """Read a BVH file.

    Raises: DataError with the reason if it is damaged.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"it cannot be read ({error})") from error
    head, found, motion = text.partition("MOTION")
    if not found or "HIERARCHY" not in head:
        raise DataError("it has no HIERARCHY and MOTION: not a BVH file, or cut off")
    bones = parse_hierarchy(head.split())
    return BvhFile(bones, *parse_motion(motion, sum(len(bone.channels) for bone in bones)))


def parse_hierarchy(words: list[str]) -> tuple[Bone, ...]:
    """Return the bones of the words before MOTION."""
    bones: list[Bone] = []
    open_bones: list[int] = []  # -1 stands for an end site
    pending, position = -1, 0
    try:
        while position < len(words):
            word = words[position]
            if word in ("ROOT", "JOINT"):
                parent = open_bones[-1] if open_bones else -1
                bones.append(Bone(words[position + 1], parent, np.zeros(3), ()))
                pending, position = len(bones) - 1, position + 2
            elif word == "End":
                pending, position = -1, position + 2
            elif word == "{":
                open_bones.append(pending)
                position += 1
            elif word == "}":
                open_bones.pop()
                position += 1
            elif word == "OFFSET":
                offset = np.array([float(value) for value in words[position + 1 : position + 4]])
                if open_bones[-1] >= 0:
                    bone = bones[open_bones[-1]]
                    bones[open_bones[-1]] = Bone(bone.name, bone.parent, offset, bone.channels)
                position += 4
            elif word == "CHANNELS":
                count = int(words[position + 1])
                channels = tuple(words[position + 2 : position + 2 + count])
                bone = bones[open_bones[-1]]
                bones[open_bones[-1]] = Bone(bone.name, bone.parent, bone.offset, channels)
                position += 2 + count
            else:
                position += 1
    except (IndexError, ValueError) as error:
        raise DataError(f"its HIERARCHY is damaged ({error})") from error
    if open_bones or not bones:
        raise DataError("its HIERARCHY is cut off")
    return tuple(bones)


def parse_motion(text: str, channels: int) -> tuple[np.ndarray, float]:
    """Return the values (F, channels) and the rate [Hz] of the text after MOTION."""
    words = text.split()
    try:
        count, step = int(words[words.index("Frames:") + 1]), words.index("Time:")
        seconds = float(words[step + 1])
        values = np.array(words[step + 2 :], np.float64)
    except (ValueError, IndexError) as error:
        raise DataError(f"its MOTION is damaged ({error})") from error
    if seconds <= 0 or channels == 0 or len(values) == 0 or len(values) % channels:
        raise DataError(
            f"its MOTION has {len(values)} values for {channels} channels, {seconds} s a frame"
        )
    if len(values) < count * channels or not np.isfinite(values).all():
        raise DataError(f"its MOTION has {len(values) // channels} whole frames of {count}")
    return values.reshape(-1, channels), 1.0 / seconds


def bvh_motion(file: BvhFile, rate_hz: float | None = None) -> SourceMotion:
    """Return the motion of a file of one of the SKELETONS, without its T-pose frame.

    rate_hz: instead of the file's own, which the conversions state as 120 Hz even where the
    recording was made at 60.
    Raises: DataError if the skeleton is none of the known ones.
    """
    index = {bone.name: number for number, bone in enumerate(file.bones)}
    known = next(
        (k for k, bones in SKELETONS.items() if {*bones, *WRISTS[k]} <= index.keys()), None
    )
    if known is None:
        raise DataError(
            f"its bones ({', '.join(list(index)[:6])}, ...) are those of none of the known "
            f"conversions: {', '.join(SKELETONS)}"
        )
    local, root = local_rotations(file)
    first = 1 if starts_with_t_pose(local) else 0
    world, rest = np.empty_like(local), np.zeros((len(file.bones), 3))
    place = np.empty((*world.shape[:2], 3))
    for number, bone in enumerate(file.bones):
        if bone.parent < 0:
            world[:, number], place[:, number] = local[:, number], root
        else:
            world[:, number] = world[:, bone.parent] @ local[:, number]
            place[:, number] = place[:, bone.parent] + world[:, bone.parent] @ bone.offset
            rest[number] = rest[bone.parent] + bone.offset
    drivers = [index[name] for name in SKELETONS[known]]
    joints = [*drivers[:20], *(index[name] for name in WRISTS[known])]
    hips = (place[first:, joints[1]] + place[first:, joints[2]]) / 2
    return SourceMotion(world[first:, drivers], rest[joints], hips, rate_hz or file.rate_hz)


def local_rotations(file: BvhFile) -> tuple[np.ndarray, np.ndarray]:
    """Return the rotations (F, bones, 3, 3) about the parents and the root's place (F, 3)."""
    frames = len(file.values)
    local = np.tile(np.eye(3), (frames, len(file.bones), 1, 1))
    root = np.tile(file.bones[0].offset, (frames, 1))
    column = 0
    for number, bone in enumerate(file.bones):
        columns = {name: column + place for place, name in enumerate(bone.channels)}
        column += len(bone.channels)
        turns = [name for name in bone.channels if name.endswith("rotation")]
        if turns:
            angles = file.values[:, [columns[name] for name in turns]]
            order = "".join(name[0].upper() for name in turns)
            local[:, number] = Rotation.from_euler(order, angles, degrees=True).as_matrix()
        if number == 0:
            for axis, name in enumerate(("Xposition", "Yposition", "Zposition")):
                if name in columns:
                    root[:, axis] = file.values[:, columns[name]]
    return local, root


def starts_with_t_pose(local: np.ndarray) -> bool:
    """Return whether the first frame (of (F, bones, 3, 3)) is a pose put before the motion."""
    if len(local) < 4:
        return False
    turns = Rotation.from_matrix(
        (local[:4].swapaxes(-1, -2)[:-1] @ local[1:4]).reshape(-1, 3, 3)
    ).magnitude()
    steps = turns.reshape(3, -1).max(1)
    return bool(steps[0] > T_POSE_STEP and steps[0] > T_POSE_RATIO * steps[1:].max())
