"""Connection tables as files: what is read and what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from moro_ros.body.connections import (
    TABLE_FILES,
    check_tables,
    load_connection_tables,
    neighbour_ids,
)
from moro_ros.body.hierarchy import ConnectionTables
from moro_ros.errors import BodyModelError

SIZES = (20, 20, 12, 12, 6, 6, 3, 3)


def table(outputs: int, inputs: int, seed: int) -> np.ndarray:
    """A random table of up to 4 neighbours."""
    rng = np.random.default_rng(seed)
    rows = []
    for row in range(outputs):
        valid = rng.integers(1, 4)
        ids = [row % inputs, *rng.permutation(inputs)[: valid - 1]]
        pairs = [(i, ring) for ring, i in enumerate(ids)] + [(inputs, -1)] * (4 - valid)
        rows.append([valid, *np.ravel(pairs)])
    return np.array(rows, np.int32)


@pytest.fixture()
def folder(tmp_path) -> Path:
    for level in range(7):
        fine, coarse = SIZES[level], SIZES[level + 1]
        np.save(tmp_path / f"_pool{level}.npy", table(coarse, fine, level))
        np.save(tmp_path / f"_unpool{level}.npy", table(fine, coarse, 10 + level))
    return tmp_path


def checksums(folder: Path) -> dict[str, str]:
    return {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in TABLE_FILES}


def test_tables_are_read_in_level_order(folder):
    tables = load_connection_tables(folder, checksums(folder))
    assert [len(t) for t in tables.pool] == list(SIZES[1:])
    assert [len(t) for t in tables.unpool] == list(SIZES[:-1])
    ids = neighbour_ids(tables.pool[1])
    assert (ids[:, 0] == np.arange(12)).all()
    assert ids.max() <= 20


def test_a_missing_table_is_named(folder):
    (folder / "_unpool3.npy").unlink()
    with pytest.raises(BodyModelError, match=r"lacks.*_unpool3\.npy"):
        load_connection_tables(folder)


def test_another_order_of_rows_is_told_by_its_checksum(folder):
    expected = checksums(folder)
    path = folder / "_pool4.npy"
    np.save(path, np.load(path)[::-1])
    load_connection_tables(folder)  # well formed: only the checksum tells
    with pytest.raises(BodyModelError, match=r"_pool4\.npy have another sha256"):
        load_connection_tables(folder, expected)


def test_a_table_of_another_mesh_is_refused(folder):
    np.save(folder / "_pool2.npy", table(12, 13, 2))
    with pytest.raises(BodyModelError, match="pool2 does not fit"):
        load_connection_tables(folder)


def test_damaged_files_are_refused(folder):
    (folder / "_pool0.npy").write_bytes(b"no array")
    with pytest.raises(BodyModelError, match="cannot be read"):
        load_connection_tables(folder)
    np.save(folder / "_pool0.npy", np.zeros((3, 3)))
    with pytest.raises(BodyModelError, match="integer table"):
        load_connection_tables(folder)


def test_both_ways_need_the_same_number_of_tables():
    one = table(3, 3, 0)
    with pytest.raises(BodyModelError, match="same odd number"):
        check_tables(ConnectionTables((one,), (one, one)))
