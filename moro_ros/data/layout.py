"""What a data set is, where its files must lie, and the errors that say so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from moro_ros.errors import DataError


@dataclass(frozen=True, slots=True)
class SetCard:
    """What a user must know of a data set before it can be read.

    obtain: how to come by it; licence: the class of its terms, not legal advice; layout: the files
    below the set's folder, one a line; splits: the names of its parts, the first is the default.
    """

    title: str
    obtain: str
    licence: str
    layout: tuple[str, ...]
    splits: tuple[str, ...]

    def need_file(self, path: Path, what: str) -> Path:
        """Return the path of a file.

        Raises: DataError if there is none, with what it should hold and how to obtain the set.
        """
        if not path.is_file():
            raise self.missing(path, what)
        return path

    def need_folder(self, path: Path, what: str) -> Path:
        """Return the path of a folder; raises DataError if there is none."""
        if not path.is_dir():
            raise self.missing(path, what)
        return path

    def need_some(self, found: Iterable[Path], path: Path, what: str) -> list[Path]:
        """Return what a search found, sorted; raises DataError if that is nothing."""
        paths = sorted(found)
        if not paths:
            raise self.missing(path, what)
        return paths

    def need_split(self, split: str) -> str:
        """Return the name of a split, the default for an empty one; raises DataError if unknown."""
        if split and split not in self.splits:
            raise DataError(
                f"{self.title}: there is no split '{split}'; expected one of "
                f"{', '.join(self.splits)}."
            )
        return split or self.splits[0]

    def missing(self, path: Path, what: str) -> DataError:
        """Return the error for a file or folder that is not there."""
        layout = "\n  ".join(self.layout)
        return DataError(
            f"{self.title}: {path} is missing; expected {what}. The folder of the data set must "
            f"contain\n  {layout}\nHow to obtain it: {self.obtain}"
        )

    def damaged(self, path: Path, reason: object) -> DataError:
        """Return the error for a file that cannot be read or is not what it should be."""
        return DataError(
            f"{self.title}: {path} is damaged or of another kind ({reason}). Obtain the file "
            f"again: {self.obtain}"
        )
