"""Single images labelled with SMPL and 2D points: the format shared by four data sets.

One npz with a row per person: imgname, center and scale (side of the box / 200 px), part
(24, 3) labelled points, openpose (25, 3), pose or pose_cam and shape of SMPL, S (24, 4) joints
[m] about the pelvis with confidence, and, where the labels' makers fitted a full camera, global_t
or trans_cam with focal_l or cam_int.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from moro_ros.data.dataset import ALL, BodyFit, Clip, SetCard
from moro_ros.data.records import Archive, image_size
from moro_ros.types import Camera, SmplxParams

REQUIRED = ("imgname", "center", "scale", "part")
OPTIONAL = (
    "pose_cam", "pose", "shape", "has_smpl", "S", "openpose", "global_t", "trans_cam", "focal_l",
    "cam_int", "gender",
)  # fmt: skip
# The 24 points of `part` and `S`: 14 of LSP, 5 of MPI-INF-3DHP and Human3.6M, 5 of COCO's face.
POINT_NAMES = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
    "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
    "neck", "head_top", "pelvis", "thorax", "spine", "jaw", "head",
    "nose", "left_eye", "right_eye", "left_ear", "right_ear",
)  # fmt: skip
OPENPOSE_NAMES = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder",
    "left_elbow", "left_wrist", "pelvis", "right_hip", "right_knee", "right_ankle", "left_hip",
    "left_knee", "left_ankle", "right_eye", "left_eye", "right_ear", "left_ear", "left_big_toe",
    "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
)  # fmt: skip
LABELS_URL = (
    "register at https://bedlam.is.tue.mpg.de and fetch bedlam_labels/real_training_labels.zip"
)


@dataclass(frozen=True, slots=True)
class LabelledImages:
    """A set of single images; every clip is one frame of one person.

    labels: the npz file; folder: the images are named relative to it; focal_px: of all images,
    if the labels have none and this is None, the diagonal of the image is used.
    measured: whether the bodies come from motion capture.
    """

    name: str
    card: SetCard
    labels: Path
    folder: Path
    focal_px: float | None
    measured: bool

    @property
    def lengths(self) -> np.ndarray:
        """Frames of each clip: ones, (C,) int64."""
        return np.ones(len(self), np.int64)

    def __len__(self) -> int:
        """Return the number of people."""
        return len(read_labels(self.labels, self.card)["imgname"])

    def clip(self, index: int, frames: slice = ALL) -> Clip:
        """Read one person of one image."""
        arrays = read_labels(self.labels, self.card)
        row = {key: value[index] for key, value in arrays.items()}
        image = self.folder / str(row["imgname"])
        width, height = image_size(image, self.card)
        box = np.append(row["center"], 200.0 * float(np.reshape(row["scale"], -1)[0]))
        points, names = labelled_points(row)
        joints = row.get("S")
        clip = Clip(
            name=f"{row['imgname']}#{index}",
            subject=str(row["imgname"]).split("/")[0],
            stamps_ns=np.zeros(1, np.int64),
            fps=0.0,
            fit=self._fit(row),
            camera=Camera(self._intrinsics(row, width, height), width, height),
            images=(image,),
            boxes_px=box[None].astype(np.float32),
            points_px=points[None],
            point_names=names,
            joints=None if joints is None else joints[None, :, :3].astype(np.float32),
            joint_names=() if joints is None else POINT_NAMES,
        )
        return clip.part(frames)

    def _intrinsics(self, row: dict[str, np.ndarray], width: int, height: int) -> np.ndarray:
        """Return K of an image (3, 3) px."""
        if "cam_int" in row:
            return np.asarray(row["cam_int"], np.float64)
        focal = self.focal_px or float(np.hypot(width, height))
        if "focal_l" in row:
            focal = float(np.reshape(row["focal_l"], -1)[0])
        return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], np.float64)

    def _fit(self, row: dict[str, np.ndarray]) -> BodyFit | None:
        """Return the SMPL body of a row, if it has one."""
        pose = row.get("pose_cam", row.get("pose"))
        if pose is None or not bool(np.all(row.get("has_smpl", True))):
            return None
        rotations = np.asarray(pose, np.float32).reshape(-1)
        shift = row.get("trans_cam", row.get("global_t"))
        place = np.zeros(3) if shift is None else np.reshape(shift, -1)[:3]
        betas = np.asarray(row.get("shape", np.zeros(10)), np.float32)[:10]
        params = SmplxParams(
            betas, rotations[None, :3], rotations[None, 3:66], place[None].astype(np.float32)
        )
        return BodyFit(
            params,
            model="smpl",
            camera_from_fit=np.eye(4),
            placed=shift is not None,
            measured=self.measured,
        )


def labelled_points(row: dict[str, np.ndarray]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the points (N, 3) of a row and their names: the labelled, then the detected ones."""
    points = np.asarray(row["part"], np.float32)
    names: tuple[str, ...] = POINT_NAMES
    if "openpose" in row:
        points = np.concatenate([points, np.asarray(row["openpose"], np.float32)])
        names = (*names, *(f"openpose_{name}" for name in OPENPOSE_NAMES))
    return points, names


@lru_cache(maxsize=4)
def read_labels(path: Path, card: SetCard) -> dict[str, np.ndarray]:
    """Read and check all rows of a label file.

    Raises: DataError if it is missing, damaged or its arrays do not belong together.
    """
    archive = Archive(path, card, REQUIRED)
    count = archive.shape("imgname")[0]
    keys = [key for key in (*REQUIRED, *OPTIONAL) if key in archive]
    arrays = {key: archive.rows(key, count) for key in keys}
    for key, shape in (("center", (2,)), ("part", (24, 3)), ("openpose", (25, 3)), ("S", (24, 4))):
        if key in arrays and arrays[key].shape[1:] != shape:
            raise card.damaged(path, f"{key} {arrays[key].shape}, expected ({count}, *{shape})")
    for key in ("pose", "pose_cam"):
        if key in arrays and np.prod(arrays[key].shape[1:]) < 66:
            raise card.damaged(path, f"{key} {arrays[key].shape}, expected ({count}, 72)")
    return arrays


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """A published set in this format, below a common root folder.

    folders: of the images, the first existing one is used; focal_px, measured: see
    LabelledImages.
    """

    name: str
    card: SetCard
    folders: tuple[str, ...]
    focal_px: float | None = None
    measured: bool = False

    def open(self, root: Path, split: str = "") -> LabelledImages:
        """Open the labelled images; raises DataError if labels or images are missing or damaged."""
        self.card.need_split(split)
        labels = self.card.need_file(root / self.card.layout[0], "the labels")
        places = [root / name for name in self.folders]
        folder = next((place for place in places if place.is_dir()), places[0])
        self.card.need_folder(folder, "the images")
        read_labels(labels, self.card)
        return LabelledImages(self.name, self.card, labels, folder, self.focal_px, self.measured)


IMAGES = "real_training_images"
LABELLED_SETS = (
    # Lin et al., ECCV 2014.
    LabelledSet(
        "coco",
        SetCard(
            title="COCO",
            obtain=f"{LABELS_URL}, and the images of train2014 from https://cocodataset.org.",
            licence="annotations CC BY 4.0, Flickr's images under their own terms; SMPL labels "
            "non-commercial",
            layout=(
                "real_training_labels/coco.npz",
                f"{IMAGES}/coco/train2014/COCO_train2014_<id>.jpg",
            ),
            splits=("train",),
        ),
        (f"{IMAGES}/coco",),
    ),
    # Andriluka et al., CVPR 2014.
    LabelledSet(
        "mpii",
        SetCard(
            title="MPII",
            obtain=f"{LABELS_URL}, and the images from http://human-pose.mpi-inf.mpg.de.",
            licence="non-commercial research; SMPL labels non-commercial",
            layout=("real_training_labels/mpii.npz", f"{IMAGES}/mpii/images/<id>.jpg"),
            splits=("train",),
        ),
        (f"{IMAGES}/mpii",),
    ),
    # Ionescu et al., TPAMI 2014: filmed in a motion capture studio.
    LabelledSet(
        "human36m",
        SetCard(
            title="Human3.6M",
            obtain=f"{LABELS_URL}, and the videos, as images, from http://vision.imar.ro/human3.6m.",
            licence="academic use, registration; SMPL labels non-commercial",
            layout=(
                "real_training_labels/h36m_train.npz",
                f"{IMAGES}/h36m/Images/S1/<video>/<frame>.jpg",
            ),
            splits=("train",),
        ),
        (f"{IMAGES}/h36m",),
        focal_px=1145.0,
        measured=True,
    ),
    # Mehta et al., 3DV 2017: before a green screen, without markers.
    LabelledSet(
        "mpi_inf_3dhp",
        SetCard(
            title="MPI-INF-3DHP",
            obtain=f"{LABELS_URL}, and the videos, as images, from "
            "https://vcai.mpi-inf.mpg.de/3dhp-dataset.",
            licence="non-commercial research; SMPL labels non-commercial",
            layout=(
                "real_training_labels/mpi_inf_3dhp_train.npz",
                f"{IMAGES}/mpi_inf_3dhp/S1/Seq1/imageFrames/video_0/frame_000001.jpg",
            ),
            splits=("train",),
        ),
        (f"{IMAGES}/mpi_inf_3dhp", f"{IMAGES}/mpi-inf-3dhp"),
        focal_px=1500.0,
    ),
)
