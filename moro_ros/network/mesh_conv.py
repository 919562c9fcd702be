"""Convolution and pooling on a mesh of fixed topology (Zhou et al., NeurIPS 2020)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

NUM_KERNELS = 9


class Neighbours(nn.Module):
    """Gathers the neighbours of every output vertex.

    ids: (N_out, K) ids of input vertices; the number of input vertices itself stands for an absent
    neighbour and gives zeros. num_inputs: N_in.
    """

    ids: Tensor

    def __init__(self, ids: np.ndarray, num_inputs: int) -> None:
        super().__init__()
        self.num_inputs = num_inputs
        self.register_buffer("ids", torch.from_numpy(np.array(ids, np.int32)))

    def forward(self, features: Tensor) -> Tensor:
        """(N_in, L) -> (N_out, K, L)."""
        padded = torch.cat([features, features.new_zeros(1, features.shape[1])])
        return padded.index_select(0, self.ids.flatten()).view(*self.ids.shape, -1)

    def present(self) -> Tensor:
        """Where a neighbour exists, (N_out, K) bool."""
        return self.ids < self.num_inputs

    def mean_count(self) -> int:
        """Mean number of neighbours, rounded, which scales the initial weights."""
        return round(float(self.present().sum(1).float().mean()))


class MeshConv(nn.Module):
    """A convolution whose kernel at each vertex is a mixture of a few shared ones.

    kernels: (9, C_out * C_in), rows are the shared kernels, output channel major.
    mixing: (N_out, K, 9), the mixture for every neighbour of every vertex.
    """

    def __init__(self, ids: np.ndarray, num_inputs: int, c_in: int, c_out: int) -> None:
        super().__init__()
        self.neighbours = Neighbours(ids, num_inputs)
        self.c_in, self.c_out = c_in, c_out
        scale = 1.0 / (self.neighbours.mean_count() * NUM_KERNELS)
        self.kernels = nn.Parameter(torch.randn(NUM_KERNELS, c_out * c_in))
        self.mixing = nn.Parameter(torch.randn(*ids.shape, NUM_KERNELS) * scale)
        self.bias = nn.Parameter(torch.zeros(c_out))

    def forward(self, features: Tensor) -> Tensor:
        """(N_in, B, C_in) -> (N_out, B, C_out).

        The neighbours' features are mixed first and then meet the shared kernels: the same sum as
        expanding a kernel for every neighbour, for a tenth of the work and no expanded kernels.
        """
        batch = features.shape[1]
        gathered = self.neighbours(features.flatten(1))  # (N_out, K, B C_in)
        mixed = self.mixing.transpose(1, 2) @ gathered  # (N_out, 9, B C_in)
        mixed = mixed.view(-1, NUM_KERNELS, batch, self.c_in).transpose(1, 2)
        kernels = self.kernels.view(NUM_KERNELS, self.c_out, self.c_in).transpose(1, 2)
        flat = mixed.reshape(mixed.shape[0], batch, -1)  # (N_out, B, 9 C_in)
        output: Tensor = flat @ kernels.reshape(-1, self.c_out) + self.bias
        return output


class MeshPool(nn.Module):
    """A learned weighted mean over neighbours, for a coarser or a finer mesh.

    weight: (N_out, K); absolute values are used, normalised over the existing neighbours.
    """

    def __init__(self, ids: np.ndarray, num_inputs: int) -> None:
        super().__init__()
        self.neighbours = Neighbours(ids, num_inputs)
        self.weight = nn.Parameter(torch.randn(ids.shape) / self.neighbours.mean_count())

    def forward(self, features: Tensor) -> Tensor:
        """(N_in, B, C) -> (N_out, B, C)."""
        batch = features.shape[1]
        share = self.weight.abs() * self.neighbours.present()
        share = share / (share.sum(1, keepdim=True) + 1e-8)
        gathered = self.neighbours(features.flatten(1))  # (N_out, K, B C)
        pooled: Tensor = share[:, None].to(gathered.dtype) @ gathered  # (N_out, 1, B C)
        return pooled.view(share.shape[0], batch, -1)
