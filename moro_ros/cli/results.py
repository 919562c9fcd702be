"""What commands share: ranges of options, tables on the terminal, JSON, folders of images."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from moro_ros.errors import ConfigError, DataError
from moro_ros.io.image_file import write_image

# Digits of scores in tables; all others have one.
DIGITS = dict.fromkeys(("root_m", "coverage", "within", "within_1_sigma", "within_2_sigma"), 3)


def check_least(arguments: argparse.Namespace, least: float, *names: str) -> None:
    """Check that options, numbers or lists of them, are not below a limit; raises ConfigError."""
    for name in names:
        value = getattr(arguments, name)
        lowest = min(value) if isinstance(value, Sequence) else value
        if lowest < least:
            option = name.replace("_", "-")
            raise ConfigError(f"--{option}: got {lowest}, expected {least} or more.")


def check_positive(arguments: argparse.Namespace, *names: str) -> None:
    """Check that options are more than 0; raises ConfigError."""
    for name in names:
        if not getattr(arguments, name) > 0:
            option = name.replace("_", "-")
            raise ConfigError(f"--{option}: got {getattr(arguments, name)}, expected more than 0.")


def rounded(value: float, digits: int = 2) -> float | None:
    """Return a number for JSON; null if it could not be measured."""
    return round(value, digits) if math.isfinite(value) else None


def score_row(score: Any) -> dict[str, object]:
    """Return a score, a dataclass of names and numbers, as a table row."""
    return {
        key: rounded(value, DIGITS.get(key, 1)) if isinstance(value, float) else value
        for key, value in asdict(score).items()
    }


def print_table(rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows as a Markdown table; a key that a row lacks is an empty cell."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    print("| " + " | ".join(names) + " |")
    print("|" + " --- |" * len(names))
    for row in rows:
        print("| " + " | ".join("" if row.get(n) is None else str(row[n]) for n in names) + " |")


def print_rows(rows: Sequence[Mapping[str, object]], as_json: bool) -> None:
    """Print rows as a table, or as a JSON array."""
    if as_json:
        print(json.dumps(rows))
    else:
        print_table(rows)


def make_folder(folder: Path, option: str) -> None:
    """Create a folder, so that a wrong one is reported before minutes of work.

    option: the option for it. Raises: DataError if it cannot be created or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".part").touch()
        (folder / ".part").unlink()
    except OSError as error:
        raise DataError(f"Cannot write to {folder} ({error}). Choose another {option}.") from error


def make_place(file: Path, option: str) -> None:
    """Create the folder of a file that is written after minutes of work.

    option: the option for the file. Raises: DataError if it cannot be written.
    """
    if file.is_dir():
        raise DataError(f"{option}: got the folder {file}, expected a file.")
    make_folder(file.parent, option)


def check_not_replaced(inputs: Iterable[Path], results: Iterable[Path]) -> None:
    """Check that no input is a file that the results would replace; raises ConfigError."""
    replaced = {path.resolve() for path in results}
    for path in inputs:
        if path.resolve() in replaced:
            raise ConfigError(
                f"{path} would be replaced by the results, which have the same name. Choose "
                "another --out FOLDER, or rename the input."
            )


def write_images(images: Mapping[str, np.ndarray], folder: Path) -> None:
    """Write images (H, W, 3) uint8 BGR as NAME.png.

    Raises: DataError if they cannot be written.
    """
    for name, image in images.items():
        write_image(folder / f"{name}.png", image)


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step; raises DataError if that is not possible."""
    part = path.with_name(f".part-{path.name}")
    try:
        # Names of files may have bytes that are not UTF-8.
        part.write_text(text, encoding="utf-8", errors="replace")
        part.replace(path)
    except OSError as error:
        raise DataError(f"Cannot write {path} ({error}). Is the disk full?") from error
    finally:
        with suppress(OSError):
            part.unlink()
