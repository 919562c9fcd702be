"""Foreign files: arrays are read, code is never run, damage is named."""

import os
import pickle

import numpy as np
import pytest

from moro_ros.data.dataset import SetCard
from moro_ros.data.records import Archive, load_json, load_pickle, rigid_transform
from moro_ros.errors import DataError

CARD = SetCard("Toy", "make it", "none", ("a.npz",), ("all",))


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/never",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_any_protocol_are_read(tmp_path, protocol):
    values = {"a": np.arange(6.0).reshape(2, 3), "b": np.float32(2), "c": "x", "d": [1, 2]}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(values, protocol=protocol))
    read = load_pickle(tmp_path / "a.pkl", CARD, ("a", "b", "d"))
    np.testing.assert_array_equal(read["a"], values["a"])
    assert read["b"] == 2 and read["d"].tolist() == [1, 2]


def test_code_is_refused(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"a": Evil()}))
    with pytest.raises(DataError, match=r"system, which is not an array"):
        load_pickle(tmp_path / "a.pkl", CARD, ("a",))
    np.savez(tmp_path / "a.npz", a=np.array([Evil()], dtype=object))
    with pytest.raises(DataError, match=r"system, which is not an array"):
        Archive(tmp_path / "a.npz", CARD, ("a",)).read("a")


def test_archives_read_what_was_written(tmp_path):
    arrays = {
        "f": np.arange(6).reshape(2, 3), "t": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "s": np.array(["ab", "c"]), "o": np.array(["ab", None], dtype=object), "n": np.array(3.5),
        "e": np.zeros((0, 4)),
    }  # fmt: skip
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    archive = Archive(tmp_path / "a.npz", CARD, ("f", "s"))
    for key, value in arrays.items():
        np.testing.assert_array_equal(archive.read(key), value)
        assert archive.shape(key) == value.shape
    assert "f" in archive and "x" not in archive
    with pytest.raises(DataError, match=r"f has shape \(2, 3\), expected 3 rows"):
        archive.rows("f", 3)
    with pytest.raises(DataError, match="the arrays x are missing"):
        Archive(tmp_path / "a.npz", CARD, ("x",))


def test_damage_is_named(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.arange(1000.0))
    content = bytearray(path.read_bytes())
    content[2000] ^= 255  # the archive's checksum finds it
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        Archive(path, CARD, ("a",)).read("a")
    (tmp_path / "list.pkl").write_bytes(pickle.dumps([1]))
    with pytest.raises(DataError, match="a list instead of a dictionary"):
        load_pickle(tmp_path / "list.pkl", CARD, ("a",))
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        load_json(tmp_path / "a.json", CARD, "x")
    for values in (None, "x", np.zeros((4, 4)), [[1, 2], [3]], 2 * np.eye(4)):
        with pytest.raises(DataError):
            rigid_transform(values, path, CARD)
