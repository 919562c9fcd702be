"""MotionFiles: motion.npz and joints.csv in a folder, in place only once they are complete."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np

from moro_ros.errors import ConfigError
from moro_ros.inference.recording import CSV_HEADER, MotionRecording, csv_lines

TABLE, CSV = "motion.npz", "joints.csv"


class MotionFiles:
    """The files of one recording, which stay in a hidden folder until finish().

    others: names of more files that the caller puts into `temporary` and into `finish`.
    Raises: ConfigError if a file of that name is there already and may not be overwritten, or if
    the folder cannot be written.
    """

    def __init__(self, folder: Path, overwrite: bool, others: tuple[str, ...] = ()) -> None:
        taken = [name for name in (*others, TABLE, CSV) if (folder / name).exists()]
        if taken and not overwrite:
            raise ConfigError(
                f"{folder} holds {', '.join(taken)} already. Choose another folder with "
                "'output', or set 'overwrite' to true."
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.temporary = Path(tempfile.mkdtemp(prefix=".recording-", dir=folder))
        except OSError as error:
            raise ConfigError(
                f"Cannot write to the folder {folder} ({error}). Set 'output' to another one."
            ) from error
        self._folder = folder
        self.motion = MotionRecording()
        self._csv = (self.temporary / CSV).open("w", encoding="utf-8")
        self._csv.write(CSV_HEADER)

    def add(self, track_id: int, row: np.ndarray) -> None:
        """Append one person in one image, () of dtype ROW."""
        self.motion.add(track_id, row)
        self._csv.write(csv_lines(track_id, row))

    def finish(self, *others: Path) -> list[Path]:
        """Complete the files and put them in place, others too; returns where they are."""
        self._csv.close()
        self.motion.save(self.temporary / TABLE)
        done = []
        for source in (*others, self.temporary / TABLE, self.temporary / CSV):
            done.append(source.replace(self._folder / source.name))
        shutil.rmtree(self.temporary)
        return done

    def discard(self) -> None:
        """Leave nothing behind."""
        self._csv.close()
        shutil.rmtree(self.temporary, ignore_errors=True)
