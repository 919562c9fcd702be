"""COCO: everyday photographs with SMPL fitted to them (Lin et al., ECCV 2014)."""

from __future__ import annotations

from pathlib import Path

from moro_ros.data.image_labels import LABELS_URL, LabelledImages, open_labelled
from moro_ros.data.layout import SetCard

CARD = SetCard(
    title="COCO",
    obtain=f"{LABELS_URL}, and the images of train2014 from https://cocodataset.org.",
    licence="annotations CC BY 4.0, Flickr's images under their own terms; SMPL labels "
    "non-commercial",
    layout=(
        "real_training_labels/coco.npz",
        "real_training_images/coco/train2014/COCO_train2014_<id>.jpg",
    ),
    splits=("train",),
)
FOLDERS = ("real_training_images/coco",)


def open_coco(root: Path, split: str = "") -> LabelledImages:
    """Open the labelled images; raises DataError if labels or images are missing or damaged."""
    CARD.need_split(split)
    return open_labelled("coco", CARD, root, CARD.layout[0], FOLDERS, None, False)
