"""Open motion capture as a data set: the clips of a file of data/mocap.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from moro_ros.data.dataset import ALL, BodyFit, Clip, ClipSet, SetCard, even_stamps
from moro_ros.data.mocap import MotionSet, load_motion
from moro_ros.types import SmplxParams

CARD = SetCard(
    title="Open motion",
    obtain="download BVH or ASF/AMC files of http://mocap.cs.cmu.edu and run `moro data import DIR "
    "--out train.npz`.",
    licence="CMU: free for research and commercial projects, not to be resold",
    layout=("train.npz", "val.npz", "test.npz"),
    splits=("train", "val", "test"),
)


@dataclass(frozen=True, slots=True)
class OpenMotion(ClipSet):
    """Clips of open motion, mean shape, z up, no cameras."""

    motion: MotionSet
    name: str = "open"

    @property
    def lengths(self) -> np.ndarray:
        """Frames of each clip, (C,) int64."""
        return self.motion.lengths

    def clip(self, index: int, frames: slice = ALL) -> Clip:
        """Return a clip."""
        motion = self.motion
        start, length = int(motion.starts[index]), int(motion.lengths[index])
        rotations = motion.rotations[start : start + length]
        params = SmplxParams(
            np.zeros(10, np.float32),
            rotations[:, 0],
            rotations[:, 1:].reshape(length, 63),
            motion.translation[start : start + length],
        )
        name = str(motion.names[index])
        clip = Clip(
            name=name,
            subject=str(motion.subjects[index]),
            stamps_ns=even_stamps(np.arange(length), motion.fps),
            fps=motion.fps,
            fit=BodyFit(params, about_pelvis=True),
        )
        return clip.part(frames)


def open_motion(root: Path, split: str = "") -> OpenMotion:
    """Open a motion file, or the file of a split in a folder of them.

    Raises: DataError if the file is missing or damaged.
    """
    split = CARD.need_split(split)
    path = root if root.suffix == ".npz" else root / f"{split}.npz"
    CARD.need_file(path, "open motion in the npz format of `moro data import`")
    return OpenMotion(load_motion(path))
