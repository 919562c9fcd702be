"""BVH motion files: the parser, and the skeletons of the CMU conversions.

Three conversions of the CMU database are in use, by cgspeed (B. Hahne) for MotionBuilder, DAZ and
3ds Max; each has its own names of bones. MotionBuilder's and DAZ's start with a T-pose frame.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TextIO

import numpy as np
from scipy.spatial.transform import Rotation

from moro_ros.data.retarget import BLOCK, SourceMotion
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
# Where the forearm ends; the bone that moves the hand may start farther out.
WRISTS = {
    "MotionBuilder": ("LeftHand", "RightHand"),
    "3ds Max": ("LeftWrist", "RightWrist"),
    "DAZ": ("lHand", "rHand"),
}
# An impossible step within one frame, which the next steps do not come near.
T_POSE_STEP = np.radians(10.0)
T_POSE_RATIO = 3.0
# Limits of a file's own frame time [s]: 5 to 1000 Hz.
FRAME_TIMES = (0.001, 0.2)
MOST_HEADER = 1 << 20  # characters before the values; skeletons with fingers and face need 50,000
CHUNK = 1 << 20  # characters of values that are read at once
MOST_VALUES = 1 << 24  # numbers in memory at once
AXES = "xyz"
FRAMES = re.compile(r"\s*frames\s*:?\s*(\d+)\s*$", re.IGNORECASE)
FRAME_TIME = re.compile(r"\s*frame\s*time\s*:?\s*(\S+)(.*)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Bone:
    """A joint of a BVH file: its parent (-1 for a root), offset (3,), channels in lower case."""

    name: str
    parent: int
    offset: np.ndarray
    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Person:
    """The skeleton of one person: numbers of bones in the file.

    drivers: the bone that drives each of the 22 SMPL-X joints. joints: the bones that start at
    these joints. bones: all bones that the two depend on, parents first, from the root on.
    """

    drivers: tuple[int, ...]
    joints: tuple[int, ...]
    bones: tuple[int, ...]


def read_bvh(path: Path, rate_hz: float | None = None) -> Iterator[SourceMotion]:
    """Yield the motions of a file of one of the SKELETONS, without its T-pose frame.

    There is one motion for each person, and for each part of a long file, so that memory does not
    grow with the file.

    rate_hz: instead of the file's own, which the conversions state as 120 Hz even for recordings
    at 60. Raises: DataError with the reason if the file is damaged or its skeleton is unknown.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            bones = parse_hierarchy(hierarchy_words(file))
            found = people(bones)
            count, seconds, rest = read_timing(file)
            rate_hz = rate_hz or rate_of(seconds)
            first = True
            for values in value_blocks(file, rest, sum(len(b.channels) for b in bones), count):
                for person in found:
                    yield person_motion(bones, person, values, rate_hz, may_begin_in_t_pose=first)
                first = False
    except OSError as error:
        raise DataError(f"it cannot be read ({error})") from error


def hierarchy_words(file: TextIO) -> list[str]:
    """Return the words before the line MOTION, with separate braces."""
    lines: list[str] = []
    left = MOST_HEADER
    while line := file.readline(left + 1):
        if line.strip().upper() == "MOTION":
            text = "".join(lines)
            if "HIERARCHY" in text.upper():
                return text.replace("{", " { ").replace("}", " } ").split()
            break
        lines.append(line)
        left -= len(line)
        if left < 0:
            raise DataError(f"it has no MOTION within {MOST_HEADER} characters: not a BVH file")
    raise DataError("it has no HIERARCHY and MOTION: not a BVH file, or cut off")


def parse_hierarchy(words: list[str]) -> tuple[Bone, ...]:
    """Return the bones of the words before MOTION."""
    bones: list[Bone] = []
    open_bones: list[int] = []  # -1 stands for an end site
    pending, position = -1, 0
    try:
        while position < len(words):
            word = words[position].upper()
            if word in ("ROOT", "JOINT"):
                brace = words.index("{", position)  # names may have spaces
                name = " ".join(words[position + 1 : brace])
                bones.append(Bone(name, open_bones[-1] if open_bones else -1, np.zeros(3), ()))
                pending, position = len(bones) - 1, brace
            elif word == "END":
                pending, position = -1, position + 2
            elif word == "{":
                open_bones.append(pending)
                position += 1
            elif word == "}":
                open_bones.pop()
                position += 1
            elif word == "OFFSET":
                offset = np.array([float(value) for value in words[position + 1 : position + 4]])
                if len(offset) != 3 or not np.isfinite(offset).all():
                    raise ValueError(f"OFFSET {' '.join(words[position + 1 : position + 4])}")
                if open_bones[-1] >= 0:
                    bones[open_bones[-1]] = replace(bones[open_bones[-1]], offset=offset)
                position += 4
            elif word == "CHANNELS":
                count = int(words[position + 1])
                channels = tuple(w.lower() for w in words[position + 2 : position + 2 + count])
                if count < 0 or len(channels) != count:
                    raise ValueError(f"CHANNELS {count}")
                bones[open_bones[-1]] = replace(bones[open_bones[-1]], channels=channels)
                position += 2 + count
            else:
                position += 1
    except (IndexError, ValueError) as error:
        raise DataError(f"its HIERARCHY is damaged ({error})") from error
    if open_bones or not bones:
        raise DataError("its HIERARCHY is cut off")
    for bone in bones:
        check_channels(bone)
    return tuple(bones)


def check_channels(bone: Bone) -> None:
    """Raise DataError for channels other than positions and rotations."""
    for channel in bone.channels:
        if channel[0] not in AXES or channel[1:] not in ("position", "rotation"):
            raise DataError(
                f"its bone {bone.name} has the channel '{channel}'; expected Xposition to "
                "Zposition and Xrotation to Zrotation"
            )
    turns = [channel for channel in bone.channels if channel.endswith("rotation")]
    doubled = any(a == b for a, b in pairwise(turns))
    places = [channel for channel in bone.channels if channel.endswith("position")]
    if len(turns) > 3 or doubled or len(set(places)) != len(places):
        raise DataError(f"its bone {bone.name} has the channels {' '.join(bone.channels)}")


def people(bones: tuple[Bone, ...]) -> list[Person]:
    """Return all people in a file: each pair of hips with a known skeleton below it.

    Raises: DataError if the skeleton is unknown.
    """
    found = []
    for hips, bone in enumerate(bones):
        if plain_name(bone) not in {names[0] for names in SKELETONS.values()}:
            continue
        index = {plain_name(bone): hips}
        below = {hips}
        for number in range(hips + 1, len(bones)):
            if bones[number].parent in below:
                below.add(number)
                index.setdefault(plain_name(bones[number]), number)
        for conversion, names in SKELETONS.items():
            if plain_name(bone) == names[0] and {*names, *WRISTS[conversion]} <= index.keys():
                drivers = [index[name] for name in names]
                joints = [*drivers[:20], *(index[name] for name in WRISTS[conversion])]
                found.append(
                    Person(tuple(drivers), tuple(joints), ancestors(bones, drivers + joints))
                )
    if not found:
        first = ", ".join(plain_name(bone) for bone in bones[:6])
        raise DataError(
            f"its bones ({first}, ...) are not those of a known conversion: {', '.join(SKELETONS)}"
        )
    return found


def plain_name(bone: Bone) -> str:
    """Return a bone's name without the name space of its actor, as in Anna:Hips."""
    return bone.name.rpartition(":")[2]


def ancestors(bones: tuple[Bone, ...], numbers: list[int]) -> tuple[int, ...]:
    """Return these bones and all their ancestors, parents first."""
    needed = set()
    for number in numbers:
        while number >= 0 and number not in needed:
            needed.add(number)
            number = bones[number].parent
    return tuple(sorted(needed))


def read_timing(file: TextIO) -> tuple[int, float, str]:
    """Return the number of frames, the time between two [s], and what follows on that line."""
    count = timing(file, FRAMES, "Frames: COUNT")
    seconds = timing(file, FRAME_TIME, "Frame Time: SECONDS")
    try:
        return int(count[1]), float(seconds[1]), seconds[2]
    except ValueError as error:
        raise DataError(f"its MOTION is damaged ({error})") from error


def timing(file: TextIO, pattern: re.Pattern[str], expected: str) -> re.Match[str]:
    """Return the match of the next line that is not empty."""
    line = " "
    while line and not line.strip():
        line = file.readline(CHUNK)
    match = pattern.match(line)
    if match is None:
        raise DataError(f"its MOTION is damaged (got '{line.strip()[:40]}', expected '{expected}')")
    return match


def rate_of(seconds: float) -> float:
    """Return the rate [Hz] of a frame time; raises DataError if it is implausible."""
    low, high = FRAME_TIMES
    if low <= seconds <= high:
        return 1 / seconds
    rate = f"; if that is its rate, use --fps {seconds:g}" if high < seconds <= 1 / low else ""
    raise DataError(
        f"its MOTION has a Frame Time of {seconds:g} s, expected {low:g} to {high:g} s{rate}"
    )


def value_blocks(file: TextIO, rest: str, channels: int, count: int) -> Iterator[np.ndarray]:
    """Yield the values (F, channels) of the frames, at most BLOCK frames at once.

    rest: text read so far. Raises: DataError if there are fewer than `count`, or a damaged one.
    """
    size = max(1, min(BLOCK, MOST_VALUES // max(1, channels))) * channels
    if size == 0:
        raise DataError("its MOTION has no channels")
    held: list[np.ndarray] = []
    ready = frames = 0
    for words in word_lists(file, rest):
        held.append(parsed(words))
        ready += len(words)
        if ready < size:
            continue
        joined = np.concatenate(held)
        whole = ready - ready % size
        for start in range(0, whole, size):
            yield joined[start : start + size].reshape(-1, channels)
        frames += whole // channels
        held, ready = [joined[whole:]], ready - whole
    frames += ready // channels
    if frames < max(1, count):
        raise DataError(f"its MOTION has {frames} whole frames of {count}")
    if ready % channels:
        raise DataError(
            f"its MOTION has {ready % channels} values for {channels} channels in its last frame"
        )
    if ready:
        yield np.concatenate(held).reshape(-1, channels)


def word_lists(file: TextIO, rest: str) -> Iterator[list[str]]:
    """Yield the words of `rest` and of the rest of a file, some at once."""
    while text := file.read(CHUNK):
        rest += text
        # The last word may continue in the next piece.
        cut = max(rest.rfind(space) for space in " \t\n") + 1
        if cut == 0:
            raise DataError(f"its MOTION is damaged (at '{rest[:40]}...')")
        yield rest[:cut].split()
        rest = rest[cut:]
    yield rest.split()


def parsed(words: list[str]) -> np.ndarray:
    """Return finite numbers; raises DataError."""
    try:
        values = np.array(words, np.float64)
    except ValueError as error:
        raise DataError(f"its MOTION is damaged ({error})") from error
    if not np.isfinite(values).all():
        raise DataError("its MOTION is damaged (it has values that are not finite)")
    return values


def person_motion(
    bones: tuple[Bone, ...],
    person: Person,
    values: np.ndarray,
    rate_hz: float,
    may_begin_in_t_pose: bool,
) -> SourceMotion:
    """Return one person's motion in the frames of `values` (F, channels)."""
    first_column = np.cumsum([0, *(len(bone.channels) for bone in bones)])
    local: dict[int, np.ndarray] = {}
    world: dict[int, np.ndarray] = {}
    place: dict[int, np.ndarray] = {}
    rest: dict[int, np.ndarray] = {}
    for number in person.bones:
        bone = bones[number]
        columns = values[:, first_column[number] : first_column[number + 1]]
        local[number] = bone_turn(bone, columns)
        shift = bone_shift(bone, columns)
        if bone.parent < 0:
            world[number], place[number], rest[number] = local[number], shift, np.zeros(3)
        else:
            world[number] = world[bone.parent] @ local[number]
            moved = (world[bone.parent] @ shift[..., None])[..., 0]
            place[number] = place[bone.parent] + moved
            rest[number] = rest[bone.parent] + bone.offset
    hips = (place[person.joints[1]] + place[person.joints[2]]) / 2
    rotations = np.stack([world[number] for number in person.drivers], 1)
    joints = np.stack([rest[number] for number in person.joints])
    beginning = np.stack([turn[:4] for turn in local.values()], 1)
    first = 1 if may_begin_in_t_pose and starts_with_t_pose(beginning) else 0
    return SourceMotion(rotations[first:], joints, hips[first:], rate_hz)


def bone_turn(bone: Bone, values: np.ndarray) -> np.ndarray:
    """Return a bone's rotations (F, 3, 3) about its parent; values: (F, its channels)."""
    turns = [n for n, channel in enumerate(bone.channels) if channel.endswith("rotation")]
    if not turns:
        return np.tile(np.eye(3), (len(values), 1, 1))
    order = "".join(bone.channels[n][0].upper() for n in turns)
    return np.asarray(Rotation.from_euler(order, values[:, turns], degrees=True).as_matrix())


def bone_shift(bone: Bone, values: np.ndarray) -> np.ndarray:
    """Return a bone's positions (F, 3) in its parent's axes; values: (F, its channels).

    Positions replace the offset. Some programs write positions of bones below the root relative to
    it.
    """
    columns = [n for n, channel in enumerate(bone.channels) if channel.endswith("position")]
    axes = [AXES.index(bone.channels[n][0]) for n in columns]
    stated, rest = values[:, columns], bone.offset[axes]
    sizes = [np.median(np.linalg.norm(given, axis=1)) for given in (stated, stated - rest)]
    shift = np.tile(bone.offset, (len(values), 1))
    shift[:, axes] = rest + stated if bone.parent >= 0 and sizes[0] < sizes[1] else stated
    return shift


def starts_with_t_pose(local: np.ndarray) -> bool:
    """Return whether the first frame (of (F, bones, 3, 3)) is a pose added before the motion."""
    if len(local) < 4:
        return False
    turns = Rotation.from_matrix(
        (local[:4].swapaxes(-1, -2)[:-1] @ local[1:4]).reshape(-1, 3, 3)
    ).magnitude()
    steps = turns.reshape(3, -1).max(1)
    return bool(steps[0] > T_POSE_STEP and steps[0] > T_POSE_RATIO * steps[1:].max())
