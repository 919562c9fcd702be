"""The objective: every task and mask learns, only the network moves, and errors are named."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from moro_ros.config import from_dict
from moro_ros.data.pool import build_pool
from moro_ros.errors import ConfigError
from moro_ros.model_config import KeypointsConfig, MoroConfig
from moro_ros.network.build import build_moro
from moro_ros.network.patch_tokenizer import PatchTokenizer, build_patches
from moro_ros.training.clips import Draw
from moro_ros.training.objective import Bodies, Objective
from moro_ros.training.open_source import OpenSource
from moro_ros.training.optim import Optimizer
from moro_ros.training.stage import SCHEMES, LoopNumbers, Stage
from moro_ros.training.weights import TermWeights

pytestmark = pytest.mark.slow

TINY = MoroConfig(
    layout="frame", image="keypoints", trajectory="box", rotation_head=True, dim=32, heads=4,
    mlp_ratio=2, encoder_depth=1, decoder_depth=1, num_tokens=6, num_codes=32, logit_rank=8,
    keypoints=KeypointsConfig(hidden=32, blocks=1),
)  # fmt: skip
HEAD = {
    "tokens": 0.3, "mesh": 5.0, "joints": 6.0, "body_rotation": 2.0, "root_rotation": 2.0,
    "depth": 2.0, "reprojection": 2.0, "velocity": 1.0, "acceleration": 1.0, "contact": 0.1,
}  # fmt: skip
MESH = {
    "tokens": 1.0, "mesh": 10.0, "mesh_joints_coarse": 1.0, "mesh_joints_final": 1.0,
    "mesh_joints_rel": 1.0, "mesh_steps_rel": 1.0, "mesh_steps_final": 1.0,
    "mesh_plane_coarse": 1.0, "mesh_plane_final": 1.0, "mesh_skating_final": 0.1,
    "coarse_rotation_squared": 1.0, "final_rotation_squared": 1.0,
    "coarse_translation_squared": 0.1, "final_translation_squared": 0.1, "contact": 1.0,
}  # fmt: skip
MOTION = {
    "tokens": 1.0, "mesh": 10.0, "clean_trajectory": 0.1, "clean_trajectory_cut": 0.1,
    "mesh_joints_rel": 1.0, "mesh_steps_rel": 20.0, "mesh_skating_rel": 0.1, "contact": 1.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def bodies(open_body):
    ids = torch.arange(0, open_body.num_vertices, 120)
    coarse = open_body.subset(ids)
    # Not a body's regressor, but one whose rows sum to one.
    joints = torch.rand(22, len(ids), generator=torch.Generator().manual_seed(0))
    return Bodies(open_body, coarse, joints / joints.sum(1, keepdim=True)), ids


@pytest.fixture()
def tokenizer(bodies, open_body):
    parts, ids = bodies
    torch.manual_seed(0)
    rest = (parts.tokens.template - open_body.joint_template[0]).numpy()
    seen, rebuilt = build_patches(rest, np.linspace(0, len(ids) - 1, 6).astype(int), 30, 20)
    tokenizer = PatchTokenizer(
        seen, rebuilt, len(ids), width=48, codes=32, encoder_layers=1, decoder_layers=1,
        rest=rest, coarse_index=ids.numpy(),
        up_index=np.arange(len(ids))[:, None], up_weight=np.ones((len(ids), 1), np.float32),
    )  # fmt: skip
    return tokenizer.eval().requires_grad_(False)


@pytest.fixture()
def make(bodies, tokenizer, walking):
    """Build an objective and a source of a stage given by what differs from its defaults."""

    def build(dtype=None, **numbers):
        stage = from_dict(Stage, numbers)
        torch.manual_seed(0)
        moro = build_moro(TINY)
        moro.set_codebook(tokenizer.codebook)
        pool = build_pool(walking, 8, 16, bodies[0].tokens, tokenizer, np.random.default_rng(0))
        source = OpenSource(pool, bodies[0].whole, stage)
        return Objective(moro, tokenizer, bodies[0], stage, dtype=dtype), source

    return build


CASES = [
    *(("video", HEAD, {scheme: 1.0}) for scheme in SCHEMES),
    ("video", MESH, {"random": 1.0}),
    ("image", MESH, {"full": 1.0}),
    ("motion", MOTION, {"random": 1.0, "joint": 0.5, "frame": 0.5}),
]


@pytest.mark.parametrize(("task", "weights", "masks"), CASES)
def test_losses_fall(make, task, weights, masks):
    objective, source = make(
        torch.bfloat16, task=task, weights=weights, masks=masks, temperature=[], live=0.3
    )
    draw = Draw(0, 0, 0, 6, 8)  # always the same clips, noise and masks
    batch = next(source.batches(iter([draw])))
    numbers = LoopNumbers(optimizer="muon", learning_rate=3e-3, warm_up=0.0, last=1.0)
    optimizer = Optimizer(objective, numbers)
    history = []
    for _ in range(14):
        terms = objective(batch, draw, 0.5)
        assert set(terms) == set(weights)
        loss = objective.stage.weights.total(terms)
        loss.backward()
        optimizer.step(0.5)
        history.append(float(loss.detach()))
    assert np.isfinite(history).all()
    assert history[-1] < 0.93 * history[0]


def test_only_what_a_task_trains_gets_gradients(make):
    expected = {"motion": {"motion_encoder"}, "image": {"image_encoder", "decoder"}}
    for task, parts in expected.items():
        weights = MOTION if task == "motion" else HEAD
        objective, source = make(task=task, weights=weights, temperature=[], smooth=False)
        draw = Draw(0, 0, 0, 2, 6)
        batch = next(source.batches(iter([draw])))
        objective.stage.weights.total(objective(batch, draw, 0.0)).backward()
        moved = {
            name.split(".")[1]
            for name, parameter in objective.named_parameters()
            if parameter.grad is not None and float(parameter.grad.abs().sum()) > 0
        }
        assert moved == parts
        assert not any("tokenizer" in name for name, _ in objective.named_parameters())


def test_a_pass_follows_from_its_draw_alone(make):
    objective, source = make(weights=HEAD, masks={"random": 1.0, "guided": 1.0}, live=0.5)
    draws = [Draw(3, step, 0, 2, 6) for step in (4, 4, 5)]
    losses = []
    for draw in draws:
        torch.manual_seed(len(losses))  # whatever came before does not matter
        terms = objective(next(source.batches(iter([draw]))), draw, 0.5)
        losses.append(float(objective.stage.weights.total(terms).detach()))
    assert losses[0] == losses[1] != losses[2]


def test_the_temperature_falls_along_a_cosine(make):
    objective, _ = make(weights=HEAD, temperature=[1.0, 0.01])
    found = [objective.temperature(progress) for progress in (0.0, 0.5, 1.0)]
    assert found == pytest.approx([1.0, 0.505, 0.01])


def test_true_meshes_are_encoded_where_no_tokens_are_given(make):
    objective, source = make(weights=HEAD)
    batch = next(source.batches(iter([Draw(0, 0, 0, 2, 5)])))
    without = dataclasses.replace(batch, ids=None)
    assert torch.equal(objective.true_ids(without), batch.ids)
    given = dataclasses.replace(without, mesh=objective.true_mesh(without))
    assert torch.equal(objective.true_ids(given), batch.ids)


def test_bodies_on_a_device_leave_the_others_where_they_are(bodies):
    there = bodies[0].to(torch.device("meta"))
    assert there.whole.template.is_meta and there.tokens.template.is_meta and there.joints.is_meta
    assert not bodies[0].whole.template.is_meta and not bodies[0].joints.is_meta


def test_contradictions_are_told(make, bodies, tokenizer):
    with pytest.raises(ConfigError, match="no images"):
        objective, source = make(task="motion", weights=MOTION)
        video = dataclasses.replace(objective.stage, task="video")
        draw = Draw(0, 0, 0, 1, 4)
        Objective(objective.moro, tokenizer, bodies[0], video)(
            next(source.batches(iter([draw]))), draw, 0.0
        )
    plain = build_moro(dataclasses.replace(TINY, rotation_head=False))
    with pytest.raises(ConfigError, match=r"joints.*rotation_head"):
        stage = Stage(weights=TermWeights(joints=1.0))
        Objective(plain, tokenizer, bodies[0], stage)
