"""The training stages at toy size: losses fall, and a resumed run goes on as if never stopped."""

import numpy as np
import pytest
import torch

from moro_ros.data.pool import build_pool, load_pool, save_pool
from moro_ros.data.poses import PoseSampler
from moro_ros.errors import CheckpointError
from moro_ros.model_config import KeypointsConfig, MoroConfig
from moro_ros.network.build import build_moro
from moro_ros.network.patch_tokenizer import PatchTokenizer, build_patches
from moro_ros.training.checkpoint import load_checkpoint_state, save_checkpoint_state
from moro_ros.training.losses import weighted
from moro_ros.training.motion_stage import MotionStage, MotionTrainer, Phase
from moro_ros.training.optim import TwoOptimizers, split_parameters, warm_cosine
from moro_ros.training.tokenizer_stage import TokenizerStage, train_tokenizer, vertex_error

TINY = MoroConfig(
    layout="frame", image="keypoints", trajectory="box", rotation_head=True, dim=32, heads=4,
    mlp_ratio=2, encoder_depth=1, decoder_depth=1, num_tokens=6, num_codes=32, logit_rank=8,
    keypoints=KeypointsConfig(hidden=32, blocks=1),
)  # fmt: skip


@pytest.fixture(scope="module")
def coarse(open_body):
    ids = torch.arange(0, open_body.num_vertices, 120)
    return open_body.subset(ids), ids


@pytest.fixture()
def tokenizer(coarse, open_body):
    body, ids = coarse
    torch.manual_seed(0)
    rest = (body.template - open_body.joint_template[0]).numpy()
    centres = np.linspace(0, len(ids) - 1, 6).astype(int)
    seen, rebuilt = build_patches(rest, centres, 30, 20)
    return PatchTokenizer(
        seen, rebuilt, len(ids), width=48, codes=32, encoder_layers=1, decoder_layers=1,
        rest=rest, coarse_index=ids.numpy(),
    )  # fmt: skip


def test_tokenizer_learns_and_resumes_exactly(tmp_path, tokenizer, coarse, walking):
    poses = PoseSampler(walking)
    mesh = coarse[0].local_mesh(*poses.draw(64, np.random.default_rng(3)))
    before = vertex_error(tokenizer, mesh)[0]
    start = {name: value.clone() for name, value in tokenizer.state_dict().items()}
    stage = TokenizerStage(steps=30, batch=32, report_every=1000, save_every=10)
    train_tokenizer(tokenizer, coarse[0], poses, poses, stage, tmp_path / "whole")
    assert vertex_error(tokenizer, mesh)[0] < 0.8 * before
    whole = {name: value.clone() for name, value in tokenizer.state_dict().items()}

    class Killed(Exception):
        pass

    class Dying(PoseSampler):
        calls = 0

        def draw(self, count, rng):
            self.calls += 1
            if self.calls > 16:
                raise Killed
            return super().draw(count, rng)

    tokenizer.load_state_dict(start)
    with pytest.raises(Killed):
        train_tokenizer(tokenizer, coarse[0], Dying(walking), poses, stage, tmp_path / "cut")
    tokenizer.load_state_dict(start)
    train_tokenizer(tokenizer, coarse[0], poses, poses, stage, tmp_path / "cut", resume=True)
    for name, value in tokenizer.state_dict().items():
        assert torch.equal(value, whole[name]), name


def make_trainer(tokenizer, coarse, open_body, walking, **numbers):
    rng = np.random.default_rng(0)
    pool = build_pool(walking, 8, 16, coarse[0], tokenizer.eval(), rng)
    torch.manual_seed(0)
    moro = build_moro(TINY)
    moro.set_codebook(tokenizer.codebook)
    stage = MotionStage(**numbers)
    return MotionTrainer(moro, tokenizer, open_body, coarse[0], pool, stage)


@pytest.mark.parametrize("share", ["guided", "partial", "full"])
def test_motion_losses_fall_under_every_mask(share, tokenizer, coarse, open_body, walking):
    shares = {"guided": 0.0, "partial": 0.0, **({share: 1.0} if share != "full" else {})}
    trainer = make_trainer(tokenizer, coarse, open_body, walking, **shares)
    optimizer = TwoOptimizers(trainer.moro, 3e-3)
    history = []
    for _ in range(14):  # always the same clips, noise and masks
        trainer.rng = np.random.default_rng(0)
        trainer.generator.manual_seed(0)
        loss = weighted(trainer.losses(Phase(1.0, 6, 8)), trainer.stage.weights)
        loss.backward()
        optimizer.step(1.0)
        history.append(float(loss.detach()))
    assert np.isfinite(history).all()
    assert history[-1] < 0.9 * history[0]


def test_the_tokenizer_stays_frozen(tokenizer, coarse, open_body, walking):
    trainer = make_trainer(tokenizer, coarse, open_body, walking)
    before = {name: value.clone() for name, value in tokenizer.state_dict().items()}
    optimizer = TwoOptimizers(trainer.moro, 1e-3)
    weighted(trainer.losses(Phase(1.0, 4, 8)), trainer.stage.weights).backward()
    optimizer.step(1.0)
    for name, value in tokenizer.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_run_leaves_a_checkpoint_that_resumes(tmp_path, tokenizer, coarse, open_body, walking):
    trainer = make_trainer(
        tokenizer, coarse, open_body, walking,
        minutes=0.03, phases=((1.0, 2, 4),), save_every=1, report_every=1000,
    )  # fmt: skip
    trainer.run(tmp_path)
    assert (tmp_path / "checkpoint.pt").exists()
    spent = float((tmp_path / "spent.txt").read_text())
    trainer.run(tmp_path, resume=True)  # the budget is spent: nothing is trained again
    assert float((tmp_path / "spent.txt").read_text()) == pytest.approx(spent, abs=1.0)


def test_a_damaged_checkpoint_is_named(tmp_path, tokenizer):
    path = tmp_path / "checkpoint.pt"
    optimizer, rng = TwoOptimizers(tokenizer, 1e-3), np.random.default_rng(0)
    save_checkpoint_state(path, 3, tokenizer, optimizer, rng)
    assert load_checkpoint_state(path, tokenizer, optimizer, rng) == 3
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointError, match="cannot resume"):
        load_checkpoint_state(path, tokenizer, optimizer, rng)


def test_a_pool_survives_saving(tmp_path, tokenizer, coarse, walking):
    pool = build_pool(walking, 3, 8, coarse[0], tokenizer.eval(), np.random.default_rng(0))
    save_pool(pool, tmp_path / "run" / "pool.pt")
    again = load_pool(tmp_path / "run" / "pool.pt")
    assert torch.equal(again.token_ids, pool.token_ids)
    assert torch.equal(again.windows.rotations, pool.windows.rotations)


def test_muon_gets_the_hidden_matrices_only():
    hidden, rest = split_parameters(build_moro(TINY))
    assert hidden and all(parameter.ndim == 2 for parameter in hidden)
    assert any(parameter.ndim == 1 for parameter in rest)


def test_schedule_warms_up_and_decays():
    assert warm_cosine(0.0) < 0.01 < warm_cosine(0.01) < warm_cosine(0.02)
    assert warm_cosine(0.5) > warm_cosine(0.9) > 0.0
