"""The connection tables of a graph-convolution tokenizer as files, read and checked.

Trained weights depend on the order of the tables' rows and neighbours, so tables of another mesh,
or of the same mesh in another order, must be detected.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from moro_ros.body.hierarchy import ConnectionTables
from moro_ros.errors import NPZ_ERRORS, BodyModelError

LEVELS = 7
TABLE_FILES = tuple(f"_{kind}{level}.npy" for kind in ("pool", "unpool") for level in range(LEVELS))

# The tables that the authors' tokenizer was trained with.
PUBLISHED_SHA256 = {
    "_pool0.npy": "d324d19241f54a6b235b28d2be949814117d128689d142dc2b5e4c1337e699c5",
    "_pool1.npy": "9cc91f76843e542a6a013ae84594477cbbd4e970e3991132478ead711d7d261d",
    "_pool2.npy": "0f73975c0f9b17f68477f5fc0d8f1f7e3b26bf56cb01d54034b36ebb89032064",
    "_pool3.npy": "35380bbf80d086d8cf3df1704e1589339f7ab112193789ab76c9d72aeba01e77",
    "_pool4.npy": "b479037f7861d9d0b733f2a854ea13b0698933ea4f09f41c42ba6cf4f86dbf09",
    "_pool5.npy": "6dd8ec09ecb2d0cff7458ba935d3275e8a9ea3bd367567ea4ef841c30090417e",
    "_pool6.npy": "00706fad25efb5ed60faba8a928b7b326424e90f5c00fdd29c96361317761ef3",
    "_unpool0.npy": "0e8a94d9e66215a2620b071e232ad326a22853e7d67878682f2a08f069f7f83e",
    "_unpool1.npy": "11c6cc4acf913b4bc735d93313e05ce123b061945b634f97acc1344567f37dac",
    "_unpool2.npy": "f154dd483a3618e5b9e14ff997ca6b899528eed31455c2c7b163cdf02440dfc5",
    "_unpool3.npy": "6a391bce6496bba6e4e3c37fc323b95f6c40916a917edcdac55bd5b159435fea",
    "_unpool4.npy": "ec92451ace92151b877d861accbeb3ff43820318a41926968aff3a60f81ccab5",
    "_unpool5.npy": "86687b8de58c201c5ff09653d5b8aef93c9304450f0d2d08d3331fca2d8d8ee3",
    "_unpool6.npy": "5a15a17e4ff28a041f652fb2a7ab986e62d84585a716a9d422a8f4ce6029fd6d",
}


def load_connection_tables(
    folder: Path, sha256: Mapping[str, str] | None = None
) -> ConnectionTables:
    """Read the 14 tables `_pool0.npy` .. `_unpool6.npy` of a folder.

    sha256: expected checksum of each file name; a name that it lacks is not checked.
    Raises: BodyModelError if a table is missing, not the expected one, or not a table.
    """
    missing = [name for name in TABLE_FILES if not (folder / name).is_file()]
    if missing:
        raise BodyModelError(
            f"{folder} lacks the connection tables {', '.join(missing)}. All {len(TABLE_FILES)} "
            "files of the published tokenizer must be in this folder with their original names."
        )
    wrong = []
    for name in TABLE_FILES:
        expected = (sha256 or {}).get(name)
        if expected and hashlib.sha256((folder / name).read_bytes()).hexdigest() != expected:
            wrong.append(name)
    if wrong:
        raise BodyModelError(
            f"In {folder}, {', '.join(wrong)} have another sha256 than the tables that the weights "
            "were trained with. Use the tables that belong to the checkpoint: with other tables or "
            "rows it decodes to noise."
        )
    tables = [_read(folder / name) for name in TABLE_FILES]
    return check_tables(ConnectionTables(tuple(tables[:LEVELS]), tuple(tables[LEVELS:])))


def check_tables(tables: ConnectionTables) -> ConnectionTables:
    """Return the tables if they are well formed and each one's inputs are the previous one's rows.

    Raises: BodyModelError otherwise.
    """
    if len(tables.pool) != len(tables.unpool) or len(tables.pool) % 2 == 0:
        raise BodyModelError(
            f"Got {len(tables.pool)} pooling and {len(tables.unpool)} unpooling tables; expected "
            "the same odd number of both (conv, pool, conv, ..., conv)."
        )
    inputs = len(tables.pool[0])
    for level, table in enumerate(tables.pool):
        inputs = _check(f"pool{level}", table, inputs)
    for level, table in reversed(list(enumerate(tables.unpool))):
        inputs = _check(f"unpool{level}", table, inputs)
    if inputs != len(tables.pool[0]):
        raise BodyModelError(
            f"The tables decode to {inputs} vertices but encode {len(tables.pool[0])}; they do not "
            "belong to one mesh."
        )
    return tables


def neighbour_ids(table: np.ndarray) -> np.ndarray:
    """Return the input ids of each row, (N_out, 1 + 2 K) -> (N_out, K) int32."""
    return np.ascontiguousarray(table[:, 1::2], dtype=np.int32)


def _read(path: Path) -> np.ndarray:
    try:
        table: np.ndarray = np.load(path, allow_pickle=False)
    except NPZ_ERRORS as error:
        raise BodyModelError(
            f"{path} cannot be read as a NumPy array ({error}). Obtain the file again."
        ) from error
    if table.ndim != 2 or table.shape[1] % 2 == 0 or not np.issubdtype(table.dtype, np.integer):
        raise BodyModelError(
            f"{path} contains {table.dtype} {table.shape}; expected an integer table of one "
            "count and K (id, distance) pairs per row."
        )
    return table


def _check(name: str, table: np.ndarray, inputs: int) -> int:
    """Check one table against its number of input vertices; return its number of rows."""
    ids = table[:, 1::2]
    valid = np.arange(ids.shape[1]) < table[:, :1]
    inside = (ids >= 0) & (ids < inputs)
    if not (np.where(valid, inside, ids == inputs)).all():
        raise BodyModelError(
            f"Table {name} does not fit: its ids must be below {inputs}, the rows of the table "
            f"before it, and its padding must be {inputs}; got ids up to {int(ids.max())}."
        )
    return len(table)
