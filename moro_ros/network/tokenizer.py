"""Mesh tokenizers: their interface, and the paper's graph-convolution VQ-VAE."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moro_ros.body.connections import neighbour_ids
from moro_ros.body.hierarchy import ConnectionTables
from moro_ros.network.mesh_conv import MeshConv, MeshPool
from moro_ros.network.quantizer import VectorQuantizer

# Batch size of meshes in the graph layers; larger ones are not faster and use more memory (about
# 40 MB of gathered neighbours per mesh at full size).
MESHES_AT_ONCE = 16


class MeshTokenizer(nn.Module, ABC):
    """Mesh <-> T token ids; vertices in the local frame of the body (pelvis at zero), metres."""

    quantizer: VectorQuantizer

    @property
    @abstractmethod
    def num_tokens(self) -> int:
        """Tokens per mesh, T."""

    @property
    @abstractmethod
    def num_vertices(self) -> int:
        """Vertices of the coded meshes, M."""

    @property
    @abstractmethod
    def patch_vertices(self) -> Tensor:
        """Ids in the body model of some vertices that each token describes, (T, n)."""

    @abstractmethod
    def encode_latent(self, vertices: Tensor) -> Tensor:
        """Return the latents before the quantiser, (B, M, 3) m -> (B, T, 9) float32."""

    @abstractmethod
    def decode_codes(self, codes: Tensor) -> Tensor:
        """Return the mesh of any codes, also between those of the codebook.

        codes: (B, T, 9). Returns (B, M, 3) float32, metres, local frame.
        """

    @abstractmethod
    def full_mesh(self, coarse: Tensor) -> Tensor:
        """Return all vertices of the displayed body, (..., M, 3) m -> (..., V, 3) m."""

    @property
    def codebook(self) -> Tensor:
        """The codes, (512, 9)."""
        return self.quantizer.embedding

    def encode(self, vertices: Tensor) -> Tensor:
        """Return the token ids, (B, M, 3) m -> (B, T) int64."""
        return self.quantizer.encode(self.encode_latent(vertices))

    def embed(self, ids: Tensor) -> Tensor:
        """Return the codes of token ids, (..., T) -> (..., T, 9)."""
        return self.quantizer.embed(ids)

    def decode(self, ids: Tensor) -> Tensor:
        """Return the mesh of token ids, (B, T) -> (B, M, 3) m."""
        return self.decode_codes(self.embed(ids))

    def reconstruct(self, vertices: Tensor) -> tuple[Tensor, Tensor]:
        """Encode, quantise and decode (B, M, 3) m; returns the mesh and the commitment loss."""
        codes, _, commitment = self.quantizer(self.encode_latent(vertices))
        return self.decode_codes(codes), commitment


class MeshConvTokenizer(MeshTokenizer):
    """The paper's tokenizer: graph convolutions down to one vertex per token, and back up.

    encoder_ids, decoder_ids: neighbour ids (N_out, K) of each layer in running order, convolutions
    and pools alternating, starting and ending with a convolution; the padding id is the number of
    inputs. channels: of the mesh levels, fine to coarse, one per convolution but the last.
    codes, code_dim: size of the codebook.
    """

    def __init__(
        self,
        encoder_ids: Sequence[np.ndarray],
        decoder_ids: Sequence[np.ndarray],
        *,
        channels: Sequence[int] = (32, 64, 128),
        codes: int = 512,
        code_dim: int = 9,
    ) -> None:
        super().__init__()
        if not len(encoder_ids) == len(decoder_ids) == 2 * len(channels) + 1:
            raise ValueError(
                f"{len(channels)} channel numbers need {2 * len(channels) + 1} layers each way, "
                f"got {len(encoder_ids)} and {len(decoder_ids)}"
            )
        widths = (3, *channels, code_dim)
        vertices = len(encoder_ids[0])
        self.encoder = _stack(encoder_ids, vertices, widths)
        self.quantizer = VectorQuantizer(codes, code_dim)
        self.decoder = _stack(decoder_ids, len(encoder_ids[-1]), widths[::-1])

    @classmethod
    def from_tables(
        cls,
        tables: ConnectionTables,
        *,
        channels: Sequence[int] = (32, 64, 128),
        codes: int = 512,
        code_dim: int = 9,
    ) -> MeshConvTokenizer:
        """Build an untrained tokenizer for a mesh given by its connection tables."""
        return cls(
            [neighbour_ids(table) for table in tables.pool],
            [neighbour_ids(table) for table in reversed(tables.unpool)],
            channels=channels,
            codes=codes,
            code_dim=code_dim,
        )

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> MeshConvTokenizer:
        """Rebuild a tokenizer from its saved state: all sizes are derived from the arrays."""
        ids: dict[str, list[np.ndarray]] = {"encoder": [], "decoder": []}
        for part, layers in ids.items():
            while (name := f"{part}.{len(layers)}.neighbours.ids") in state:
                layers.append(state[name].cpu().numpy())
        convs = range(0, len(ids["encoder"]) - 1, 2)
        codes, code_dim = state["quantizer.embedding"].shape
        module = cls(
            ids["encoder"],
            ids["decoder"],
            channels=[len(state[f"encoder.{layer}.bias"]) for layer in convs],
            codes=codes,
            code_dim=code_dim,
        )
        module.load_state_dict(dict(state))
        return module

    @property
    def num_tokens(self) -> int:
        """Tokens per mesh, T."""
        return self._ids(self.encoder, -1).shape[0]

    @property
    def num_vertices(self) -> int:
        """Vertices of the mesh, M."""
        return self._ids(self.encoder, 0).shape[0]

    @property
    def patch_vertices(self) -> Tensor:
        """Vertices around each token's centre, (T, n); the first neighbour of a row is itself."""
        *finer, last = (self._ids(self.encoder, layer) for layer in range(1, len(self.encoder), 2))
        inputs = self._ids(self.encoder, -3).shape[0]
        patch = last[:, : int((last < inputs).sum(1).min())].long()
        for ids in reversed(finer):
            patch = ids[:, 0].long()[patch]
        return patch

    @staticmethod
    def _ids(stack: nn.ModuleList, layer: int) -> Tensor:
        ids: Tensor = stack[layer].neighbours.ids  # type: ignore[union-attr, assignment]
        return ids

    def encode_latent(self, vertices: Tensor) -> Tensor:
        """Return the latents before the quantiser, (B, M, 3) m -> (B, T, 9) float32.

        The last convolution is also followed by an ELU, so latents are above -1.
        """
        parts = [_run(self.encoder, part, True) for part in torch.split(vertices, MESHES_AT_ONCE)]
        return torch.cat(parts).float()

    def decode_codes(self, codes: Tensor) -> Tensor:
        """Return the mesh of any codes, also between those of the codebook.

        codes: (B, T, 9). Returns (B, M, 3) float32, metres, local frame.
        """
        parts = [_run(self.decoder, part, False) for part in torch.split(codes, MESHES_AT_ONCE)]
        return torch.cat(parts).float()

    def full_mesh(self, coarse: Tensor) -> Tensor:
        """Return the mesh itself: the graph layers reach every vertex, (..., M, 3) m."""
        return coarse


def _stack(ids: Sequence[np.ndarray], num_inputs: int, widths: Sequence[int]) -> nn.ModuleList:
    """Convolutions, from width to width, with pools between them."""
    layers = nn.ModuleList()
    for layer, table in enumerate(ids):
        if layer % 2:
            layers.append(MeshPool(table, num_inputs))
        else:
            c_in, c_out = widths[layer // 2], widths[layer // 2 + 1]
            layers.append(MeshConv(table, num_inputs, c_in, c_out))
        num_inputs = len(table)
    return layers


def _run(layers: nn.ModuleList, features: Tensor, last_elu: bool) -> Tensor:
    """Pass (B, N, C) through a stack; an ELU follows every convolution, optionally the last one."""
    features = features.transpose(0, 1)  # (N, B, C)
    for number, layer in enumerate(layers):
        features = layer(features)
        if number % 2 == 0 and (last_elu or number + 1 < len(layers)):
            features = F.elu(features)
    return features.transpose(0, 1)
