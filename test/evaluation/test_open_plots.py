"""Plots of the open benchmark: the errors they show are the benchmark's own."""

from __future__ import annotations

import numpy as np
import pytest

from moro_ros.body.topology import NUM_JOINTS
from moro_ros.config import PipelineConfig
from moro_ros.evaluation import open_benchmark
from moro_ros.evaluation.open_benchmark import (
    LIMB_JOINTS,
    JointErrors,
    OpenProtocol,
    charts,
    evaluate_open,
    joint_errors,
)
from moro_ros.evaluation.open_decoding import Decoding, OpenModel
from moro_ros.live.load import load_stream

SMALL = OpenProtocol(windows=6, frames=12, batch=4)


@pytest.mark.slow
def test_errors_are_the_benchmarks(walking) -> None:
    model = OpenModel.of(load_stream(PipelineConfig()).model)
    found = joint_errors(model, walking, 1.0, SMALL, Decoding())
    table = evaluate_open(model, walking, 1.0, SMALL)
    assert found.error.shape == found.seen.shape == (6, 12, NUM_JOINTS)
    assert found.error.mean() == pytest.approx(table["mpjpe_mm"], rel=1e-4)
    limbs = list(LIMB_JOINTS)
    hidden = found.error[..., limbs][~found.seen[..., limbs]]
    assert hidden.mean() == pytest.approx(table["hidden_mm"], rel=1e-4)


def test_charts_show_means_of_seen_and_hidden_apart(monkeypatch) -> None:
    drawn: dict[str, dict] = {}

    def note(title: str, labels, series) -> np.ndarray:
        drawn[title.split(":")[0].split(" [")[0]] = dict(series)
        return np.zeros((4, 4, 3), np.uint8)

    monkeypatch.setattr(open_benchmark, "bar_chart", note)
    monkeypatch.setattr(open_benchmark, "line_chart", note)
    error = np.full((2, 3, NUM_JOINTS), 10.0)
    seen = np.ones((2, 3, NUM_JOINTS), bool)
    wrist = max(LIMB_JOINTS)
    seen[0, :, wrist] = False
    error[0, :, wrist] = 150.0
    images = charts({"noise": JointErrors(error, seen)})
    assert set(images) == {"per_joint", "per_level", "over_time"}
    joints = drawn["MPJPE per joint"]
    assert joints["noise, seen"][wrist] == 10.0 and joints["noise, hidden"][wrist] == 150.0
    assert np.isnan(joints["noise, hidden"][0])
    levels = drawn["limbs"]["noise"]
    assert levels[0] == 10.0 and levels[1] == pytest.approx(20.0)
    assert np.isnan(levels[2:]).all()
    np.testing.assert_allclose(drawn["MPJPE over the window"]["noise"], 10 + 140 / 44)
