"""moro evaluate prediction: the fit is written to the model, and then used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from moro_ros.cli.cli import main
from moro_ros.recover.prediction import PREDICTION_FILE, load_prediction
from moro_ros.resources import share_path

pytestmark = [pytest.mark.slow, pytest.mark.weights]


@pytest.fixture()
def motion_file(tmp_path: Path, walking) -> Path:
    path = tmp_path / "test.npz"
    names = {"rot": walking.rotations, "trans": walking.translation, "lengths": walking.lengths}
    words = {"category": walking.categories, "names": walking.names}
    np.savez(path, **names, **words, subjects=np.array(["02", "09"]), fps=30)
    return path


@pytest.fixture()
def model(tmp_path: Path) -> Path:
    """The open model without a prediction."""
    folder = tmp_path / "model"
    folder.mkdir()
    for path in share_path("models", "moro_open").iterdir():
        if path.name != PREDICTION_FILE:
            (folder / path.name).symlink_to(path)
    return folder


def test_a_fit_is_written_and_reproduces_the_table(motion_file, model, capsys) -> None:
    words = ["evaluate", "prediction", "--model", str(model), "--motion", str(motion_file)]
    words += ["--windows", "2", "--threads", "1", "--json"]
    assert main(words) == 1
    error = capsys.readouterr().err
    assert f"has no {PREDICTION_FILE}: add --fit" in error
    assert main([*words, "--fit", "--validation", str(motion_file)]) == 0
    fitted = json.loads(capsys.readouterr().out)
    assert load_prediction(model / PREDICTION_FILE) is not None
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out) == fitted
    rows = {(row["condition"], row["what"]): row for row in fitted}
    for condition in ("clean", "noise", "occluded"):
        assert 0 < rows[condition, "prediction, mm"]["0.5 s"] < 1000
        assert rows[condition, "within 1 sigma, %"]["1.0 s"] <= 100
    assert ("all", "within 2 sigma, %") in rows
    assert ("all", "prediction, mm") not in rows
