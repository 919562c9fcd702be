"""ASF/AMC motion files of the CMU database: skeleton in one file, motions in others."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from scipy.spatial.transform import Rotation

from moro_ros.data.retarget import BLOCK, SourceMotion
from moro_ros.errors import DataError

RATE_HZ = 120.0  # the files state none
# The bone that drives each of the 22 SMPL-X joints.
BONES = (
    "root", "lfemur", "rfemur", "lowerback", "ltibia", "rtibia", "upperback", "lfoot", "rfoot",
    "thorax", "ltoes", "rtoes", "lowerneck", "lclavicle", "rclavicle", "head", "lhumerus",
    "rhumerus", "lradius", "rradius", "lhand", "rhand",
)  # fmt: skip
WRISTS = ("lwrist", "rwrist")  # start where the forearms end
LARGEST_SKELETON = 1 << 20  # bytes of an ASF file; those of CMU have 9,000
LONGEST_LINE = 1 << 16
SECTION = re.compile(r"^\s*:(\w+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class AsfBone:
    """A bone of an ASF file.

    parent: its name. vector: (3,) from the near to the far end in rest. axes: rotation (3, 3) of
    the axes that its angles are about. angles: as rx ry rz in the file's order.
    """

    parent: str
    vector: np.ndarray
    axes: np.ndarray
    angles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AsfSkeleton:
    """The skeleton of an ASF file.

    bones: by name, parents first, without the root. root_axes: (3, 3). root_order: its channels.
    angle: one unit of the files' angles, rad.
    """

    bones: dict[str, AsfBone]
    root_axes: np.ndarray
    root_order: tuple[str, ...]
    angle: float


def read_asf(path: Path) -> AsfSkeleton:
    """Read a skeleton.

    Raises: DataError with the reason if it is damaged or lacks a bone that the body needs.
    """
    sections = asf_sections(read_text(path))
    try:
        units = sections.get("units", "")
        angle = 1.0 if re.search(r"angle\s+rad", units) else float(np.pi / 180)
        root = sections["root"]
        order = tuple(field(root, "order").lower().split())
        check_order(order, whole=True)
        blocks = re.findall(r"begin\b(.*?)\bend\b", sections["bonedata"], re.DOTALL)
        loose = dict(parse_bone(block, angle) for block in blocks)
        parents = parse_tree(sections["hierarchy"])
        bones = {
            name: AsfBone(parents[name], loose[name].vector, loose[name].axes, loose[name].angles)
            for name in parents
        }
        axes = axes_of(numbers(root, "orientation", 3), field(root, "axis"), angle)
    except (KeyError, ValueError, IndexError) as error:
        raise DataError(f"its skeleton is damaged (at {error})") from error
    missing = [name for name in (*BONES[1:], *WRISTS) if name not in bones]
    if missing:
        raise DataError(f"its skeleton lacks the bones {', '.join(missing)}")
    return AsfSkeleton(bones, axes, order, angle)


def check_order(names: tuple[str, ...], whole: bool = False) -> None:
    """Raise ValueError for repeated degrees of freedom; whole: also unless all six are given."""
    moves = ("tx", "ty", "tz", "rx", "ry", "rz")
    missing = [name for name in moves if whole and name not in names]
    if missing or len(set(names)) != len(names):
        raise ValueError(" ".join(names))


def asf_sections(text: str) -> dict[str, str]:
    """Return the text of each section by name."""
    marks = list(SECTION.finditer(text))
    ends = [*(mark.start() for mark in marks), len(text)]
    return {mark[1]: text[mark.end() : end] for mark, end in zip(marks, ends[1:], strict=True)}


def field(text: str, name: str) -> str:
    """Return the rest of the line that starts with a name."""
    match = re.search(rf"^\s*{name}\s+(.+?)\s*$", text, re.MULTILINE)
    if match is None:
        raise KeyError(name)
    return match[1]


def numbers(text: str, name: str, count: int) -> np.ndarray:
    """Return the numbers (count,) after a name."""
    words = field(text, name).split()[:count]
    if len(words) < count:
        raise ValueError(name)
    return np.array(finite(words))


def axes_of(angles: np.ndarray, order: str, angle: float) -> np.ndarray:
    """Return the rotation (3, 3) of angles about fixed axes, x first for the order XYZ."""
    return np.asarray(Rotation.from_euler(order.strip().lower(), angles * angle).as_matrix())


def parse_bone(block: str, angle: float) -> tuple[str, AsfBone]:
    """Return name and bone, its parent still unknown, of one block of bonedata."""
    direction = numbers(block, "direction", 3)
    axis = field(block, "axis").split()
    angles = np.array(finite(axis[:3]))
    dof = re.search(r"^\s*dof\s+(.+?)\s*$", block, re.MULTILINE)
    turns = tuple(dof[1].lower().split()) if dof else ()
    check_order(turns)
    size = float(np.linalg.norm(direction))
    length = numbers(block, "length", 1)[0]
    if size == 0 and length != 0:
        raise ValueError("direction 0 0 0")
    vector = direction / size * length if size else direction
    return field(block, "name"), AsfBone("", vector, axes_of(angles, axis[3], angle), turns)


def parse_tree(text: str) -> dict[str, str]:
    """Return the parent of every bone, parents first."""
    children: dict[str, list[str]] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1:
            children.setdefault(words[0], []).extend(words[1:])
    parents: dict[str, str] = {}
    front = ["root"]
    while front:
        name = front.pop()
        for child in children.get(name, ()):
            if child in parents:
                raise ValueError(f"{child} has two parents")
            parents[child] = name
            front.append(child)
    return parents


def read_amc(
    path: Path, skeleton: AsfSkeleton, rate_hz: float | None = None
) -> Iterator[SourceMotion]:
    """Yield the motion of a skeleton, at most BLOCK frames at once.

    Raises: DataError with the reason if it is damaged or belongs to another skeleton.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for frames in amc_blocks(file):
                yield amc_motion(frames, skeleton, rate_hz or RATE_HZ)
    except OSError as error:
        raise DataError(f"it cannot be read ({error})") from error


def amc_motion(
    frames: list[dict[str, list[float]]], skeleton: AsfSkeleton, rate_hz: float
) -> SourceMotion:
    """Return the motion of some frames: the values of every bone."""
    try:
        root = np.array([frame["root"] for frame in frames], np.float64)
        if root.ndim != 2 or root.shape[1] != len(skeleton.root_order):
            raise ValueError("root")
        angles = {
            name: np.array([frame[name] for frame in frames], np.float64)
            for name, bone in skeleton.bones.items()
            if bone.angles
        }
    except (KeyError, ValueError) as error:
        raise DataError(f"a frame lacks values (at {error})") from error
    place, turn = split_root(root, skeleton)
    world = {"root": turn}
    rest = {"root": np.zeros(3)}
    far = {"root": np.zeros(3)}  # where a bone ends in rest
    end = {"root": place}  # and in every frame
    for name, bone in skeleton.bones.items():
        world[name] = world[bone.parent] @ bone_turn(bone, angles.get(name), len(root), skeleton)
        rest[name] = far[bone.parent]
        far[name] = rest[name] + bone.vector
        end[name] = end[bone.parent] + world[name] @ bone.vector
    hips = [end[skeleton.bones[name].parent] for name in ("lfemur", "rfemur")]
    return SourceMotion(
        np.stack([world[name] for name in BONES], 1),
        np.stack([rest[name] for name in (*BONES[:20], *WRISTS)]),
        (hips[0] + hips[1]) / 2,
        rate_hz,
    )


def amc_blocks(file: TextIO) -> Iterator[list[dict[str, list[float]]]]:
    """Yield the values of every bone, frame by frame, at most BLOCK frames at once."""
    frames: list[dict[str, list[float]]] = []
    before = 0
    try:
        while line := file.readline(LONGEST_LINE):
            words = line.split()
            if not words or words[0][0] in "#:":
                continue
            if len(words) > 1:
                frames[-1][words[0]] = finite(words[1:])
                continue
            number = before + len(frames)
            if int(words[0]) != number + 1 and number:
                raise ValueError(f"frame {words[0]} after {number}")
            if len(frames) == BLOCK:
                yield frames
                frames, before = [], number
            frames.append({})
    except (ValueError, IndexError) as error:
        raise DataError(f"it is damaged ({error})") from error
    if not frames:
        raise DataError("it has no frames: not an AMC file, or cut off")
    yield frames


def finite(words: list[str]) -> list[float]:
    """Return the numbers of words; raises ValueError unless all are finite numbers."""
    values = [float(word) for word in words]
    if not all(map(math.isfinite, values)):
        raise ValueError(f"'{' '.join(words[:8])}' is not finite")
    return values


def split_root(root: np.ndarray, skeleton: AsfSkeleton) -> tuple[np.ndarray, np.ndarray]:
    """Return the root's place (F, 3) and rotation (F, 3, 3)."""
    order = list(skeleton.root_order)
    place = root[:, [order.index(name) for name in ("tx", "ty", "tz")]]
    turns = [name for name in order if name.startswith("r")]
    angles = root[:, [order.index(name) for name in turns]] * skeleton.angle
    axes = "".join(name[1] for name in turns)
    turn = Rotation.from_euler(axes, angles).as_matrix()
    return place, skeleton.root_axes @ turn @ skeleton.root_axes.T


def bone_turn(
    bone: AsfBone, angles: np.ndarray | None, frames: int, skeleton: AsfSkeleton
) -> np.ndarray:
    """Return a bone's rotation (F, 3, 3) about its parent, in the world's axes of the rest."""
    turns = [name for name in bone.angles if name in ("rx", "ry", "rz")]
    if angles is None or not turns:
        return np.tile(np.eye(3), (frames, 1, 1))
    if angles.ndim != 2 or angles.shape[1] != len(bone.angles):
        raise DataError("a frame has other angles than the skeleton")
    columns = [bone.angles.index(name) for name in turns]
    order = "".join(name[1] for name in turns)
    turn = Rotation.from_euler(order, angles[:, columns] * skeleton.angle)
    return np.asarray(bone.axes @ turn.as_matrix() @ bone.axes.T)


def read_text(path: Path) -> str:
    """Read a small text file; raises DataError with the reason."""
    try:
        if path.stat().st_size > LARGEST_SKELETON:
            raise DataError(f"it has more than {LARGEST_SKELETON} bytes: not a skeleton (ASF)")
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"it cannot be read ({error})") from error
