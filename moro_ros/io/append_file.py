"""AppendFile: a file that grows, and that can be cut back to its last whole record."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path


class AppendFile:
    """Appends to a file that exists or is made, without a buffer of its own.

    A buffer would keep what did not fit on the disk, and try to write it again when it is closed.
    Every method raises OSError.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append all of `data`; after an error a part of it may be there."""
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            done += self._file.write(view[done:])
        return done

    def tell(self) -> int:
        """The size [bytes]."""
        return self._file.seek(0, os.SEEK_END)

    def cut(self, size: int) -> None:
        """Forget all but the first `size` bytes."""
        self._file.truncate(size)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def reserve(path: Path, size: int) -> None:
    """Claim disk space for a file that will be written later; raises OSError if there is none."""
    with path.open("ab") as file, contextlib.suppress(AttributeError):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            # A file system that cannot do it: then the disk is only full when it is full.
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
