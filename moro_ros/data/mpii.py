"""MPII: photographs of activities with SMPL fitted to them (Andriluka et al., CVPR 2014)."""

from __future__ import annotations

from pathlib import Path

from moro_ros.data.image_labels import LABELS_URL, LabelledImages, open_labelled
from moro_ros.data.layout import SetCard

CARD = SetCard(
    title="MPII",
    obtain=f"{LABELS_URL}, and the images from http://human-pose.mpi-inf.mpg.de.",
    licence="non-commercial research; SMPL labels non-commercial",
    layout=(
        "real_training_labels/mpii.npz",
        "real_training_images/mpii/images/<id>.jpg",
    ),
    splits=("train",),
)
FOLDERS = ("real_training_images/mpii",)


def open_mpii(root: Path, split: str = "") -> LabelledImages:
    """Open the labelled images; raises DataError if labels or images are missing or damaged."""
    CARD.need_split(split)
    return open_labelled("mpii", CARD, root, CARD.layout[0], FOLDERS, None, False)
