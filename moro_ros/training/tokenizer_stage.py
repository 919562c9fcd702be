"""Stage "tokenizer": train a mesh tokenizer on random bodies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from moro_ros.body.body_model import BodyModel
from moro_ros.config import option, validate
from moro_ros.network.patch_tokenizer import PatchTokenizer
from moro_ros.network.tokenizer import MeshConvTokenizer
from moro_ros.training.clips import DATA, Draw
from moro_ros.training.stage import LoopNumbers, Phase

# Draws bodies: count and generator -> rotations (count, 21, 3, 3), betas (count, 10).
Poses = Callable[[int, np.random.Generator], tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class TokenizerStage:
    """Numbers of the stage: data sets, bodies per pass, weight of the commitment loss.

    validation: the sets on whose bodies the error is reported.
    """

    data: tuple[str, ...] = ("open",)
    validation: tuple[str, ...] = ("open",)
    batch: int = option(256, "Bodies per pass", low=1)
    commitment: float = option(0.25, "Weight of the commitment loss", low=0.0)
    loop: LoopNumbers = field(default_factory=LoopNumbers)

    def __post_init__(self) -> None:
        validate(self)

    def phase(self, progress: float) -> Phase:
        """Return the one phase of the stage."""
        return Phase(1.0, self.batch, 1)

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """Return the weighted sum of the terms."""
        return terms["vertices"] + self.commitment * terms["commitment"]


class TokenizerObjective(nn.Module):
    """The loss terms of a batch of meshes; the codebook follows these meshes.

    With several processes the codebook follows the first one's meshes (DistributedDataParallel
    broadcasts buffers).
    """

    def __init__(
        self, tokenizer: MeshConvTokenizer | PatchTokenizer, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.dtype = dtype

    def forward(self, mesh: Tensor, draw: Draw, progress: float) -> dict[str, Tensor]:
        """Return the mean vertex distance [m] and the commitment of meshes (B, M, 3) m."""
        with torch.autocast(mesh.device.type, self.dtype, enabled=self.dtype is not None):
            output, commitment = self.tokenizer.reconstruct(mesh)
        error = (output.float() - mesh).norm(dim=-1).mean()
        return {"vertices": error, "commitment": commitment}


class PoseSource:
    """Batches of meshes; body: its vertices are the tokenizer's (BodyModel.subset)."""

    def __init__(self, poses: Poses, body: BodyModel) -> None:
        self.poses, self.body = poses, body

    def batches(self, draws: Iterator[Draw]) -> Iterator[Tensor]:
        """Yield meshes (B, M, 3) m for each draw."""
        for draw in draws:
            with torch.no_grad():
                mesh = self.body.local_mesh(*self.poses(draw.clips, draw.rng(DATA)))
            yield mesh


@torch.no_grad()
def vertex_error(tokenizer: MeshConvTokenizer | PatchTokenizer, mesh: Tensor) -> dict[str, float]:
    """Return the mean vertex error [mm] with and without the quantiser, mesh (B, M, 3) m."""
    was_training = tokenizer.training
    tokenizer.eval()
    latent = tokenizer.encode_latent(mesh)
    plain = (tokenizer.decode_codes(latent) - mesh).norm(dim=-1).mean()
    codes = tokenizer.embed(tokenizer.quantizer.encode(latent))
    quantised = (tokenizer.decode_codes(codes) - mesh).norm(dim=-1).mean()
    tokenizer.train(was_training)
    return {"validation_mm": 1e3 * float(quantised), "unquantised_mm": 1e3 * float(plain)}
