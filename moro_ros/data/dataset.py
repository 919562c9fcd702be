"""Data sets: the required files, and the clips, each of one person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import cv2
import numpy as np

from moro_ros.errors import DataError
from moro_ros.geometry.lens import undistort_image
from moro_ros.types import Camera, SmplxParams


@dataclass(frozen=True, slots=True)
class SetCard:
    """Information for users about a data set.

    obtain: how to obtain it; licence: the class of its terms, not legal advice; layout: the files
    below the set's folder, one per line; splits: the names of its parts, the first is the default.
    """

    title: str
    obtain: str
    licence: str
    layout: tuple[str, ...]
    splits: tuple[str, ...]

    def need_file(self, path: Path, what: str) -> Path:
        """Return the path of a file.

        Raises: DataError if it is missing, with its expected contents and how to obtain the set.
        """
        if not path.is_file():
            raise self.missing(path, what)
        return path

    def need_folder(self, path: Path, what: str) -> Path:
        """Return the path of a folder; raises DataError if there is none."""
        if not path.is_dir():
            raise self.missing(path, what)
        return path

    def need_some(self, found: Iterable[Path], path: Path, what: str) -> list[Path]:
        """Return the results of a search, sorted; raises DataError if there are none."""
        paths = sorted(found)
        if not paths:
            raise self.missing(path, what)
        return paths

    def need_split(self, split: str) -> str:
        """Return the name of a split, the default for an empty one; raises DataError if unknown."""
        if split and split not in self.splits:
            raise DataError(
                f"{self.title}: there is no split '{split}'; expected one of "
                f"{', '.join(self.splits)}."
            )
        return split or self.splits[0]

    def missing(self, path: Path, what: str) -> DataError:
        """Return the error for a missing file or folder."""
        layout = "\n  ".join(self.layout)
        return DataError(
            f"{self.title}: {path} is missing; expected {what}. The folder of the data set must "
            f"contain\n  {layout}\nHow to obtain it: {self.obtain}"
        )

    def damaged(self, path: Path, reason: object) -> DataError:
        """Return the error for a file that cannot be read or has other contents."""
        return DataError(
            f"{self.title}: {path} is damaged or of another kind ({reason}). Obtain the file "
            f"again: {self.obtain}"
        )


Model = Literal["smplx", "smpl"]
Gender = Literal["neutral", "male", "female"]


@dataclass(frozen=True, slots=True)
class BodyFit:
    """Parametric bodies of one person over F frames, in the frame of the fit.

    params: of the given model and gender, in the frame of the fit (not always the camera's); of
    SMPL, whose joints 22 and 23 have no place in them, the first 21 body joints.
    about_pelvis: transl is the pelvis itself; otherwise, as in SMPL-X, the pelvis is at transl +
    pelvis_rest(betas).
    camera_from_fit: (4, 4) rigid, m, or None without a camera.
    placed: whether transl is true; labels of single images often lack the distance.
    measured: True for motion capture and renderings, False for bodies fitted to images.
    """

    params: SmplxParams
    model: Model = "smplx"
    gender: Gender = "neutral"
    about_pelvis: bool = False
    camera_from_fit: np.ndarray | None = None
    placed: bool = True
    measured: bool = True

    def part(self, frames: slice) -> BodyFit:
        """Return some of the frames."""
        params = replace(
            self.params,
            global_orient=self.params.global_orient[frames],
            body_pose=self.params.body_pose[frames],
            transl=self.params.transl[frames],
        )
        return replace(self, params=params)


@dataclass(frozen=True, slots=True)
class Clip:
    """One person over F frames at an even rate; None stands for missing data.

    name: unique in its set; subject: the person. stamps_ns: (F,) int64, of the recording. fps: Hz,
    0 for a single image.
    fit: the person's bodies. camera: intrinsics; the camera is static within a clip, unless the
    set says otherwise.
    images: F files; image_turns: clockwise quarter turns from the file to the upright labels;
    mirrored: whether a file must be flipped left to right to match the labels.
    boxes_px: (F, 3) square box: centre x, y and side with padding, of the upright image.
    points_px: (F, N, 3) x, y and confidence of point_names, pixels of the upright image.
    joints: (F, N, 3) m of joint_names, in the camera's axes, relative to the pelvis.
    visible: (F, 22) bool, which SMPL-X joints are not occluded.
    """

    name: str
    subject: str
    stamps_ns: np.ndarray
    fps: float
    fit: BodyFit | None = None
    camera: Camera | None = None
    images: tuple[Path, ...] | None = None
    image_turns: int = 0
    mirrored: bool = False
    boxes_px: np.ndarray | None = None
    points_px: np.ndarray | None = None
    point_names: tuple[str, ...] = ()
    joints: np.ndarray | None = None
    joint_names: tuple[str, ...] = ()
    visible: np.ndarray | None = None

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.stamps_ns)

    @property
    def has_measured_truth(self) -> bool:
        """Whether this clip's bodies are ground truth."""
        return self.fit is not None and self.fit.measured

    def part(self, frames: slice) -> Clip:
        """Return some of the frames; slices without a step."""
        rows = range(len(self))[frames]
        if rows.step != 1:
            raise ValueError(f"a clip's frames are consecutive, got step {rows.step}")

        def cut(value: np.ndarray | None) -> np.ndarray | None:
            return None if value is None else value[frames]

        return replace(
            self,
            stamps_ns=self.stamps_ns[frames],
            fit=None if self.fit is None else self.fit.part(frames),
            images=None if self.images is None else self.images[frames],
            boxes_px=cut(self.boxes_px),
            points_px=cut(self.points_px),
            joints=cut(self.joints),
            visible=cut(self.visible),
        )


ALL = slice(None)


class ClipSet(Protocol):
    """A data set: a sequence of clips, read on access. Sets may inherit `len`."""

    @property
    def name(self) -> str:
        """Name of the set, a key of sets.SETS."""
        ...

    @property
    def lengths(self) -> np.ndarray:
        """Frames of each clip, (C,) int64."""
        ...

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.lengths)

    def clip(self, index: int, frames: slice = ALL) -> Clip:
        """Read a clip, or only some of its frames.

        Raises: DataError if a file of it is missing or damaged.
        """
        ...


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of equal length from a set's clips; a set itself.

    places: (W, 2) int64, clip and first frame.
    """

    source: ClipSet
    places: np.ndarray
    frames: int

    @property
    def name(self) -> str:
        """Name of the set."""
        return self.source.name

    @property
    def lengths(self) -> np.ndarray:
        """Frames of each window, (W,)."""
        return np.full(len(self.places), self.frames, np.int64)

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.places)

    def clip(self, index: int, frames: slice = ALL) -> Clip:
        """Read a window."""
        clip, first = (int(value) for value in self.places[index])
        rows = range(first, first + self.frames)[frames]
        return self.source.clip(clip, slice(rows.start, rows.stop))


def cut_windows(source: ClipSet, frames: int, step: int | None = None) -> Windows:
    """Cut every clip into windows; the rest at its end is not used.

    step: frames from a window's start to the next one's; as long as a window if None.
    """
    step = frames if step is None else step
    if frames < 1 or step < 1:
        raise ValueError(f"frames and step must be at least 1, got {frames} and {step}")
    places = [
        (clip, first)
        for clip, length in enumerate(source.lengths)
        for first in range(0, int(length) - frames + 1, step)
    ]
    return Windows(source, np.array(places, np.int64).reshape(-1, 2), frames)


def even_stamps(numbers: Sequence[int] | np.ndarray, fps: float) -> np.ndarray:
    """Return the stamps (F,) int64 ns of numbered frames of an even rate."""
    return np.rint(np.asarray(numbers, np.float64) * (1e9 / fps)).astype(np.int64)


def read_image(clip: Clip, frame: int) -> np.ndarray:
    """Read the picture of one frame: (H, W, 3) uint8 RGB, rectified.

    Raises: DataError if the clip has no pictures, or the file is missing, damaged or has another
    size than the camera's.
    """
    if clip.images is None:
        raise DataError(f"Clip {clip.name} has no images; choose another data set.")
    path = clip.images[frame]
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        state = "is damaged" if path.is_file() else "is missing"
        raise DataError(f"The image {path} of clip {clip.name} {state}; download it again.")
    image = np.ascontiguousarray(np.rot90(image, -clip.image_turns)[..., ::-1])
    if clip.mirrored:
        image = np.ascontiguousarray(image[:, ::-1])
    camera = clip.camera
    if camera is None:
        return image
    if image.shape[:2] != (camera.height, camera.width):
        raise DataError(
            f"The image {path} has {image.shape[1]} x {image.shape[0]} pixels, expected "
            f"{camera.width} x {camera.height} as the clip's camera."
        )
    return undistort_image(image, camera)
