"""Stage "tokenizer": train the mesh tokenizer on random bodies (spec 2.2)."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from moro_ros.body.body_model import BodyModel
from moro_ros.data.poses import PoseSampler
from moro_ros.network.patch_tokenizer import PatchTokenizer
from moro_ros.training.checkpoint import load_checkpoint_state, save_checkpoint_state
from moro_ros.training.optim import RunningMean, TwoOptimizers, warm_cosine

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TokenizerStage:
    """Numbers of the stage: steps, bodies per step, peak learning rate, commitment weight."""

    steps: int = 6000
    batch: int = 128
    learning_rate: float = 2e-3
    commitment: float = 0.25
    report_every: int = 100
    save_every: int = 500
    seed: int = 0


def vertex_error(tokenizer: PatchTokenizer, mesh: Tensor) -> tuple[float, float]:
    """Return the mean vertex error [mm] with and without the quantiser, mesh (B, M, 3) m."""
    was_training = tokenizer.training
    tokenizer.eval()
    with torch.no_grad():
        latent = tokenizer.encode_latent(mesh)
        plain = (tokenizer.decode_codes(latent) - mesh).norm(dim=-1).mean()
        codes = tokenizer.embed(tokenizer.quantizer.encode(latent))
        quantised = (tokenizer.decode_codes(codes) - mesh).norm(dim=-1).mean()
    tokenizer.train(was_training)
    return 1e3 * float(quantised), 1e3 * float(plain)


def train_tokenizer(
    tokenizer: PatchTokenizer,
    body: BodyModel,
    train: PoseSampler,
    validation: PoseSampler,
    stage: TokenizerStage,
    folder: Path,
    resume: bool = False,
) -> None:
    """Train a tokenizer in place; the folder receives checkpoint.pt.

    body: a body whose vertices are the tokenizer's (BodyModel.subset).
    """
    torch.manual_seed(stage.seed)
    rng = np.random.default_rng(stage.seed)
    optimizer = TwoOptimizers(tokenizer, stage.learning_rate)
    first = 0
    checkpoint = folder / "checkpoint.pt"
    if resume and checkpoint.exists():
        first = load_checkpoint_state(checkpoint, tokenizer, optimizer, rng)
    probe_rotations, probe_betas = validation.draw(512, np.random.default_rng(1))
    probe = body.local_mesh(probe_rotations, probe_betas)
    means, start = RunningMean(), time.monotonic()
    tokenizer.train()
    for step in range(first, stage.steps):
        rotations, betas = train.draw(stage.batch, rng)
        with torch.no_grad():
            mesh = body.local_mesh(rotations, betas)
        with torch.autocast("cpu", torch.bfloat16):
            output, commitment = tokenizer.reconstruct(mesh)
        error = (output.float() - mesh).norm(dim=-1).mean()
        loss = error + stage.commitment * commitment
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step(warm_cosine(step / stage.steps))
        shown = means.update({"mm": 1e3 * float(error.detach()), "commit": commitment.detach()})
        if (step + 1) % stage.report_every == 0:
            quantised, plain = vertex_error(tokenizer, probe)
            log.info(
                "step %d %.0fs train %.1f mm commit %.4f | validation %.1f mm, unquantised %.1f mm",
                step + 1, time.monotonic() - start, shown["mm"], shown["commit"], quantised, plain,
            )  # fmt: skip
        if (step + 1) % stage.save_every == 0 or step + 1 == stage.steps:
            save_checkpoint_state(checkpoint, step + 1, tokenizer, optimizer, rng)
