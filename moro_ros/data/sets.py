"""All data sets by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from moro_ros.data import (
    amass,
    bedlam,
    egobody,
    open_motion,
    prox,
    rich,
)
from moro_ros.data.dataset import ClipSet, SetCard
from moro_ros.data.image_labels import LABELLED_SETS
from moro_ros.errors import DataError


@dataclass(frozen=True, slots=True)
class SetEntry:
    """Information about a set without its files, and the function that opens it."""

    card: SetCard
    opened: Callable[[Path, str], ClipSet]


SETS: dict[str, SetEntry] = {
    "open": SetEntry(open_motion.CARD, open_motion.open_motion),
    "amass": SetEntry(amass.CARD, amass.open_amass),
    "bedlam": SetEntry(bedlam.CARD, bedlam.open_bedlam),
    "egobody": SetEntry(egobody.CARD, egobody.open_egobody),
    "rich": SetEntry(rich.CARD, rich.open_rich),
    "prox": SetEntry(prox.CARD, prox.open_prox),
    **{each.name: SetEntry(each.card, each.open) for each in LABELLED_SETS},
}


def open_set(name: str, root: str | Path, split: str = "") -> ClipSet:
    """Open a data set.

    name: a key of SETS; root: its folder; split: one of its parts, its first if empty.
    Raises: DataError if the name or split is unknown, or files are missing or damaged; the message
    contains the expected path and how to obtain the file.
    """
    if name not in SETS:
        raise DataError(f"There is no data set '{name}'; expected one of {', '.join(SETS)}.")
    return SETS[name].opened(Path(root).expanduser(), split)
