"""Averages of weights have the names and kinds of the files."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

PATH = Path(__file__).parents[2] / "scripts" / "average_weights.py"


@pytest.fixture(scope="module")
def averaged():
    spec = importlib.util.spec_from_file_location("average_weights", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.averaged


def test_floating_point_weights_are_averaged_and_counters_kept(averaged):
    first = {"weight": torch.tensor([0.0, 2.0]), "steps": torch.tensor(3)}
    second = {"weight": torch.tensor([1.0, 4.0]), "steps": torch.tensor(5)}
    found = averaged(first, second)
    assert torch.equal(found["weight"], torch.tensor([0.5, 3.0]))
    assert int(found["steps"]) == 5


def test_files_of_other_networks_are_refused(averaged):
    with pytest.raises(SystemExit, match="different weights"):
        averaged({"weight": torch.zeros(2)}, {"weight": torch.zeros(3)})
