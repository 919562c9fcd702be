"""PROX: people in furnished rooms, recorded by one Kinect (Hassan et al., ICCV 2019).

There is no ground truth: PROXD's bodies were fitted to colour and depth. They are read if they
exist, and marked as fitted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from moro_ros.data.dataset import ALL, BodyFit, Clip, ClipSet, SetCard
from moro_ros.data.image_labels import OPENPOSE_NAMES
from moro_ros.data.records import image_size, kinect_lens, load_json, read_fits
from moro_ros.errors import NPZ_ERRORS
from moro_ros.types import Camera

CARD = SetCard(
    title="PROX",
    obtain="register at https://prox.is.tue.mpg.de and fetch the recordings, calibration "
    "and keypoints of the qualitative set, and the PROXD fittings.",
    licence="non-commercial research, registration",
    layout=(
        "recordings/<scene>_<subject>_<n>/Color/s001_frame_00001__00.00.00.033.jpg",
        "calibration/Color.json",
        "keypoints/<recording>/<image>_keypoints.json (optional)",
        "PROXD/<recording>/results/<image>/000.pkl (optional)",
        "mask_joint/<recording>/mask_joint.npy (optional)",
    ),
    splits=("all",),
)
FPS = 30.0
IMAGE = re.compile(r"s\d+_frame_(\d+)__(\d+)\.(\d+)\.(\d+)\.(\d+)$")
SEEN = 0.2  # minimum confidence of a keypoint for the box, as published
PADDING = 1.2


@dataclass(frozen=True, slots=True)
class Prox(ClipSet):
    """Recordings of PROX, each with one person."""

    root: Path
    recordings: tuple[str, ...]
    images: tuple[tuple[Path, ...], ...]
    name: str = "prox"

    @property
    def lengths(self) -> np.ndarray:
        """Frames of each recording, (C,) int64."""
        return np.array([len(images) for images in self.images], np.int64)

    def clip(self, index: int, frames: slice = ALL) -> Clip:
        """Read a recording; files are mirrored, which the clip states."""
        recording, images = self.recordings[index], self.images[index][frames]
        points = self.keypoints(recording, images)
        return Clip(
            name=recording,
            subject=recording.split("_")[1],
            stamps_ns=np.array([stamp_ns(path) for path in images], np.int64),
            fps=FPS,
            fit=self.fit(recording, images),
            camera=self.camera(images[0]),
            images=images,
            mirrored=True,
            boxes_px=None if points is None else person_boxes(points),
            points_px=points,
            point_names=() if points is None else OPENPOSE_NAMES,
            visible=self.visibility(index, frames),
        )

    def camera(self, image: Path) -> Camera:
        """Read the camera's intrinsics and distortion."""
        path = self.root / "calibration" / "Color.json"
        matrix, distortion = kinect_lens(path, CARD, "the camera's intrinsics")
        return Camera(matrix, *image_size(image, CARD), distortion)

    def fit(self, recording: str, images: tuple[Path, ...]) -> BodyFit | None:
        """Read PROXD's bodies, if they exist."""
        folder = self.root / "PROXD" / recording / "results"
        if not folder.is_dir():
            return None
        params = read_fits([folder / path.stem / "000.pkl" for path in images], CARD)
        return BodyFit(params, camera_from_fit=np.eye(4), measured=False)

    def keypoints(self, recording: str, images: tuple[Path, ...]) -> np.ndarray | None:
        """Read OpenPose's 25 points (F, 25, 3) of the most confident person, if they exist."""
        folder = next(
            (
                self.root / name / recording
                for name in ("keypoints", "keypoints_openpose")
                if (self.root / name / recording).is_dir()
            ),
            None,
        )
        if folder is None:
            return None
        return np.stack([read_keypoints(folder / f"{path.stem}_keypoints.json") for path in images])

    def visibility(self, index: int, frames: slice) -> np.ndarray | None:
        """Read which joints (F, 22) the room does not occlude, if known."""
        path = self.root / "mask_joint" / self.recordings[index] / "mask_joint.npy"
        if not path.is_file():
            return None
        try:
            mask = np.load(path, allow_pickle=False)
        except NPZ_ERRORS as error:
            raise CARD.damaged(path, error) from error
        expected = len(self.images[index])
        if mask.ndim != 2 or len(mask) != expected or mask.shape[1] < 22:
            raise CARD.damaged(path, f"shape {mask.shape}, expected ({expected}, 22)")
        return np.asarray(mask[frames, :22]).astype(bool)


def open_prox(root: Path, split: str = "") -> Prox:
    """List the recordings; raises DataError if there is none."""
    CARD.need_split(split)
    pattern = root / "recordings" / "*" / "Color"
    folders = CARD.need_some(
        (root / "recordings").glob("*/Color"), pattern, "at least one recording"
    )
    images = []
    for folder in folders:
        found = tuple(sorted(path for path in folder.iterdir() if IMAGE.match(path.stem)))
        if not found:
            raise CARD.missing(
                folder / "s001_frame_00001__00.00.00.033.jpg", "a recording's images"
            )
        images.append(found)
    return Prox(root, tuple(folder.parent.name for folder in folders), tuple(images))


def stamp_ns(image: Path) -> int:
    """Return the time in an image's name, ns since the start of the recording."""
    match = IMAGE.match(image.stem)
    if match is None:
        raise CARD.damaged(image, "its name states no time")
    hours, minutes, seconds, thousandths = (int(match[group]) for group in range(2, 6))
    return ((hours * 60 + minutes) * 60 + seconds) * 1_000_000_000 + thousandths * 1_000_000


def read_keypoints(path: Path) -> np.ndarray:
    """Return one image's points (25, 3) float32; zeros without a person."""
    content = load_json(path, CARD, "OpenPose's keypoints of an image")
    try:
        people = [
            np.asarray(person["pose_keypoints_2d"], np.float32).reshape(25, 3)
            for person in content["people"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise CARD.damaged(path, error) from error
    if not people:
        return np.zeros((25, 3), np.float32)
    return max(people, key=lambda points: float(points[:, 2].sum()))


def person_boxes(points: np.ndarray) -> np.ndarray:
    """Return the boxes (F, 3) around seen points; without a person the last one is kept.

    Before a person is seen, the box is the one of the published code.
    """
    box = np.array([150.0, 150.0, PADDING * 100.0])
    boxes = []
    for frame in points:
        seen = frame[frame[:, 2] > SEEN, :2]
        if len(seen) >= 2:
            low, high = seen.min(0), seen.max(0)
            box = np.append((low + high) / 2, PADDING * (high - low).max())
        boxes.append(box)
    return np.stack(boxes).astype(np.float32)
