"""The fits of error against hours find the law that made the points."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).parents[2] / "scripts" / "training_curve.py"


@pytest.fixture(scope="module")
def curve():
    pytest.importorskip("matplotlib")
    spec = importlib.util.spec_from_file_location("training_curve", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_rows_of_hours_and_errors_are_read_and_no_others(curve):
    text = "| a | 0.5: 10, 1: 8.5 |\n| at 10:30, no | text |\n| b | 3 |\n| c, d | 2: 1, 4: 0.5 |\n"
    found = curve.read_series(text)
    assert list(found) == ["a", "c, d"]
    np.testing.assert_array_equal(found["a"], [[0.5, 10], [1, 8.5]])


def test_the_documents_series_are_read(curve):
    found = curve.read_series((curve.DOCS / "training.md").read_text(encoding="utf-8"))
    assert {"single frames", "clips", "validation, noise", "validation, occluded"} <= set(found)
    assert all(np.all(np.diff(points[:, 0]) > 0) for points in found.values())


@pytest.mark.parametrize("floor", [0.0, 40.0])
def test_the_law_is_found_again(curve, floor):
    hours = np.array([1.0, 2.0, 4.0, 9.0])
    points = np.stack([hours, floor + 30 * hours**-0.5], axis=1)
    a, b, c = curve.fitted(points, floor > 0)
    assert (a, b, c) == pytest.approx((floor, 30, 0.5), abs=0.5)
    assert curve.hours_to(floor + 15, floor, 30, 0.5) == pytest.approx(4.0)
    assert curve.hours_to(39.0, 40.0, 30, 0.5) == np.inf
