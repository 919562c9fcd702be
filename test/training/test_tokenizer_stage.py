"""The tokenizer's stage at toy size: the error falls, and its figures are millimetres."""

import numpy as np
import pytest
import torch

from moro_ros.data.poses import PoseSampler
from moro_ros.errors import ConfigError
from moro_ros.network.patch_tokenizer import PatchTokenizer, build_patches
from moro_ros.training.clips import moved
from moro_ros.training.distributed import World
from moro_ros.training.loop import Job, run_job
from moro_ros.training.stage import LoopNumbers
from moro_ros.training.tokenizer_stage import (
    PoseSource,
    TokenizerObjective,
    TokenizerStage,
    vertex_error,
)


@pytest.fixture()
def parts(open_body):
    ids = torch.arange(0, open_body.num_vertices, 120)
    body = open_body.subset(ids)
    torch.manual_seed(0)
    rest = (body.template - open_body.joint_template[0]).numpy()
    seen, rebuilt = build_patches(rest, np.linspace(0, len(ids) - 1, 6).astype(int), 30, 20)
    tokenizer = PatchTokenizer(
        seen, rebuilt, len(ids), width=48, codes=32, encoder_layers=1, decoder_layers=1, rest=rest
    )
    return tokenizer, body


def test_the_tokenizer_learns(tmp_path, parts, walking):
    tokenizer, body = parts
    poses = PoseSampler(walking)
    mesh = body.local_mesh(*poses.draw(64, np.random.default_rng(3)))
    before = vertex_error(tokenizer, mesh)
    loop = LoopNumbers(steps=30, optimizer="muon", learning_rate=2e-3, report_every=10)
    stage = TokenizerStage(batch=32, loop=loop)
    job = Job(
        "tokenizer", TokenizerObjective(tokenizer), PoseSource(poses.draw, body), stage.total,
        stage.phase, moved, lambda: vertex_error(tokenizer, mesh),
    )  # fmt: skip
    assert run_job(job, loop, tmp_path, World(), resume=False) == 30
    after = vertex_error(tokenizer, mesh)
    assert after["validation_mm"] < 0.8 * before["validation_mm"]
    assert tokenizer.training and 5 < after["unquantised_mm"] < 500
    assert (tmp_path / "log.jsonl").read_text().count("validation_mm") == 3


def test_a_loss_that_is_no_number_is_not_saved(tmp_path, parts, walking):
    tokenizer, body = parts
    loop = LoopNumbers(steps=3, learning_rate=1.0, save_every=2)
    stage = TokenizerStage(batch=8, loop=loop)
    source = PoseSource(PoseSampler(walking).draw, body)

    def total(terms):
        return stage.total(terms) * (float("nan") if (tmp_path / "checkpoint.pt").exists() else 1)

    job = Job("tokenizer", TokenizerObjective(tokenizer), source, total, stage.phase, moved)
    with pytest.raises(ConfigError, match=r"step 3.*learning_rate"):
        run_job(job, loop, tmp_path, World(), resume=False)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["step"] == 2
    assert all(torch.isfinite(value).all() for value in state["module"].values())


def test_the_commitment_has_its_weight():
    stage = TokenizerStage(commitment=0.25)
    terms = {"vertices": torch.tensor(2.0), "commitment": torch.tensor(4.0)}
    assert float(stage.total(terms)) == 3.0
