"""Pickles of other projects, read without running code in them.

A pickle may call any function. Only the functions for arrays and plain containers are allowed.
"""

from __future__ import annotations

import pickle
import re
import zlib
from io import BytesIO
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

from moro_ros.errors import DataError

# The names in a pickle of arrays and containers; anything else is rejected.
ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("_codecs", "encode"),
    ("collections", "OrderedDict"),
    ("collections", "defaultdict"),
    *(("builtins", name) for name in ("dict", "list", "set", "slice")),
}
# NumPy 2 renamed its core; either version reads the files of both.
CORE = "numpy._core." if hasattr(np, "_core") else "numpy.core."
# joblib stores arrays as raw bytes after an object of this name.
JOBLIB_ARRAY = ("joblib.numpy_pickle", "NumpyArrayWrapper")
ZLIB_START = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")


class JoblibArray:
    """Stands for joblib's object of an array whose bytes follow in the file."""

    shape: tuple[int, ...]
    order: str
    dtype: np.dtype
    numpy_array_alignment_bytes: int | None = None

    def read(self, file: IO[bytes]) -> np.ndarray:
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
    """An unpickler that only builds arrays, numbers, strings and containers of them."""

    dispatch: ClassVar[dict[int, Any]] = dict(PythonUnpickler.dispatch)

    def __init__(self, file: IO[bytes]) -> None:
        # This encoding reads the arrays of Python 2.
        super().__init__(file, encoding="latin1")
        self.file = file

    def find_class(self, module: str, name: str) -> Any:
        """Return the object named in a pickle if it is harmless."""
        if (module, name) == JOBLIB_ARRAY:
            return JoblibArray
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it contains {module}.{name}, which is not an array")
        return super().find_class(re.sub(r"^numpy\._?core\.", CORE, module), name)

    def load_build(self) -> None:
        """Set an object's contents; an array of joblib is read from the current position."""
        super().load_build()
        if isinstance(self.stack[-1], JoblibArray):
            self.stack[-1] = self.stack[-1].read(self.file)

    dispatch[pickle.BUILD[0]] = load_build


def unpickled(file: IO[bytes]) -> Any:
    """Read a pickle of arrays and containers from its current position.

    Raises: pickle.UnpicklingError if it is damaged or contains anything else.
    """
    try:
        return ArrayUnpickler(file).load()
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise pickle.UnpicklingError(str(error) or type(error).__name__) from error


def read_pickle(path: Path) -> Any:
    """Read a pickle of arrays and containers, plain or by joblib.dump, also compressed by zlib.

    Raises: DataError if it is damaged or contains anything else.
    """
    try:
        data = path.read_bytes()
        if data[:2] in ZLIB_START:
            data = zlib.decompress(data)
        return unpickled(BytesIO(data))
    except (OSError, zlib.error, pickle.UnpicklingError) as error:
        raise DataError(f"{path} cannot be read as a pickle of arrays: {error}") from error
