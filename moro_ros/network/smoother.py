"""The temporal smoother of the token codes (the "smoothing MLP" of arXiv 2601.16079)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TemporalSmoother(nn.Module):
    """A gated residual of three temporal convolutions, shared by all tokens of the body.

    dim: width of a code. hidden: channels inside. kernel: frames seen by each of the first two.
    A frame sees kernel - 1 frames to either side; the ends are repeated, so one frame works too.
    """

    def __init__(self, dim: int = 9, hidden: int = 64, kernel: int = 5) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.tensor(0.1))
        self.conv1 = nn.Conv1d(dim, hidden, kernel, bias=False)
        self.conv2 = nn.Conv1d(hidden, hidden, kernel, bias=False)
        self.conv3 = nn.Conv1d(hidden, dim, 1, bias=False)

    def forward(self, codes: Tensor) -> Tensor:
        """Smooth codes (B, F, T, D) along F; same shape."""
        batch, frames, tokens, dim = codes.shape
        sequences = codes.permute(0, 2, 3, 1).reshape(batch * tokens, dim, frames)
        hidden = F.relu(self._same(self.conv1, sequences))
        hidden = F.relu(self._same(self.conv2, hidden))
        residual: Tensor = self.conv3(hidden).view(batch, tokens, dim, frames).permute(0, 3, 1, 2)
        smoothed: Tensor = codes + self.alpha * residual
        return smoothed

    @staticmethod
    def _same(conv: nn.Conv1d, sequences: Tensor) -> Tensor:
        """Convolve with the end frames repeated, so that the length stays."""
        side = conv.kernel_size[0] // 2
        same: Tensor = conv(F.pad(sequences, (side, side), mode="replicate"))
        return same
