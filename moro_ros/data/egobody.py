"""EgoBody: two people in a room, seen by three to five Kinects (Zhang et al., ECCV 2022).

The split "occ" is the occlusion benchmark of RoHM and of the paper: chosen people, views and
frames, with a mask of the joints that the scene hides.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from moro_ros.data.dataset import ALL, BodyFit, Clip, ClipSet, Gender, SetCard, even_stamps
from moro_ros.data.records import kinect_lens, load_json, read_fits, rigid_transform
from moro_ros.errors import NPZ_ERRORS
from moro_ros.types import Camera

CARD = SetCard(
    title="EgoBody",
    obtain="sign the licence at https://egobody.inf.ethz.ch and fetch kinect_color, calibrations, "
    "kinect_cam_params, smplx_interactee_*, smplx_camera_wearer_*, data_info_release.csv and "
    "data_splits.csv; for the split 'occ' also mask_joint (from the RoHM repository) and "
    "egobody_occ_info.csv (from the MoRo authors).",
    licence="non-commercial research, registration",
    layout=(
        "data_info_release.csv",
        "data_splits.csv",
        "kinect_color/<recording>/<view>/frame_00001.jpg",
        "kinect_cam_params/kinect_<view>/Color.json",
        "calibrations/<recording>/cal_trans/kinect_11to12_color.json",
        "smplx_interactee_<split>/<recording>/body_idx_<i>/results/frame_00001/000.pkl",
        "smplx_camera_wearer_<split>/<recording>/body_idx_<i>/results/frame_00001/000.pkl",
        "egobody_occ_info.csv (split occ)",
        "mask_joint/<recording>/<view>/mask_joint.npy (split occ)",
    ),
    splits=("train", "val", "test", "occ"),
)
FPS = 30.0
WIDTH, HEIGHT = 1920, 1080
# View -> the Kinect's number in the calibration files; the master is number 12.
KINECTS = {"sub_1": 11, "sub_2": 13, "sub_3": 14, "sub_4": 15}
FRAME = re.compile(r"frame_(\d+)$")
INFO = ("recording_name", "body_idx_0", "body_idx_1")
OCCLUDED = (
    "recording_name", "view", "target_idx", "target_gender", "target_start_frame",
    "target_end_frame",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Track:
    """One person of a recording in one view, over consecutive frames.

    fits: folder of the frames' folders; mask: the file of the joints' visibility, if there is one.
    """

    recording: str
    view: str
    body: int
    gender: Gender
    fits: Path
    numbers: tuple[int, ...]
    mask: Path | None = None


@dataclass(frozen=True, slots=True)
class EgoBody(ClipSet):
    """Clips of EgoBody, 30 Hz."""

    root: Path
    tracks: tuple[Track, ...]
    name: str = "egobody"

    @property
    def lengths(self) -> np.ndarray:
        """Frames of each clip, (C,) int64."""
        return np.array([len(track.numbers) for track in self.tracks], np.int64)

    def clip(self, index: int, frames: slice = ALL) -> Clip:
        """Read a clip."""
        track = self.tracks[index]
        numbers = track.numbers[frames]
        names = [f"frame_{number:05d}" for number in numbers]
        folder = self.root / "kinect_color" / track.recording / track.view
        params = read_fits([track.fits / name / "000.pkl" for name in names], CARD)
        visible = None if track.mask is None else read_mask(track.mask, len(track.numbers))
        return Clip(
            name=f"{track.recording}/{track.view}/body_{track.body}/{track.numbers[0]}",
            subject=subject_of(track.recording, track.body),
            stamps_ns=even_stamps(numbers, FPS),
            fps=FPS,
            fit=BodyFit(params, gender=track.gender, camera_from_fit=self.extrinsics(track)),
            camera=self.camera(track.view),
            images=tuple(folder / f"{name}.jpg" for name in names),
            visible=None if visible is None else visible[frames],
        )

    def camera(self, view: str) -> Camera:
        """Read a view's intrinsics and distortion."""
        path = self.root / "kinect_cam_params" / f"kinect_{view}" / "Color.json"
        matrix, distortion = kinect_lens(path, CARD, "a camera's intrinsics")
        return Camera(matrix, WIDTH, HEIGHT, distortion)

    def extrinsics(self, track: Track) -> np.ndarray:
        """Read the transform (4, 4) from the master Kinect, of the fits, to a view's camera."""
        if track.view == "master":
            return np.eye(4)
        folder = self.root / "calibrations" / track.recording / "cal_trans"
        path = folder / f"kinect_{KINECTS[track.view]}to12_color.json"
        values = load_json(path, CARD, "the camera's pose")
        matrix = values.get("trans") if isinstance(values, dict) else None
        return np.linalg.inv(rigid_transform(matrix, path, CARD))


def open_egobody(root: Path, split: str = "") -> EgoBody:
    """List the people and views of a split.

    Raises: DataError if the tables, the images' or the bodies' folders are missing or damaged.
    """
    split = CARD.need_split(split)
    tracks = occluded_tracks(root) if split == "occ" else split_tracks(root, split)
    if not tracks:
        pattern = root / f"smplx_interactee_{split}" / "<recording>"
        raise CARD.missing(pattern, "bodies and images of a recording of the split")
    return EgoBody(root, tuple(tracks))


def split_tracks(root: Path, split: str) -> list[Track]:
    """Return all people in every view of the recordings of a split."""
    table = read_table(root / "data_splits.csv", (split,))
    info = {row["recording_name"]: row for row in read_table(root / "data_info_release.csv", INFO)}
    tracks = []
    for recording in [row[split] for row in table if row[split]]:
        if recording not in info:
            raise CARD.damaged(root / "data_info_release.csv", f"it lacks {recording}")
        row = info[recording]
        views = root / "kinect_color" / recording
        for fits in body_folders(root, recording):
            body = int(fits.parent.name.removeprefix("body_idx_"))
            numbers = frame_numbers(fits)
            known = gender(row[f"body_idx_{body}"])
            for view in ("master", *KINECTS):
                if not (views / view).is_dir():
                    continue
                track = Track(recording, view, body, known, fits, numbers)
                tracks += [replace(track, numbers=part) for part in consecutive(numbers)]
    return tracks


def occluded_tracks(root: Path) -> list[Track]:
    """Return the people, views and frames of the occlusion benchmark."""
    tracks = []
    for row in read_table(root / "egobody_occ_info.csv", OCCLUDED):
        recording, view, body = row["recording_name"], row["view"], int(row["target_idx"])
        folders = [
            path for path in body_folders(root, recording) if path.parent.name[-1:] == str(body)
        ]
        if not folders:
            pattern = root / "smplx_*" / recording / f"body_idx_{body}" / "results"
            raise CARD.missing(pattern, "the bodies of a recording")
        first, last = int(row["target_start_frame"]), int(row["target_end_frame"])
        numbers = tuple(number for number in frame_numbers(folders[0]) if first <= number < last)
        if len(numbers) != last - first:
            raise CARD.missing(
                folders[0] / f"frame_{first:05d}", f"all frames from {first} to {last - 1}"
            )
        mask = root / "mask_joint" / recording / view / "mask_joint.npy"
        known = gender(row["target_gender"])
        tracks.append(Track(recording, view, body, known, folders[0], numbers, mask))
    return tracks


def body_folders(root: Path, recording: str) -> list[Path]:
    """Return the folders of fits of all people in a recording, interactee and camera wearer."""
    found = [
        path
        for kind in ("smplx_interactee*", "smplx_camera_wearer*")
        for path in root.glob(f"{kind}/{recording}/body_idx_*/results")
    ]
    return sorted(found)


def frame_numbers(folder: Path) -> tuple[int, ...]:
    """Return the numbers of the frames that have a body, in order."""
    matches = (FRAME.match(path.name) for path in folder.iterdir())
    numbers = tuple(sorted(int(match[1]) for match in matches if match))
    if not numbers:
        raise CARD.missing(folder / "frame_00001", "the bodies of a recording")
    return numbers


def consecutive(numbers: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Split frame numbers at every gap."""
    breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
    return [tuple(part.tolist()) for part in np.split(np.array(numbers), breaks)]


def read_table(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Read a CSV table; raises DataError if it is missing or lacks a column."""
    CARD.need_file(path, f"a table of the columns {', '.join(columns)}")
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        missing = [name for name in columns if name not in (reader.fieldnames or ())]
        if missing:
            raise CARD.damaged(path, f"the columns {', '.join(missing)} are missing")
        return list(reader)


def read_mask(path: Path, frames: int) -> np.ndarray:
    """Return which joints (F, 22) are visible; raises DataError if the file does not fit."""
    CARD.need_file(path, "the visibility of every joint in every frame")
    try:
        mask = np.load(path, allow_pickle=False)
    except NPZ_ERRORS as error:
        raise CARD.damaged(path, error) from error
    if mask.ndim != 2 or len(mask) != frames or mask.shape[1] < 22:
        raise CARD.damaged(path, f"shape {mask.shape}, expected ({frames}, 22)")
    return mask[:, :22].astype(bool)


def gender(stated: str) -> Gender:
    """Return the gender of '0 female' or 'female'."""
    return "female" if "female" in stated else "male" if "male" in stated else "neutral"


def subject_of(recording: str, body: int) -> str:
    """Return the subject's name: of recording_<date>_S01_S02_01 it is S01 or S02.

    Which of the two is body 0 differs between recordings, so the pair stays in the name.
    """
    people = re.findall(r"S\d+", recording)
    return f"{'_'.join(people) or recording}/{body}"
