"""Human3.6M: people filmed in a motion capture studio (Ionescu et al., TPAMI 2014)."""

from __future__ import annotations

from pathlib import Path

from moro_ros.data.image_labels import LABELS_URL, LabelledImages, open_labelled
from moro_ros.data.layout import SetCard

CARD = SetCard(
    title="Human3.6M",
    obtain=f"{LABELS_URL}, and the videos, as images, from http://vision.imar.ro/human3.6m.",
    licence="academic use, registration; SMPL labels non-commercial",
    layout=(
        "real_training_labels/h36m_train.npz",
        "real_training_images/h36m/Images/S1/<video>/<frame>.jpg",
    ),
    splits=("train",),
)
FOLDERS = ("real_training_images/h36m",)


def open_human36m(root: Path, split: str = "") -> LabelledImages:
    """Open the labelled images; raises DataError if labels or images are missing or damaged."""
    CARD.need_split(split)
    return open_labelled("human36m", CARD, root, CARD.layout[0], FOLDERS, 1145.0, True)
