"""Open motion capture: the npz format of 22 local joint rotations, and windows drawn from it.

Keys of a file: rot (N, 22, 3) rotation vectors in SMPL-X joint order, joint 0 the global
orientation in a z-up world; trans (N, 3) pelvis position [m], floor at z = 0; lengths, names,
subjects, category per clip; fps.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from moro_ros.body.topology import MIRRORED_JOINTS, NUM_JOINTS, PARENTS
from moro_ros.errors import NPZ_ERRORS, DataError
from moro_ros.geometry.rotation import matrix_to_rotvec, rotvec_to_matrix

# Weight of a category relative to its share of the frames: dancing is almost half of the open set,
# while sitting, reaching and lying are relevant for assistive robots.
CATEGORY_WEIGHT: dict[str, float] = {
    "walk_run": 1.0,
    "dance_martial": 0.4,
    "sport_jump_climb": 1.0,
    "daily_reach_sit": 5.0,
    "gesture": 3.0,
    "standing_idle": 0.7,
    "floor_getup": 6.0,
    "other": 2.0,
}
UPPER_BODY = tuple(j for j in range(NUM_JOINTS) if j in (3, 6, 9, 12, 13, 14, *range(15, 22)))


@dataclass(frozen=True, slots=True)
class MotionWindows:
    """Windows of motion in a z-up world: rotations (B, F, 22, 3) rad, translation (B, F, 3) m."""

    rotations: Tensor
    translation: Tensor


@dataclass(frozen=True, slots=True)
class MotionSet:
    """A set of motion clips held in memory.

    rotations: (N, 22, 3) float32 rad; translation: (N, 3) m; starts, lengths: (C,) per clip;
    subjects, categories, names: (C,) strings; fps: Hz.
    """

    rotations: np.ndarray
    translation: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    subjects: np.ndarray
    categories: np.ndarray
    names: np.ndarray
    fps: float

    def only_subjects(self, subjects: tuple[str, ...]) -> MotionSet:
        """Return the clips of the given subjects."""
        keep = np.isin(self.subjects, subjects)
        if not keep.any():
            known = ", ".join(sorted(set(self.subjects.tolist())))
            raise DataError(f"No clip of the subjects {', '.join(subjects)}; the file has {known}.")
        return MotionSet(
            self.rotations,
            self.translation,
            self.starts[keep],
            self.lengths[keep],
            self.subjects[keep],
            self.categories[keep],
            self.names[keep],
            self.fps,
        )

    def without_subjects(self, subjects: tuple[str, ...]) -> MotionSet:
        """Return the clips of all but the given subjects; raises DataError if none is left."""
        others = sorted(set(self.subjects.tolist()) - set(subjects))
        return self.only_subjects(tuple(others))

    def draw(
        self, count: int, frames: int, rng: np.random.Generator, warp: bool = True
    ) -> MotionWindows:
        """Draw windows with random start.

        warp: for training, by category weight and with a random speed (0.7 to 1.4 x); otherwise in
        proportion to the clips' lengths and at their own speed.
        """
        weight = self.lengths.astype(np.float64)
        if warp:
            weight *= [CATEGORY_WEIGHT.get(str(c), 1.0) for c in self.categories]
        clips = rng.choice(len(self.lengths), size=count, p=weight / weight.sum())
        rotations, translation = [], []
        for clip in clips:
            speed = float(np.exp(rng.uniform(np.log(0.7), np.log(1.4)))) if warp else 1.0
            rotation, place = self.cut(int(clip), frames, speed, rng)
            rotations.append(rotation)
            translation.append(place)
        return MotionWindows(
            torch.from_numpy(np.stack(rotations)), torch.from_numpy(np.stack(translation))
        )

    def cut(
        self, clip: int, frames: int, speed: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Cut one window; a clip that is too short is played back and forth."""
        start, length = int(self.starts[clip]), int(self.lengths[clip])
        span = speed * (frames - 1)
        first = rng.uniform(0.0, max(0.0, length - 1 - span))
        position = folded(first + speed * np.arange(frames), length)
        rows = slice(start, start + length)
        return at_positions(self.rotations[rows], self.translation[rows], position)


def joined(sets: list[MotionSet]) -> MotionSet:
    """Return several sets as one; raises DataError if their rates differ."""
    if len({motion.fps for motion in sets}) > 1:
        rates = ", ".join(f"{motion.fps:g}" for motion in sets)
        raise DataError(f"Motion files must have the same rate; got {rates} Hz.")
    offsets = np.cumsum([0, *(len(motion.translation) for motion in sets[:-1])])
    starts = [motion.starts + offset for motion, offset in zip(sets, offsets, strict=True)]

    def all_of(name: str) -> np.ndarray:
        return np.concatenate([getattr(motion, name) for motion in sets])

    return MotionSet(
        all_of("rotations"), all_of("translation"), np.concatenate(starts), all_of("lengths"),
        all_of("subjects"), all_of("categories"), all_of("names"), sets[0].fps,
    )  # fmt: skip


def between(first: np.ndarray, second: np.ndarray, mix: np.ndarray) -> np.ndarray:
    """Interpolate rotations (F, 22, 3) on the shorter arc, mix (F, 1) in [0, 1]."""
    matrix_a = rotvec_to_matrix(torch.from_numpy(first))
    matrix_b = rotvec_to_matrix(torch.from_numpy(second))
    step = matrix_to_rotvec(matrix_a.mT @ matrix_b) * torch.from_numpy(mix)[:, None]
    return matrix_to_rotvec(matrix_a @ rotvec_to_matrix(step)).numpy()


def resample_motion(
    rotations: np.ndarray, translation: np.ndarray, source_hz: float, target_hz: float
) -> tuple[np.ndarray, np.ndarray]:
    """Resample a motion to another rate: every n-th frame if possible, else interpolated.

    rotations: (N, 22, 3) rad; translation: (N, 3) m; both float32. The first frame is kept.
    """
    step = frame_step(source_hz, target_hz)
    if step == round(step):
        return rotations[:: round(step)], translation[:: round(step)]
    position = np.arange(resampled_length(len(translation), source_hz, target_hz)) * step
    return at_positions(rotations, translation, position)


def resampled_length(count: int, source_hz: float, target_hz: float) -> int:
    """Return the number of frames of resample_motion for `count` frames."""
    return int((count - 1) / frame_step(source_hz, target_hz) + 1e-6) + 1


def frame_step(source_hz: float, target_hz: float) -> float:
    """Return the number of source frames per target frame, rounded if it is nearly an integer.

    A rate from a file is rounded: 1 / 0.0083333 is 120.0005.
    """
    step = source_hz / target_hz
    return float(round(step)) if abs(step - round(step)) < 1e-3 and step > 0.5 else step


def at_positions(
    rotations: np.ndarray, translation: np.ndarray, position: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return a motion at fractional frames: rotations on the shorter arc, positions linearly.

    rotations: (N, 22, 3) rad; translation: (N, 3) m; position: (F,) in 0 .. N - 1.
    """
    last = len(translation) - 1
    low = np.minimum(position.astype(np.int64), max(0, last - 1))
    high = np.minimum(low + 1, last)
    mix = (position - low)[:, None].astype(np.float32)
    place = (1 - mix) * translation[low] + mix * translation[high]
    return between(rotations[low], rotations[high], mix), place


def folded(position: np.ndarray, count: int) -> np.ndarray:
    """Reflect fractional frames at the first and the last of `count` frames."""
    period = max(1, 2 * (count - 1))
    return np.abs((position + (count - 1)) % period - (count - 1))


def mirror(windows: MotionWindows, chosen: Tensor) -> MotionWindows:
    """Swap left and right (the world's x axis) in the chosen windows, (B,) bool."""
    flip = chosen[:, None, None, None]
    swapped = windows.rotations.index_select(2, torch.tensor(MIRRORED_JOINTS))
    swapped = swapped * torch.tensor([1.0, -1.0, -1.0])
    sign = torch.where(chosen[:, None, None], torch.tensor([-1.0, 1.0, 1.0]), torch.ones(3))
    return MotionWindows(torch.where(flip, swapped, windows.rotations), windows.translation * sign)


def recombine(windows: MotionWindows, partner: Tensor, chosen: Tensor) -> MotionWindows:
    """Give the chosen windows the upper body of their partner window.

    partner: (B,) index of another window of the batch; chosen: (B,) bool.
    """
    upper = torch.zeros(NUM_JOINTS, dtype=torch.bool)
    upper[list(UPPER_BODY)] = True
    other = windows.rotations.index_select(0, partner)
    take = chosen[:, None, None, None] & upper[:, None]
    return MotionWindows(torch.where(take, other, windows.rotations), windows.translation)


def load_motion(path: str | Path) -> MotionSet:
    """Read a motion file.

    Raises: DataError if it is missing, damaged or not in the format of this module.
    """
    path = Path(path)
    keys = ("rot", "trans", "lengths", "subjects", "category", "names", "fps")
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [key for key in keys if key not in archive.files]
            if missing:
                raise DataError(f"{path}: the arrays {', '.join(missing)} are missing.")
            data = {key: archive[key] for key in keys}
    except NPZ_ERRORS as error:
        raise DataError(
            f"{path}: cannot be read as open motion capture ({error}); expected an npz file with "
            f"the arrays {', '.join(keys)} (see docs/data.md)."
        ) from error
    lengths = data["lengths"].astype(np.int64)
    total = int(lengths.sum())
    if data["rot"].shape != (total, len(PARENTS), 3) or data["trans"].shape != (total, 3):
        raise DataError(
            f"{path}: rot {data['rot'].shape} and trans {data['trans'].shape}; expected "
            f"({total}, {len(PARENTS)}, 3) and ({total}, 3) from the clip lengths."
        )
    return MotionSet(
        data["rot"].astype(np.float32),
        data["trans"].astype(np.float32),
        np.concatenate([[0], np.cumsum(lengths)[:-1]]),
        lengths,
        data["subjects"],
        data["category"],
        data["names"],
        float(data["fps"]),
    )
