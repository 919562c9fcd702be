"""MotionFiles: motion.npz and joints.csv in a folder, visible only when they are complete.

Data is written to disk immediately, so that memory does not grow and little is lost if the process
dies. The disk may become full at any time: both files then contain the same images, all but the
last few, and the space for motion.npz was allocated beforehand.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from array import array
from pathlib import Path

import numpy as np

from moro_ros.errors import ConfigError
from moro_ros.io.recording import CSV_HEADER, ROW, csv_lines, write_table
from moro_ros.types import Camera


class AppendFile:
    """Appends to a new or existing file, unbuffered.

    A buffer would keep data that did not fit on the disk and try to write it again on closing.
    Every method raises OSError.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append all of `data`; after an error a part of it may have been written."""
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            done += self._file.write(view[done:])
        return done

    def tell(self) -> int:
        """The size [bytes]."""
        return self._file.seek(0, os.SEEK_END)

    def cut(self, size: int) -> None:
        """Truncate the file to the first `size` bytes."""
        self._file.truncate(size)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def reserve(path: Path, size: int) -> None:
    """Allocate disk space for a file that is written later; raises OSError if there is none."""
    with path.open("ab") as file, contextlib.suppress(AttributeError):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            # The file system does not support it: then a full disk is only detected on writing.
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise


TABLE, CSV = "motion.npz", "joints.csv"
# The rows of all people in the order of publication, until they are sorted into the table.
ROWS = "rows"
STORED = np.dtype([("id", "<i8"), ("row", ROW)])
PENDING = 1 << 16  # bytes of rows written at once
# Maximum size of the table without its rows, and per person: names and sizes of ten arrays.
TABLE_HEAD, TABLE_PERSON = 1 << 16, 1 << 12
RESERVED_AHEAD = 1 << 20


class MotionFiles:
    """The files of one recording, which stay in a hidden folder until finish() or place().

    others: names of more files that the caller writes to `temporary` and passes to `finish`.
    option: the name of the option for the folder.
    camera: set it when it is known. frame_id: of the motion, if it may not be the camera's.
    Raises: ConfigError if a file of that name exists and may not be overwritten, or if the folder
    is not writable.
    """

    def __init__(
        self,
        folder: Path,
        overwrite: bool,
        others: tuple[str, ...] = (),
        option: str = "'output'",
    ) -> None:
        self._folder, self._names = folder, (*others, TABLE, CSV)
        self._overwrite = overwrite
        self._check_names()
        self._made = not folder.exists()
        temporary = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=".recording-", dir=folder))
            self._rows = AppendFile(temporary / ROWS)
            self._csv = AppendFile(temporary / CSV)
            self._csv.write(CSV_HEADER.encode())
        except OSError as error:
            if temporary is not None:
                shutil.rmtree(temporary, ignore_errors=True)
            self._remove_own_folder()
            raise ConfigError(
                f"Cannot write to the folder {folder} ({error}). Free disk space, or set {option} "
                "to another folder."
            ) from error
        self.temporary = temporary
        self.camera: Camera | None = None
        self.frame_id = ""
        self._stamps_ns = array("q")
        self._people: set[int] = set()
        self._pending: list[tuple[bytes, bytes]] = []  # as stored, and the lines of the CSV file
        self._kept = 0  # images whose people are on the disk
        self._reserved = 0

    def add_image(self, stamp_ns: int) -> None:
        """Add a described image; its people follow. Raises: OSError."""
        if len(self._pending) * STORED.itemsize >= PENDING:
            self._write_pending()
        self._stamps_ns.append(stamp_ns)

    def add(self, track_id: int, row: np.ndarray) -> None:
        """Append one person in the newest image, () of dtype ROW."""
        stored = track_id.to_bytes(8, "little", signed=True) + row.tobytes()
        self._pending.append((stored, csv_lines(track_id, row).encode()))
        self._people.add(track_id)

    def complete(self) -> list[str]:
        """Complete the files as far as the disk allows; returns texts of what is missing."""
        missing = []
        try:
            self._write_pending()
        except OSError as error:
            missing.append(f"the last {len(self._stamps_ns) - self._kept} images ({error})")
            self._stamps_ns = self._stamps_ns[: self._kept]
        self._close()
        table = self.temporary / TABLE
        try:
            self._write_table(table)
        except OSError as error:
            missing.append(f"{TABLE} ({error})")
            table.unlink(missing_ok=True)
        (self.temporary / ROWS).unlink()
        return missing

    def place(self, *others: Path) -> list[Path]:
        """Move the completed files and others to their places; returns their paths.

        Raises: ConfigError if one that must not be overwritten has appeared meanwhile.
        """
        self._check_names()
        own = (self.temporary / TABLE, self.temporary / CSV)
        sources = [path for path in (*others, *own) if path.exists()]
        done = [source.replace(self._folder / source.name) for source in sources]
        shutil.rmtree(self.temporary)
        return done

    def finish(self, *others: Path) -> list[Path]:
        """Complete the files and move them to their places; raises OSError if one is incomplete."""
        missing = self.complete()
        if missing:
            raise OSError(f"Cannot complete the files in {self._folder}: {'; '.join(missing)}.")
        return self.place(*others)

    def discard(self) -> None:
        """Remove the temporary files."""
        self._close()
        shutil.rmtree(self.temporary, ignore_errors=True)
        self._remove_own_folder()

    @property
    def images(self) -> int:
        """Number of added images; after complete(), of images in the files."""
        return len(self._stamps_ns)

    def _remove_own_folder(self) -> None:
        """Remove the folder if it was created here and is empty."""
        if self._made:
            with contextlib.suppress(OSError):
                self._folder.rmdir()

    def _check_names(self) -> None:
        # A broken link also counts as an existing file.
        taken = [name for name in self._names if os.path.lexists(self._folder / name)]
        if taken and not self._overwrite:
            raise ConfigError(
                f"{self._folder} already contains {', '.join(taken)}. Choose another folder "
                "with 'output', or set 'overwrite' to true."
            )

    def _write_pending(self) -> None:
        """Write the rows of complete images to both files, or to none."""
        sizes = self._rows.tell(), self._csv.tell()
        try:
            self._reserve(sizes[0] + len(self._pending) * STORED.itemsize)
            self._rows.write(b"".join(stored for stored, _ in self._pending))
            self._csv.write(b"".join(lines for _, lines in self._pending))
        except OSError:
            self._rows.cut(sizes[0])
            self._csv.cut(sizes[1])
            raise
        self._pending.clear()
        self._kept = len(self._stamps_ns)

    def _reserve(self, rows: int) -> None:
        """Allocate the space of the table for a number of bytes of rows."""
        size = TABLE_HEAD + rows + 8 * len(self._stamps_ns) + TABLE_PERSON * len(self._people)
        if size > self._reserved:
            reserve(self.temporary / TABLE, size + RESERVED_AHEAD)
            self._reserved = size + RESERVED_AHEAD

    def _write_table(self, path: Path) -> None:
        rows = self.temporary / ROWS
        # An empty file cannot be mapped.
        stored = np.memmap(rows, STORED, "r") if rows.stat().st_size else np.empty(0, STORED)
        ids = np.array(stored["id"])
        order = np.argsort(ids, kind="stable")
        found, starts = np.unique(ids[order], return_index=True)
        parts = np.split(order, starts[1:])
        people = {
            int(track_id): StoredRows(stored, part)
            for track_id, part in zip(found, parts[: len(found)], strict=True)
        }
        path.touch()
        # Into the allocated space.
        with path.open("r+b") as file:
            write_table(file, self.camera, self._stamps_ns, people, self.frame_id)

    def _close(self) -> None:
        self._csv.close()
        self._rows.close()


class StoredRows:
    """The rows of one person, read from the disk part by part.

    stored: (N,) of dtype STORED; order: (F,) the person's indices in it.
    """

    def __init__(self, stored: np.ndarray, order: np.ndarray) -> None:
        self._stored, self._order = stored, order

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, part: slice) -> np.ndarray:
        return np.asarray(self._stored[self._order[part]]["row"])
