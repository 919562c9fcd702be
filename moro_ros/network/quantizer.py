"""The codebook of the mesh tokens: nearest code, and training by moving averages."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Added to every cluster size to avoid division by zero for an unused code.
SMOOTHING = 1e-5


class VectorQuantizer(nn.Module):
    """Replaces each latent by its nearest code; learns the codes without gradients.

    In training, every code follows the mean of the latents assigned to it (moving averages of
    their count and sum), and a code used less than once per step on average is moved to a latent
    of the current batch. The buffers are those of the published tokenizer.

    codes: number of codes. dim: width of a code. decay: of all moving averages.
    Source: van den Oord et al. 2017, appendix A.1.
    """

    embedding: Tensor
    ema_sum: Tensor
    ema_count: Tensor
    usage: Tensor

    def __init__(self, codes: int = 512, dim: int = 9, decay: float = 0.99) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("embedding", torch.randn(codes, dim))
        self.register_buffer("ema_sum", torch.zeros(codes, dim))
        self.register_buffer("ema_count", torch.zeros(codes))
        self.register_buffer("usage", torch.ones(codes))

    @property
    def num_codes(self) -> int:
        """Number of codes."""
        return self.embedding.shape[0]

    @torch.no_grad()
    def encode(self, latents: Tensor) -> Tensor:
        """Return the id of the nearest code, (..., D) -> (...,) int64."""
        with torch.autocast(latents.device.type, enabled=False):
            flat = latents.reshape(-1, latents.shape[-1]).float()  # (N, D)
            # |z - e|^2 less |z|^2, which is the same for every code.
            distance = self.embedding.float().square().sum(1) - 2 * flat @ self.embedding.float().T
            return distance.argmin(1).view(latents.shape[:-1])

    def embed(self, ids: Tensor) -> Tensor:
        """Return the codes of ids, (...,) int -> (..., D)."""
        return F.embedding(ids, self.embedding)

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quantise latents (..., D); in training mode also move the codes.

        Returns the codes (..., D) float32 with the gradient of the latents (straight-through),
        their ids (...,) and the commitment loss, the mean squared distance to them. The codes are
        those from before the move.
        """
        with torch.autocast(latents.device.type, enabled=False):
            latents = latents.float()
            ids = self.encode(latents)
            codes = self.embed(ids).float()
            commitment = F.mse_loss(latents, codes)
            if self.training:
                self._move_codes(latents.detach().flatten(0, -2), ids.flatten())
            return latents + (codes - latents).detach(), ids, commitment

    @torch.no_grad()
    def _move_codes(self, latents: Tensor, ids: Tensor) -> None:
        """One step of the moving averages and of the reset of unused codes, (N, D), (N,)."""
        gain = 1 - self.decay
        codes = self.num_codes
        count = torch.zeros_like(self.ema_count).index_add_(0, ids, torch.ones_like(latents[:, 0]))
        total = torch.zeros_like(self.ema_sum).index_add_(0, ids, latents)
        self.ema_count.mul_(self.decay).add_(count, alpha=gain)
        mass = self.ema_count.sum()
        smoothed = (self.ema_count + SMOOTHING) / (mass + codes * SMOOTHING) * mass
        self.ema_count.copy_(smoothed)
        self.ema_sum.mul_(self.decay).add_(total, alpha=gain)
        self.embedding.copy_(self.ema_sum / self.ema_count[:, None])
        self.usage.mul_(self.decay).add_(count, alpha=gain)
        # A batch with fewer latents than codes is repeated from its first one.
        donors = latents[torch.arange(codes, device=latents.device) % latents.shape[0]]
        self.embedding.copy_(torch.where(self.usage[:, None] < 1, donors, self.embedding))
