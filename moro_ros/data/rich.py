"""RICH: people in scanned places, recorded by six to eight cameras (Huang et al., CVPR 2022)."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from moro_ros.data.dataset import ALL, BodyFit, Clip, ClipSet, Gender, SetCard, even_stamps
from moro_ros.data.records import image_size, load_json, read_fits
from moro_ros.types import Camera

CARD = SetCard(
    title="RICH",
    obtain="register at https://rich.is.tue.mpg.de and fetch images, bodies and "
    "scan_calibration; gender.json comes with the rich_toolkit repository (resource/).",
    licence="non-commercial research, registration",
    layout=(
        "images/<split>/<sequence>/cam_00/00001_00.jpeg",
        "bodies/<split>/<sequence>/00001/<subject>.pkl",
        "scan_calibration/<scene>/calibration/000.xml",
        "resource/gender.json",
    ),
    splits=("test", "val", "train"),
)
FPS = 30.0
IMAGE_ENDINGS = ("jpeg", "jpg", "png", "bmp")


@dataclass(frozen=True, slots=True)
class Track:
    """One person of a sequence in one camera, over consecutive frames."""

    sequence: str
    subject: str
    camera: int
    images: tuple[Path, ...]
    fits: tuple[Path, ...]
    numbers: tuple[int, ...]

    @property
    def scene(self) -> str:
        """Name of the place in the calibration folders."""
        return self.sequence.split("_")[0]


@dataclass(frozen=True, slots=True)
class Rich(ClipSet):
    """Clips of RICH, 30 Hz."""

    root: Path
    tracks: tuple[Track, ...]
    name: str = "rich"

    @property
    def lengths(self) -> np.ndarray:
        """Frames of each clip, (C,) int64."""
        return np.array([len(track.numbers) for track in self.tracks], np.int64)

    def clip(self, index: int, frames: slice = ALL) -> Clip:
        """Read a clip."""
        track = self.tracks[index]
        images = track.images[frames]
        camera, camera_from_fit = self.calibration(track, images[0])
        fit = BodyFit(
            read_fits(track.fits[frames], CARD),
            gender=self.gender(track.subject),
            camera_from_fit=camera_from_fit,
        )
        return Clip(
            name=f"{track.sequence}/cam_{track.camera:02d}/{track.subject}/{track.numbers[0]}",
            subject=track.subject,
            stamps_ns=even_stamps(track.numbers[frames], FPS),
            fps=FPS,
            fit=fit,
            camera=camera,
            images=images,
        )

    def calibration(self, track: Track, image: Path) -> tuple[Camera, np.ndarray]:
        """Read a camera and its pose (4, 4) in the frame of the fits."""
        folder = self.root / "scan_calibration" / track.scene / "calibration"
        path = folder / f"{track.camera:03d}.xml"
        CARD.need_file(path, "a camera's calibration")
        try:
            tree = ElementTree.parse(path)
            numbers = {
                name: np.array((tree.findtext(f"./{name}/data") or "").split(), np.float64)
                for name in ("CameraMatrix", "Intrinsics", "Distortion")
            }
            pose = np.vstack([numbers["CameraMatrix"].reshape(3, 4), [0, 0, 0, 1]])
            intrinsics = numbers["Intrinsics"].reshape(3, 3)
        except (ElementTree.ParseError, ValueError) as error:
            raise CARD.damaged(path, error) from error
        width, height = image_size(image, CARD)
        # Four or more of OpenCV's coefficients; the released images keep their distortion.
        distortion = tuple(float(value) for value in numbers["Distortion"])
        distortion = distortion if any(distortion) else ()
        # Released images may be smaller than the calibrated ones; the principal point is near the
        # middle of the calibrated image.
        factor = scale_to(intrinsics, width)
        scaled = np.diag([factor, factor, 1.0]) @ intrinsics
        return Camera(scaled, width, height, distortion), pose

    def gender(self, subject: str) -> Gender:
        """Return a subject's gender."""
        path = self.root / "resource" / "gender.json"
        table = load_json(path, CARD, "the gender of every subject")
        stated = next((str(table[key]) for key in (subject, str(int(subject))) if key in table), "")
        if stated not in ("male", "female"):
            raise CARD.damaged(path, f"no gender of subject {subject}")
        return "female" if stated == "female" else "male"


def scale_to(intrinsics: np.ndarray, width: int) -> float:
    """Return the power of two between the calibrated width and this image width."""
    return float(2.0 ** np.round(np.log2(width / (2 * intrinsics[0, 2]))))


def open_rich(root: Path, split: str = "") -> Rich:
    """List the people of a split in every camera.

    Raises: DataError if images or bodies are missing.
    """
    split = CARD.need_split(split)
    bodies = CARD.need_folder(root / "bodies" / split, "the bodies of the split's sequences")
    tracks = []
    for sequence in sorted(path for path in bodies.iterdir() if path.is_dir()):
        cameras = sorted((root / "images" / split / sequence.name).glob("cam_*"))
        if not cameras:
            folder = root / "images" / split / sequence.name / "cam_00"
            raise CARD.missing(folder, "the images of a sequence")
        people: dict[str, dict[int, Path]] = {}
        for fit in sorted(sequence.glob("*/*.pkl")):
            if fit.parent.name.isdigit():
                people.setdefault(fit.stem, {})[int(fit.parent.name)] = fit
        for camera in cameras:
            images = camera_images(camera)
            for subject, fits in sorted(people.items()):
                both = sorted(fits.keys() & images.keys())
                tracks += cut_track(sequence.name, subject, camera, images, fits, both)
    if not tracks:
        raise CARD.missing(bodies / "<sequence>/<frame>/<subject>.pkl", "bodies with images")
    return Rich(root, tuple(tracks))


def camera_images(folder: Path) -> dict[int, Path]:
    """Return the images of one camera by frame number."""
    pattern = re.compile(rf"(\d+)_\d+\.(?:{'|'.join(IMAGE_ENDINGS)})$")
    matches = ((pattern.match(path.name), path) for path in folder.iterdir())
    return {int(match[1]): path for match, path in matches if match}


def cut_track(
    sequence: str,
    subject: str,
    camera: Path,
    images: dict[int, Path],
    fits: dict[int, Path],
    numbers: list[int],
) -> list[Track]:
    """Return the runs of consecutive frames of one person in one camera."""
    runs = np.split(np.array(numbers, np.int64), np.flatnonzero(np.diff(numbers) != 1) + 1)
    return [
        Track(
            sequence,
            subject,
            int(camera.name.removeprefix("cam_")),
            tuple(images[number] for number in run.tolist()),
            tuple(fits[number] for number in run.tolist()),
            tuple(run.tolist()),
        )
        for run in runs
        if len(run)
    ]
