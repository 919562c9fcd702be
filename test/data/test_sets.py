"""The table of data sets: every set says where it comes from, and the docs list it."""

from pathlib import Path

import pytest

from moro_ros.data.dataset import ClipSet
from moro_ros.data.open_motion import OpenMotion
from moro_ros.data.sets import SETS, open_set
from moro_ros.errors import DataError

DOCS = Path(__file__).resolve().parents[2] / "docs" / "data.md"


@pytest.mark.parametrize("name", SETS)
def test_a_missing_set_says_how_to_obtain_it(tmp_path, name):
    card = SETS[name].card
    assert card.layout and card.splits and card.licence and "http" in card.obtain
    with pytest.raises(DataError) as caught:
        open_set(name, tmp_path / "absent")
    said = str(caught.value)
    assert str(tmp_path / "absent") in said and card.obtain in said
    assert all(line in said for line in card.layout)


def test_an_unknown_set_names_the_known_ones(tmp_path):
    with pytest.raises(
        DataError, match="There is no data set 'cocoa'; expected one of open, amass"
    ):
        open_set("cocoa", tmp_path)


@pytest.mark.parametrize("name", SETS)
def test_the_docs_have_every_set_and_file(name):
    text, card = DOCS.read_text(encoding="utf-8"), SETS[name].card
    assert f"`{name}`" in text and card.title in text
    for line in card.layout:
        assert line.split(" ")[0] in text, line


def test_sets_obey_the_protocol(walking):
    motion: ClipSet = OpenMotion(walking)
    assert len(motion) == len(motion.lengths) and len(motion.clip(0)) == motion.lengths[0]
