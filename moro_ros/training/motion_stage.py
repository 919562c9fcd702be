"""Train MoRo on synthetic observations of open motion: masks, losses, phases and the loop.

The phases follow docs/training.md: short clips first (many poses and cameras per second), then
longer ones. Within a batch the masks of spec 7.2 are mixed.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from moro_ros.body.body_model import BodyModel
from moro_ros.data.occlusion import ObservationNoise
from moro_ros.data.pool import WindowPool
from moro_ros.data.synthesis import ObservedMotion, look, place_cameras
from moro_ros.geometry.trajectory import canonical_trajectory
from moro_ros.inference.masking import least_confident_mask, mask_tokens
from moro_ros.network.decoder import DecoderOutput
from moro_ros.network.moro import FrameFeatures, MoRo
from moro_ros.network.patch_tokenizer import PatchTokenizer
from moro_ros.training.checkpoint import load_checkpoint_state, save_checkpoint_state
from moro_ros.training.losses import (
    LossWeights,
    motion_terms,
    near_codes,
    token_loss,
    trajectory_terms,
    weighted,
)
from moro_ros.training.optim import RunningMean, TwoOptimizers, warm_cosine

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Phase:
    """Part of the schedule: its share of the time, clips per step and frames per clip."""

    share: float
    clips: int
    frames: int


@dataclass(frozen=True, slots=True)
class MotionStage:
    """Numbers of the stage.

    minutes: wall-clock budget; windows: size of the pool; phases: see Phase.
    guided: share of steps with confidence-guided masks; partial: share with true tokens partly
    masked; the rest start fully masked, as inference does. live: share of steps in which frames
    see little of the future, as at the live edge: none in causal of them, else 1 to 10 frames.
    near_codes: how far the token loss spreads over neighbouring codes, in mean distances of a code
    to its nearest; 0 asks for the very code.
    """

    minutes: float = 60.0
    windows: int = 4000
    phases: tuple[tuple[float, int, int], ...] = ((0.25, 144, 8), (0.4, 48, 24), (0.35, 24, 48))
    learning_rate: float = 1.2e-3
    guided: float = 0.15
    partial: float = 0.25
    live: float = 0.5
    causal: float = 0.6
    near_codes: float = 0.0
    mesh_share: float = 0.125
    report_every: int = 50
    save_every: int = 200
    seed: int = 0
    noise: ObservationNoise = field(default_factory=ObservationNoise)
    weights: LossWeights = field(default_factory=LossWeights)


@dataclass(frozen=True, slots=True)
class MaskedInput:
    """What one training pass starts from: codes (B, F, T, 9), its trajectory, masked (B, F, T)."""

    codes: Tensor
    rotation: Tensor
    translation: Tensor
    masked: Tensor


class MotionTrainer:
    """One training run of a MoRo with a frozen tokenizer."""

    def __init__(
        self,
        moro: MoRo,
        tokenizer: PatchTokenizer,
        body: BodyModel,
        coarse_body: BodyModel,
        pool: WindowPool,
        stage: MotionStage,
    ) -> None:
        self.moro, self.tokenizer = moro, tokenizer
        self.body, self.coarse_body = body, coarse_body
        self.pool, self.stage = pool, stage
        self.rng = np.random.default_rng(stage.seed)
        self.generator = torch.Generator().manual_seed(stage.seed)
        self.fps = 30.0
        self.near = near_codes(moro.codebook, stage.near_codes) if stage.near_codes > 0 else None
        for parameter in self.tokenizer.parameters():
            parameter.requires_grad_(False)

    def phase(self, progress: float) -> Phase:
        """Return the phase at a progress in [0, 1]."""
        done = 0.0
        for phase in self.stage.phases:
            done += phase[0]
            if progress < done:
                return Phase(*phase)
        return Phase(*self.stage.phases[-1])

    def batch(self, phase: Phase) -> tuple[ObservedMotion, Tensor]:
        """Draw clips, film them, return the observations and the true token ids (B, F, T)."""
        with torch.no_grad():
            windows, betas, ids = self.pool.draw(phase.clips, phase.frames, self.rng)
            truth = place_cameras(windows, betas, self.body, self.rng)
            return look(truth, self.body, self.stage.noise, self.rng), ids

    def future(self) -> int | None:
        """Draw how many frames of the future this step's frames see, None for all."""
        if self.rng.random() >= self.stage.live:
            return None
        return 0 if self.rng.random() < self.stage.causal else int(self.rng.integers(1, 11))

    def masked_input(self, ids: Tensor, features: FrameFeatures, ahead: int | None) -> MaskedInput:
        """Choose this step's mask and what stands under and beside it."""
        coarse = (features.rotation.detach(), features.translation.detach())
        everything = torch.ones_like(ids, dtype=torch.bool)
        mask_id = self.moro.mask_id
        draw = self.rng.random()
        if draw < self.stage.guided:
            return self.guided_input(ids, features, ahead)
        if draw < self.stage.guided + self.stage.partial:
            scheme = str(self.rng.choice(["random", "joint", "frame"], p=(0.5, 0.25, 0.25)))
            hidden = mask_tokens(
                ids, scheme, num_codes=self.moro.num_codes, generator=self.generator
            )
            return MaskedInput(self.moro.embed(hidden.ids), *coarse, hidden.masked)
        given = torch.full_like(ids, mask_id)
        return MaskedInput(self.moro.embed(given), *coarse, everything)

    @torch.no_grad()
    def guided_input(self, ids: Tensor, features: FrameFeatures, ahead: int | None) -> MaskedInput:
        """Keep a first pass's most certain tokens as soft codes and mask the rest again (7.2)."""
        start = self.moro.embed(torch.full_like(ids, self.moro.mask_id))
        coarse = (features.rotation, features.translation)
        first = self.moro.decode_window(start, features, *coarse, ahead=ahead)
        probability = first.logits.float().softmax(-1)
        masked = least_confident_mask(probability.amax(-1), self.generator)
        soft = probability @ self.moro.codebook
        codes = torch.where(masked[..., None], torch.zeros_like(soft), soft)
        return MaskedInput(codes, first.rotation.detach(), first.translation.detach(), masked)

    def mesh_term(self, output: DecoderOutput, observed: ObservedMotion) -> Tensor:
        """Return the vertex distance of softly decoded tokens on a share of the frames."""
        truth = observed.truth
        frames = truth.translation.shape[1]
        keep = max(1, round(self.stage.mesh_share * frames))
        chosen = torch.from_numpy(np.sort(self.rng.choice(frames, keep, replace=False)))
        soft = output.logits.float().softmax(-1) @ self.moro.codebook  # (B, F, T, 9)
        smooth = self.moro.smoother(soft).index_select(1, chosen).flatten(0, 1)
        rotations = truth.body_rotations.index_select(1, chosen).flatten(0, 1)
        betas = truth.betas[:, None].expand(-1, keep, -1).flatten(0, 1)
        with torch.no_grad():
            true_mesh = self.coarse_body.local_mesh(rotations, betas)
        mesh = self.tokenizer.decode_codes(smooth)
        return (mesh.float() - true_mesh).norm(dim=-1).mean()

    def losses(self, phase: Phase) -> dict[str, Tensor]:
        """Run one batch forward and return its loss terms."""
        observed, ids = self.batch(phase)
        with torch.autocast("cpu", torch.bfloat16):
            features = self.moro.encode_frames(observed.observation, observed.boxes.condition())
            ahead = self.future()
            given = self.masked_input(ids, features, ahead)
            output = self.moro.decode_window(
                given.codes, features, given.rotation, given.translation, ahead=ahead
            )
            terms = {"mesh": self.mesh_term(output, observed)}
        terms["tokens"] = token_loss(output.logits, ids, given.masked, self.near)
        terms.update(trajectory_terms(output, features, observed))
        terms.update(motion_terms(output, observed, self.body, self.fps))
        if output.clean_trajectory is not None and phase.frames > 1:
            truth = observed.truth
            clean = canonical_trajectory(
                truth.rotation,
                truth.translation,
                self.moro.trajectory_mean,
                self.moro.trajectory_std,
                causal=ahead == 0,
            )
            error = (output.clean_trajectory.float() - clean)[:, :-1].clamp(-5, 5)
            terms["clean_trajectory"] = error.square().mean()
        return terms

    def run(self, folder: Path, resume: bool = False) -> None:
        """Train until the minutes are over; the folder receives checkpoint.pt."""
        torch.manual_seed(self.stage.seed)
        optimizer = TwoOptimizers(self.moro, self.stage.learning_rate)
        checkpoint, step, spent = folder / "checkpoint.pt", 0, 0.0
        if resume and checkpoint.exists():
            step = load_checkpoint_state(checkpoint, self.moro, optimizer, self.rng)
            spent = float((folder / "spent.txt").read_text())
        means, start = RunningMean(), time.monotonic() - spent
        budget = self.stage.minutes * 60
        self.moro.train()
        while (elapsed := time.monotonic() - start) < budget:
            progress = elapsed / budget
            phase = self.phase(progress)
            terms = self.losses(phase)
            loss = weighted(terms, self.stage.weights)
            loss.backward()  # type: ignore[no-untyped-call]
            norm = optimizer.step(warm_cosine(progress))
            shown = means.update({name: value.detach() for name, value in terms.items()})
            shown = means.update({"grad": norm, "loss": loss.detach()})
            step += 1
            if step % self.stage.report_every == 0:
                line = " ".join(f"{name} {value:.4g}" for name, value in shown.items())
                log.info("step %d %.0fs %dx%d %s", step, elapsed, phase.clips, phase.frames, line)
            if step % self.stage.save_every == 0:
                save_checkpoint_state(checkpoint, step, self.moro, optimizer, self.rng)
                (folder / "spent.txt").write_text(f"{time.monotonic() - start:.1f}\n")
        save_checkpoint_state(checkpoint, step, self.moro, optimizer, self.rng)
        (folder / "spent.txt").write_text(f"{time.monotonic() - start:.1f}\n")
