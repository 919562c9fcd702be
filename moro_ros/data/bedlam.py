"""BEDLAM: rendered people with exact SMPL-X bodies (Black et al., CVPR 2023)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.data.dataset import ALL, BodyFit, Clip, ClipSet, SetCard, even_stamps
from moro_ros.data.records import Archive, image_size
from moro_ros.types import Camera, SmplxParams

CARD = SetCard(
    title="BEDLAM",
    obtain="register at https://bedlam.is.tue.mpg.de and fetch the training images and "
    "bedlam_labels/all_npz_12_training.zip (SMPL-X, neutral).",
    licence="non-commercial research, registration",
    layout=(
        "training_labels/all_npz_12_training/<scene>.npz",
        "training_images/<scene>/png/seq_000000/seq_000000_0000.png",
    ),
    splits=("train", "val", "frames", "all"),
)
ARRAYS = ("imgname", "center", "scale", "pose_cam", "shape", "trans_cam", "cam_int", "cam_ext")
# The kept shape of each array, without the rows; the first 22 points are SMPL-X's joints.
SHAPES: dict[str, tuple[int, ...]] = {
    "center": (2,),
    "scale": (),
    "pose_cam": (66,),
    "shape": (10,),
    "trans_cam": (3,),
    "cam_int": (3, 3),
    "cam_ext": (3, 4),
    "gtkps": (len(JOINT_NAMES), 2),
}
FPS = 30.0  # of the rendering; frames are numbered at this rate
VALIDATION = "static_highSchoolGym_30fps"
NOT_BEDLAM = "agora"  # next to the scenes, from another data set
IMAGE_NAME = re.compile(r"(seq_\d+)/\1_(\d+)\.(?:png|jpg)$")
MOVING_CAMERA = ("orbit", "zoom")


@dataclass(frozen=True, slots=True)
class Track:
    """One person in one sequence of a scene: its rows of the scene's labels in time order."""

    scene: str
    sequence: str
    subject: str
    rows: tuple[int, ...]
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Bedlam(ClipSet):
    """Clips of BEDLAM, at 6 or 30 Hz as the scene was released."""

    root: Path
    tracks: tuple[Track, ...]
    name: str = "bedlam"

    @property
    def lengths(self) -> np.ndarray:
        """Frames of each clip, (C,) int64."""
        return np.array([len(track.rows) for track in self.tracks], np.int64)

    def clip(self, index: int, frames: slice = ALL) -> Clip:
        """Read a clip."""
        track = self.tracks[index]
        labels = scene_labels(self.root / CARD.layout[0].replace("<scene>", track.scene))
        rows = list(track.rows[frames])
        folder = self.root / "training_images" / track.scene / "png"
        images = tuple(folder / str(name) for name in labels["imgname"][rows])
        closeup = "closeup" in track.scene
        width, height = image_size(images[0], CARD)
        if closeup:  # files are rotated by 90 degrees, the labels are upright
            width, height = height, width
        intrinsics, camera_from_fit = labels["cam_int"][rows[0]], np.eye(4)
        # The labels' bodies are in the camera frame up to this shift, which only differs between
        # frames if the camera moves.
        shift = labels["cam_ext"][rows][:, :, 3]
        params = SmplxParams(
            labels["shape"][rows[0]],
            labels["pose_cam"][rows, :3],
            labels["pose_cam"][rows, 3:],
            labels["trans_cam"][rows] + shift,
        )
        side = 200.0 * labels["scale"][rows].reshape(-1, 1)
        points = labels.get("gtkps")
        numbers = track.numbers[frames]
        return Clip(
            name=f"{track.scene}/{track.sequence}/{track.subject}",
            subject=track.subject,
            stamps_ns=even_stamps(numbers, FPS),
            fps=FPS / step_of(track.numbers),
            fit=BodyFit(params, camera_from_fit=camera_from_fit),
            camera=Camera(intrinsics.astype(np.float64), width, height),
            images=images,
            image_turns=1 if closeup else 0,
            boxes_px=np.concatenate([labels["center"][rows], side], -1).astype(np.float32),
            points_px=None if points is None else certain(points[rows]),
            point_names=() if points is None else JOINT_NAMES,
        )


def open_bedlam(root: Path, split: str = "") -> Bedlam:
    """List the people of a split's scenes.

    split: "train" and "val" exclude scenes with a moving camera, because the network requires a
    static one; "frames" are the training scenes including them, for single images; "all" is all.
    Raises: DataError if there are no labels or one of them is damaged.
    """
    split = CARD.need_split(split)
    pattern = root / CARD.layout[0].replace("<scene>", "*")
    found = CARD.need_some(
        pattern.parent.glob("*.npz"), pattern, "the labels of at least one scene"
    )
    tracks = []
    for path in found:
        scene = path.stem
        validation = scene.endswith(VALIDATION)
        moving = any(word in scene for word in MOVING_CAMERA)
        if NOT_BEDLAM in scene or (split != "all" and validation != (split == "val")):
            continue
        if moving and split in ("train", "val"):
            continue
        tracks += scene_tracks(path)
    if not tracks:
        raise CARD.missing(pattern, f"at least one scene of the split '{split}'")
    return Bedlam(root, tuple(tracks))


def scene_tracks(path: Path) -> list[Track]:
    """Return the people of one scene's labels, each cut where frames are missing."""
    archive = Archive(path, CARD, (*ARRAYS, "sub"))
    names = archive.read("imgname")
    subjects = archive.rows("sub", len(names))
    rows: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for row, (name, subject) in enumerate(zip(names, subjects, strict=True)):
        match = IMAGE_NAME.search(str(name))
        if match is None:
            raise CARD.damaged(path, f"imgname '{name}', expected seq_000000/seq_000000_0000.png")
        rows.setdefault((match[1], str(subject)), []).append((int(match[2]), row))
    tracks = []
    for (sequence, subject), found in sorted(rows.items()):
        found.sort()
        for part in even_runs(found):
            numbers, chosen = zip(*part, strict=True)
            tracks.append(Track(path.stem, sequence, subject, chosen, numbers))
    return tracks


def even_runs(found: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Split numbered rows where the step between them is larger than the usual one."""
    step = step_of([number for number, _ in found])
    runs = [[found[0]]]
    for before, after in pairwise(found):
        if after[0] - before[0] > step:
            runs.append([])
        runs[-1].append(after)
    return runs


def step_of(numbers: list[int] | tuple[int, ...]) -> int:
    """Return the usual step between frame numbers; 1 for a single frame."""
    return int(np.median(np.diff(numbers))) if len(numbers) > 1 else 1


# All training scenes at once: clips are drawn from all of them, and a scene needs 20 to 50 MB.
@lru_cache(maxsize=64)
def scene_labels(path: Path) -> dict[str, np.ndarray]:
    """Read the labels of one scene that clips need, in float32.

    Raises: DataError if they are damaged.
    """
    archive = Archive(path, CARD, ARRAYS)
    count = archive.shape("imgname")[0]
    labels = {"imgname": archive.rows("imgname", count).astype(str)}
    for key, shape in SHAPES.items():
        if key == "gtkps" and key not in archive:
            continue
        values = archive.rows(key, count)
        if values.ndim != len(shape) + 1 or any(
            got < least for got, least in zip(values.shape[1:], shape, strict=True)
        ):
            raise CARD.damaged(path, f"{key} {values.shape}, expected ({count}, {shape}) or more")
        wanted = (slice(None), *(slice(least) for least in shape))
        labels[key] = values[wanted].astype(np.float32)
    return labels


def well_seen(clip: Clip, joints: int = 16, share: float = 0.8) -> bool:
    """Return whether enough joints are in the image in enough frames, as published."""
    if clip.points_px is None or clip.camera is None:
        return True
    points = clip.points_px[..., :2]
    limit = np.array([clip.camera.width, clip.camera.height])
    inside = ((points >= 0) & (points < limit)).all(-1).sum(-1) >= joints
    return bool(inside.mean() >= share)


def certain(points: np.ndarray) -> np.ndarray:
    """Return points (F, N, 2) with confidence 1, (F, N, 3) float32."""
    return np.concatenate([points, np.ones_like(points[..., :1])], -1)
