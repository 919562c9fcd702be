"""MPI-INF-3DHP: people before a green screen, markerless truth (Mehta et al., 3DV 2017)."""

from __future__ import annotations

from pathlib import Path

from moro_ros.data.image_labels import LABELS_URL, LabelledImages, open_labelled
from moro_ros.data.layout import SetCard

CARD = SetCard(
    title="MPI-INF-3DHP",
    obtain=f"{LABELS_URL}, and the videos, as images, from https://vcai.mpi-inf.mpg.de/3dhp-dataset.",
    licence="non-commercial research; SMPL labels non-commercial",
    layout=(
        "real_training_labels/mpi_inf_3dhp_train.npz",
        "real_training_images/mpi_inf_3dhp/S1/Seq1/imageFrames/video_0/frame_000001.jpg",
    ),
    splits=("train",),
)
FOLDERS = (
    "real_training_images/mpi_inf_3dhp",
    "real_training_images/mpi-inf-3dhp",
)


def open_mpi_inf_3dhp(root: Path, split: str = "") -> LabelledImages:
    """Open the labelled images; raises DataError if labels or images are missing or damaged."""
    CARD.need_split(split)
    return open_labelled("mpi_inf_3dhp", CARD, root, CARD.layout[0], FOLDERS, 1500.0, False)
