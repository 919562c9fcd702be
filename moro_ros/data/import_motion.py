"""Converts a folder of BVH and ASF/AMC files to one open motion file (format of mocap.py)."""

from __future__ import annotations

import csv
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from moro_ros.data.asf_amc import AsfSkeleton, read_amc, read_asf
from moro_ros.data.bvh import read_bvh
from moro_ros.data.mocap import CATEGORY_WEIGHT
from moro_ros.data.retarget import (
    FPS,
    SHORTEST,
    SourceMotion,
    TargetSkeleton,
    retarget,
    whole_parts,
)
from moro_ros.errors import DataError

UNKNOWN_CATEGORY = "other"
# 13_29, 141_16-wave_hello: subject, clip.
CMU_NAME = re.compile(r"(\d{1,3})_(\d{1,3})(?!\d)")
# Words in a file's name that define its category; the first match is used.
CATEGORY_WORDS: dict[str, tuple[str, ...]] = {
    "floor_getup": ("getup", "get_up", "lie", "crawl", "floor"),
    "daily_reach_sit": ("sit", "stool", "chair", "reach", "wash", "sweep", "pick"),
    "dance_martial": ("dance", "salsa", "martial", "kick", "punch", "karate", "indian"),
    "sport_jump_climb": ("jump", "climb", "basketball", "soccer", "golf", "swing", "hop"),
    "gesture": ("wave", "talk", "point", "laugh", "gesture", "conversation"),
    "standing_idle": ("idle", "stand"),
    "walk_run": ("walk", "run", "jog", "stride", "march"),
}


@dataclass(frozen=True, slots=True)
class ImportedClip:
    """One clip: rotations (F, 22, 3) rad and pelvis (F, 3) m at 30 Hz, z up, on the floor."""

    name: str
    subject: str
    category: str
    rotations: np.ndarray
    translation: np.ndarray


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was not imported, and the reason."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class MotionFile:
    """A file of motion that was found; skeleton: the ASF file of an AMC file."""

    path: Path
    skeleton: Path | None = None


def find_motion(folder: Path) -> list[MotionFile]:
    """List the BVH and AMC files below a folder, each AMC with its ASF.

    Raises: DataError if there are none.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder} is not a folder; expected one with the BVH or ASF/AMC files of "
            "http://mocap.cs.cmu.edu."
        )
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    skeletons = [path for path in files if path.suffix.lower() == ".asf"]
    found = []
    for path in files:
        if path.suffix.lower() == ".bvh":
            found.append(MotionFile(path))
        elif path.suffix.lower() == ".amc":
            found.append(MotionFile(path, skeleton_of(path, skeletons)))
    if not found:
        raise DataError(
            f"{folder} has no file *.bvh or *.amc; expected those of http://mocap.cs.cmu.edu."
        )
    return found


def skeleton_of(motion: Path, skeletons: list[Path]) -> Path | None:
    """Return the ASF file of an AMC file: of its subject, or the only one of its folder."""
    beside = [path for path in skeletons if path.parent == motion.parent]
    subject = motion.stem.split("_")[0].lower()
    named = [path for path in (*beside, *skeletons) if path.stem.lower() == subject]
    if named:
        return named[0]
    return beside[0] if len(beside) == 1 else None


def import_files(
    files: Iterable[MotionFile],
    root: Path,
    target: TargetSkeleton,
    rate_hz: float | None = None,
    categories: Mapping[str, str] | None = None,
) -> Iterator[ImportedClip | Skipped]:
    """Convert files one by one; damaged ones are skipped with the reason.

    root: names are relative to it; rate_hz: instead of the files' own; categories: of clips by the
    name of their file without its ending, where it is known.
    """
    read_skeleton = skeleton_reader()
    for file in files:
        try:
            parts = convert(read_source(file, rate_hz, read_skeleton), target)
        except DataError as error:
            yield Skipped(file.path, str(error))
            continue
        except Exception as error:  # one bad file must not stop the others
            yield Skipped(file.path, f"it cannot be converted ({type(error).__name__}: {error})")
            continue
        name = clip_name(file.path)
        for number, (rotations, places) in enumerate(parts):
            yield ImportedClip(
                name if len(parts) == 1 else f"{name}_s{number}",
                subject_of(file.path, root),
                category_of(file.path, categories or {}),
                rotations,
                places,
            )


def convert(
    sources: Iterable[SourceMotion], target: TargetSkeleton
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the rotations (F, 22, 3) rad and positions (F, 3) m of each valid part of a file.

    Raises: DataError if there is none.
    """
    parts = []
    longest = 0
    for source in sources:
        rotations, places = retarget(source, target)
        longest = max(longest, len(places))
        parts += [(rotations[p], places[p]) for p in whole_parts(rotations, places, target)]
    if longest < SHORTEST:
        raise DataError(
            f"it lasts {longest / FPS:.2f} s; a motion of {SHORTEST / FPS:g} s or more is needed"
        )
    if not parts:
        raise DataError("it has no second without tracking errors")
    return parts


def skeleton_reader() -> Callable[[Path], AsfSkeleton]:
    """Return a function that reads each ASF file once."""
    known: dict[Path, AsfSkeleton] = {}

    def read(path: Path) -> AsfSkeleton:
        if path not in known:
            known[path] = read_asf(path)
        return known[path]

    return read


def read_source(
    file: MotionFile, rate_hz: float | None, read_skeleton: Callable[[Path], AsfSkeleton]
) -> Iterator[SourceMotion]:
    """Read one file, part by part; raises DataError with the reason if it cannot be used."""
    if file.path.suffix.lower() == ".bvh":
        return read_bvh(file.path, rate_hz)
    if file.skeleton is None:
        raise DataError("its skeleton is missing: the folder has no ASF file of its subject")
    try:
        skeleton = read_skeleton(file.skeleton)
    except DataError as error:
        raise DataError(f"its skeleton {file.skeleton.name} cannot be used: {error}") from error
    return read_amc(file.path, skeleton, rate_hz)


def clip_name(path: Path) -> str:
    """Return a clip's name: CMU's number if the file's name has one, else the name itself."""
    match = CMU_NAME.search(path.stem)
    return f"{match[1]}_{match[2]}" if match else path.stem


def subject_of(path: Path, root: Path) -> str:
    """Return CMU's subject number of a file, else the name of its folder."""
    match = CMU_NAME.search(path.stem)
    if match:
        return match[1]
    return path.parent.name if path.parent != root else root.resolve().name


def category_of(path: Path, categories: Mapping[str, str]) -> str:
    """Return the category that is given for a file, or that follows from its name."""
    stated = categories.get(path.stem) or categories.get(clip_name(path))
    if stated:
        return stated
    words = path.stem.lower()
    guesses = (
        category for category, marks in CATEGORY_WORDS.items() if any(m in words for m in marks)
    )
    return next(guesses, UNKNOWN_CATEGORY)


def read_categories(path: Path) -> dict[str, str]:
    """Read a table of two columns: name of a file or clip, category. It may have this header.

    Raises: DataError if it cannot be read or names an unknown category.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}); expected a CSV table.") from error
    if rows and [word.strip().lower() for word in rows[0]] == ["name", "category"]:
        rows = rows[1:]
    for row in rows:
        if len(row) != 2 or row[1].strip() not in CATEGORY_WEIGHT:
            raise DataError(
                f"{path}: '{','.join(row)}'; expected a name and one of "
                f"{', '.join(CATEGORY_WEIGHT)}."
            )
    return {row[0].strip(): row[1].strip() for row in rows}


def save_motion(clips: list[ImportedClip], path: Path) -> None:
    """Write an open motion file, completely or not at all.

    Raises: DataError if the file cannot be written; ValueError without clips.
    """
    if not clips:
        raise ValueError("there is no clip to write")
    arrays: dict[str, Any] = {
        "rot": np.concatenate([clip.rotations for clip in clips]).astype(np.float16),
        "trans": np.concatenate([clip.translation for clip in clips]).astype(np.float32),
        "lengths": np.array([len(clip.translation) for clip in clips], np.int64),
        "names": np.array([clip.name for clip in clips]),
        "subjects": np.array([clip.subject for clip in clips]),
        "category": np.array([clip.category for clip in clips]),
        "fps": np.array(round(FPS)),
        "up": np.array("z"),
    }
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, **arrays)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise DataError(f"Cannot write {path} ({error}); choose another file.") from error
    finally:
        if temporary is not None:
            os.unlink(temporary)
