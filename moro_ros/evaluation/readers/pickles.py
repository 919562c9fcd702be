"""Pickled results of other projects, read without running code in them.

A pickle may call any function. Only the functions for arrays and plain containers are allowed.
"""

from __future__ import annotations

import pickle
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from moro_ros.data.records import SAFE, current
from moro_ros.errors import DataError

# The names in a pickle of arrays and containers.
ALLOWED = SAFE | {
    ("collections", "defaultdict"),
    *(("builtins", name) for name in ("dict", "list", "set", "slice")),
}
# joblib stores arrays as raw bytes after an object of this name.
JOBLIB_ARRAY = ("joblib.numpy_pickle", "NumpyArrayWrapper")
ZLIB_START = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")


class JoblibArray:
    """Stands for joblib's object of an array whose bytes follow in the file."""

    shape: tuple[int, ...]
    order: str
    dtype: np.dtype
    numpy_array_alignment_bytes: int | None = None

    def read(self, file: BinaryIO) -> np.ndarray:
        """Read the array; arrays of objects are rejected."""
        if self.dtype.hasobject:
            raise pickle.UnpicklingError("it contains an array of objects, which is not allowed")
        if self.numpy_array_alignment_bytes is not None:
            file.read(file.read(1)[0])
        count = int(np.prod(self.shape, dtype=np.int64))
        data = file.read(count * self.dtype.itemsize)
        flat = np.frombuffer(data, self.dtype, count).copy()
        if self.order == "F":
            return flat.reshape(self.shape[::-1]).T
        return flat.reshape(self.shape)


# The unpickler in Python: that in C offers no way to read an array from between two operations.
PythonUnpickler: Any = pickle._Unpickler  # type: ignore[attr-defined]


class ArrayUnpickler(PythonUnpickler):  # type: ignore[misc]
    """An unpickler that only builds arrays and containers."""

    dispatch: ClassVar[dict[int, Any]] = dict(PythonUnpickler.dispatch)

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.file = file

    def find_class(self, module: str, name: str) -> Any:
        """Return the object named in a pickle if it is harmless."""
        if (module, name) == JOBLIB_ARRAY:
            return JoblibArray
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it contains {module}.{name}, which is not allowed")
        return super().find_class(current(module), name)

    def load_build(self) -> None:
        """Set an object's contents; an array of joblib is read from the current position."""
        super().load_build()
        if isinstance(self.stack[-1], JoblibArray):
            self.stack[-1] = self.stack[-1].read(self.file)

    dispatch[pickle.BUILD[0]] = load_build


def read_pickle(path: Path) -> Any:
    """Read a pickle of arrays and containers, plain or by joblib.dump, also compressed by zlib.

    Raises: DataError if it is damaged or contains anything else.
    """
    try:
        data = path.read_bytes()
        if data[:2] in ZLIB_START:
            data = zlib.decompress(data)
        return ArrayUnpickler(BytesIO(data)).load()
    except (
        *(OSError, pickle.UnpicklingError, EOFError, ValueError, zlib.error),
        *(AttributeError, ImportError, IndexError, KeyError, TypeError),
    ) as error:
        raise DataError(f"{path} cannot be read as a pickle of arrays: {error}") from error
