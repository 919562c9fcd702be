"""Checkpoints: what was saved comes back, and a damaged one is named."""

import pytest
import torch

from moro_ros.errors import CheckpointError
from moro_ros.training.checkpoint import Progress, load_checkpoint_state, save_checkpoint
from moro_ros.training.optim import Optimizer
from moro_ros.training.stage import LoopNumbers


@pytest.fixture()
def saved(tmp_path):
    module = torch.nn.Linear(3, 3)
    optimizer = Optimizer(module, LoopNumbers())
    path = tmp_path / "run" / "checkpoint.pt"
    save_checkpoint(path, Progress(7, 12.5), module, optimizer)
    return path, module, optimizer


def test_a_checkpoint_comes_back(saved):
    path, module, optimizer = saved
    before = module.weight.detach().clone()
    with torch.no_grad():
        module.weight.zero_()
    assert load_checkpoint_state(path, module, optimizer) == Progress(7, 12.5)
    assert torch.equal(module.weight, before)
    assert [file.name for file in path.parent.iterdir()] == ["checkpoint.pt"]


def test_a_damaged_or_foreign_checkpoint_is_named(saved):
    path, module, optimizer = saved
    with pytest.raises(CheckpointError, match="cannot resume"):
        load_checkpoint_state(path, torch.nn.Linear(4, 4), optimizer)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointError, match="without --resume"):
        load_checkpoint_state(path, module, optimizer)
