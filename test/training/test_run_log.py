"""The log: means since the last line, and no line twice after a resumption."""

import json

import pytest
import torch

from moro_ros.training import run_log
from moro_ros.training.run_log import RunLog


def lines(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_lines_hold_means_and_tensorboard_gets_them(tmp_path):
    log = RunLog(tmp_path, "video", 0, 4)
    for step, value in enumerate((1.0, 2.0, 3.0, 5.0), 1):
        log.add(step, {"loss": torch.tensor(value)})
        if step % 2 == 0:
            log.report({"rate": 0.1})
    log.close()
    assert [(line["step"], line["loss"]) for line in lines(tmp_path)] == [(2, 1.5), (4, 4.0)]
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(2, 1.5), (4, 4.0)]


def test_a_resumed_log_forgets_what_will_be_made_again(tmp_path):
    written = "".join(json.dumps({"step": step, "loss": 1.0}) + "\n" for step in (2, 4, 6))
    (tmp_path / "log.jsonl").write_text(written + '{"step": 8, "lo')
    log = RunLog(tmp_path, "video", 5, 8)
    log.add(6, {"loss": 9.0})
    log.report({})
    log.close()
    assert [(line["step"], line["loss"]) for line in lines(tmp_path)] == [(2, 1), (4, 1), (6, 9)]


def test_without_tensorboard_the_lines_are_written_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(run_log, "summary_writer", lambda folder, first: None)
    log = RunLog(tmp_path, "video", 0, None)
    log.add(1, {"loss": 2.0})
    log.report({})
    log.close()
    assert lines(tmp_path) == [{"step": 1, "loss": 2.0}]
