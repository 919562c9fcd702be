"""AMASS: marker-based motion capture as SMPL-X parameters (Mahmood et al., ICCV 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from moro_ros.data.dataset import ALL, BodyFit, Clip, Gender, SetCard, even_stamps
from moro_ros.data.mocap import resample_motion, resampled_length
from moro_ros.data.records import Archive
from moro_ros.types import SmplxParams

CARD = SetCard(
    title="AMASS",
    obtain="register at https://amass.is.tue.mpg.de and download, per subset, the 'SMPL-X N' "
    "(neutral) archives; unpack them side by side.",
    licence="non-commercial research, registration",
    layout=("<subset>/<subject>/<clip>_stageii.npz", "<subset>/<subject>/neutral_stagei.npz"),
    splits=("train", "val", "test", "all"),
)
FPS = 30.0
RATES = ("mocap_frame_rate", "mocap_framerate")
# The paper's split by subset, with the names on the disk, without case and underscores.
TRAIN = (
    "ACCAD", "BMLhandball", "BMLmovi", "BMLrub", "CMU", "DFaust", "EyesJapanDataset", "GRAB",
    "HDM05", "HumanEva", "MoSh", "PosePrior", "SOMA", "SSM", "Transitions",
)  # fmt: skip
TEST = ("SFU", "TCDHands", "TotalCapture")
SMALLEST = 2  # frames at 30 Hz; shorter files are no motion


@dataclass(frozen=True, slots=True)
class Amass:
    """Clips of AMASS at 30 Hz; z up, no cameras."""

    root: Path
    files: tuple[Path, ...]
    lengths: np.ndarray
    name: str = "amass"

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.files)

    def clip(self, index: int, frames: slice = ALL) -> Clip:
        """Read a clip, resampled to 30 Hz."""
        path = self.files[index]
        archive = Archive(path, CARD, ("trans", "betas"))
        trans = archive.read("trans").astype(np.float32)
        if "root_orient" in archive and "pose_body" in archive:
            parts = [archive.rows(key, len(trans)) for key in ("root_orient", "pose_body")]
            pose = np.concatenate(parts, -1)
        else:
            pose = archive.rows("poses", len(trans))
        if pose.ndim != 2 or pose.shape[1] < 66 or trans.shape[1:] != (3,):
            raise CARD.damaged(path, f"poses {pose.shape} and trans {trans.shape}")
        rotations = pose[:, :66].reshape(-1, 22, 3).astype(np.float32)
        rotations, trans = resample_motion(rotations, trans, frame_rate(archive), FPS)
        params = SmplxParams(
            archive.read("betas").reshape(-1)[:10].astype(np.float32),
            rotations[:, 0],
            rotations[:, 1:].reshape(len(trans), 63),
            trans,
        )
        name = path.relative_to(self.root).as_posix().removesuffix("_stageii.npz")
        clip = Clip(
            name=name,
            subject="/".join(path.relative_to(self.root).parts[:-1]),
            stamps_ns=even_stamps(np.arange(len(trans)), FPS),
            fps=FPS,
            fit=BodyFit(params, gender=gender(archive)),
        )
        return clip.part(frames)


def open_amass(root: Path, split: str = "") -> Amass:
    """List the clips of a split.

    Raises: DataError if the split's subsets have no files, or only those of SMPL+H.
    """
    split = CARD.need_split(split)
    CARD.need_folder(root, "the folder of the subsets")
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and wanted(path, split)]
    files = [path for folder in folders for path in sorted(folder.rglob("*_stageii.npz"))]
    if not files:
        old = next((path for folder in folders for path in folder.rglob("*_poses.npz")), None)
        if old is not None:
            raise CARD.damaged(old, "a file of SMPL+H, expected SMPL-X N: *_stageii.npz")
        subsets = {"train": TRAIN, "all": (*TRAIN, *TEST)}.get(split, TEST)
        raise CARD.missing(
            root / "<subset>/<subject>/*_stageii.npz", f"at least one of {', '.join(subsets)}"
        )
    lengths = np.array([length_at_30(path) for path in files], np.int64)
    kept = [index for index, length in enumerate(lengths) if length >= SMALLEST]
    if split == "val":
        kept = kept[::2]  # every second clip of the test subsets, as published
    return Amass(root, tuple(files[index] for index in kept), lengths[kept])


def wanted(folder: Path, split: str) -> bool:
    """Return whether a subset's folder belongs to a split."""
    name = folder.name.replace("_", "").lower()
    subsets = {"train": TRAIN, "val": TEST, "test": TEST}.get(split)
    return subsets is None or name in {subset.lower() for subset in subsets}


def frame_rate(archive: Archive) -> float:
    """Return the rate of a file, Hz; raises DataError if it has none."""
    key = next((key for key in RATES if key in archive), None)
    if key is None:
        raise CARD.damaged(archive.path, f"the array {RATES[0]} is missing")
    rate = float(archive.read(key).reshape(-1)[0])
    if not 1.0 <= rate <= 1000.0:
        raise CARD.damaged(archive.path, f"a rate of {rate} Hz")
    return rate


def length_at_30(path: Path) -> int:
    """Return the number of frames at 30 Hz of a file."""
    archive = Archive(path, CARD, ("trans",))
    return resampled_length(archive.shape("trans")[0], frame_rate(archive), FPS)


def gender(archive: Archive) -> Gender:
    """Return the gender of a file's body; neutral if it is not stated."""
    stated = str(archive.read("gender")) if "gender" in archive else "neutral"
    return next((known for known in ("female", "male") if known in stated), "neutral")
