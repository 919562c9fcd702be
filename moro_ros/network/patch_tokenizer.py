"""The mesh tokenizer of the open model: one token per patch of the body, mixed by a transformer.

It replaces the paper's graph convolution (tokenizer.py), with the same tokens, codebook and
interface, but it trains about a hundred times faster. Token p gets its nearest coarse vertices
by its own linear layer; two transformer layers over the tokens of a body, a code, three layers,
and a linear layer back to its own patch; vertices of several patches are averaged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moro_ros.network.quantizer import VectorQuantizer
from moro_ros.network.tokenizer import MeshTokenizer

# Typical distance of a vertex from its mean position [m], by which coordinates are divided.
LENGTH_SCALE_M = 0.3
HEAD_WIDTH = 24


def build_patches(
    coarse_vertices: np.ndarray,
    centres: np.ndarray,
    n_in: int,
    n_out: int,
    distance: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the input and output vertices of each token.

    A patch contains all vertices that are nearest to its centre and then the next nearest ones, so
    every vertex is in at least one patch; patches grow to the largest such cell if necessary.

    coarse_vertices: rest shape, (M, 3), metres. centres: vertex numbers of the token centres, (T,).
    n_in, n_out: minimum sizes of the two kinds of patch.
    distance: from each centre to each vertex, (T, M), metres; Euclidean if not given.
    Returns (T, >= n_in) and (T, >= n_out) int64 vertex numbers.
    """
    if distance is None:
        offset = coarse_vertices[centres, None] - coarse_vertices[None]
        distance = np.linalg.norm(offset, axis=-1)
    nearest = distance.argmin(0)  # (M,)
    own = nearest[None] == np.arange(len(centres))[:, None]  # (T, M)
    largest = int(own.sum(1).max())
    order = np.lexsort((distance, ~own), axis=1)
    return order[:, : max(n_in, largest)], order[:, : max(n_out, largest)]


class _SlotMean(torch.autograd.Function):
    """Mean over the patches of each vertex; by gathers, because scatters are slow on CPUs."""

    @staticmethod
    def forward(ctx: Any, slots: Tensor, gather: Tensor, share: Tensor, owner: Tensor) -> Tensor:
        """Rows of slots (S, N) -> vertices (M, N); gather, share (M, K); owner (S,)."""
        ctx.save_for_backward(share, owner)
        padded = slots.index_select(0, gather.flatten()).view(*gather.shape, -1)  # (M, K, N)
        return torch.einsum("mkn,mk->mn", padded, share.to(slots.dtype))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Pass to each slot its share of its vertex's gradient."""
        share, owner = ctx.saved_tensors
        scaled = grads[0] * share[:, :1].to(grads[0].dtype)
        return scaled.index_select(0, owner), None, None, None


class TokenLayer(nn.Module):
    """Pre-norm transformer layer over the tokens of one body, (B, T, width) -> same."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 2 * width)
        self.fc2 = nn.Linear(2 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Mix the tokens, then transform each."""
        batch, count, width = tokens.shape
        qkv = self.qkv(self.norm_attention(tokens)).view(batch, count, 3, self.heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each (B, H, T, width / H)
        # With so few tokens, plain products train faster on CPUs than the fused kernel.
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        mixed = (scores.softmax(-1).to(value.dtype) @ value).transpose(1, 2)
        tokens = tokens + self.proj(mixed.reshape(batch, count, width))
        mlp: Tensor = self.fc2(F.gelu(self.fc1(self.norm_mlp(tokens))))
        return tokens + mlp


class PatchTokenizer(MeshTokenizer):
    """Mesh <-> T token ids through patches of a coarse mesh of M vertices.

    Vertices are in the local frame of the body (pelvis at the origin, no global rotation), metres.
    The saved state is self-contained: from_state rebuilds the module from it alone.

    patch_in: coarse vertices that each token sees, (T, n_in). patch_out: those that it rebuilds,
    (T, n_out); every vertex is in at least one row. num_vertices: M.
    rest: mean coarse vertices (M, 3), the shape that is subtracted before and added after; zero if
    not given. coarse_index: their ids in the full mesh, (M,). up_index, up_weight: the full mesh
    as sums of coarse vertices, (V, N); empty if not given.
    """

    patch_in: Tensor
    patch_out: Tensor
    rest: Tensor
    coarse_index: Tensor
    up_index: Tensor
    up_weight: Tensor
    slot_gather: Tensor
    slot_share: Tensor
    slot_owner: Tensor

    def __init__(
        self,
        patch_in: np.ndarray,
        patch_out: np.ndarray,
        num_vertices: int,
        *,
        width: int = 96,
        encoder_layers: int = 2,
        decoder_layers: int = 3,
        codes: int = 512,
        code_dim: int = 9,
        rest: np.ndarray | None = None,
        coarse_index: np.ndarray | None = None,
        up_index: np.ndarray | None = None,
        up_weight: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        if width % HEAD_WIDTH:
            raise ValueError(f"width {width} is not a multiple of the head width {HEAD_WIDTH}")
        self._add_geometry(
            patch_in=np.asarray(patch_in, np.int32),
            patch_out=np.asarray(patch_out, np.int32),
            rest=np.zeros((num_vertices, 3), np.float32) if rest is None else rest,
            coarse_index=np.zeros(0, np.int32) if coarse_index is None else coarse_index,
            up_index=np.zeros((0, 0), np.int32) if up_index is None else up_index,
            up_weight=np.zeros((0, 0), np.float32) if up_weight is None else up_weight,
        )
        tokens, n_in = self.patch_in.shape
        n_out, heads = self.patch_out.shape[1], width // HEAD_WIDTH
        self.in_weight = nn.Parameter(torch.randn(tokens, 3 * n_in, width) * (3 * n_in) ** -0.5)
        self.in_bias = nn.Parameter(torch.randn(tokens, 1, width) * 0.1)
        self.encoder = nn.ModuleList(TokenLayer(width, heads) for _ in range(encoder_layers))
        self.encoder_norm = nn.LayerNorm(width)
        self.latent_head = nn.Linear(width, code_dim)
        self.quantizer = VectorQuantizer(codes, code_dim)
        self.code_embed = nn.Linear(code_dim, width)
        self.token_embed = nn.Parameter(torch.randn(1, tokens, width) * 0.1)
        self.decoder = nn.ModuleList(TokenLayer(width, heads) for _ in range(decoder_layers))
        self.decoder_norm = nn.LayerNorm(width)
        self.out_weight = nn.Parameter(torch.randn(tokens, 3 * n_out, width) * 0.1 * width**-0.5)
        self.out_bias = nn.Parameter(torch.zeros(tokens, 3 * n_out, 1))

    def _add_geometry(self, **arrays: np.ndarray) -> None:
        """Register the fixed arrays and derive how slots of patches become vertices."""
        for name, array in arrays.items():
            dtype = np.float32 if np.issubdtype(array.dtype, np.floating) else np.int32
            self.register_buffer(name, torch.from_numpy(np.array(array, dtype)))
        owner = self.patch_out.flatten().numpy()  # (S,) vertex of each slot
        vertices = self.rest.shape[0]
        count = np.bincount(owner, minlength=vertices)
        if count.shape[0] != vertices or not count.all():
            raise ValueError(f"{vertices} vertices, but the patches do not rebuild each of them")
        order = np.argsort(owner, kind="stable")
        rank = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
        gather = np.zeros((vertices, count.max()), np.int64)
        share = np.zeros(gather.shape, np.float32)
        gather[owner[order], rank] = order
        share[owner[order], rank] = 1.0 / count[owner[order]]
        for name, derived in (("gather", gather), ("share", share), ("owner", owner)):
            tensor = torch.from_numpy(np.ascontiguousarray(derived))
            self.register_buffer(f"slot_{name}", tensor, persistent=False)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> PatchTokenizer:
        """Rebuild a tokenizer from its saved state: all sizes are derived from the arrays."""
        layers = {"encoder": 0, "decoder": 0}
        for key in state:
            part, _, rest = key.partition(".")
            if part in layers:
                layers[part] = max(layers[part], 1 + int(rest.split(".")[0]))
        fixed = ("rest", "coarse_index", "up_index", "up_weight", "patch_in", "patch_out")
        arrays = {name: state[name].cpu().numpy() for name in fixed}
        codes, code_dim = state["quantizer.embedding"].shape
        module = cls(
            arrays.pop("patch_in"),
            arrays.pop("patch_out"),
            state["rest"].shape[0],
            width=state["in_weight"].shape[-1],
            encoder_layers=layers["encoder"],
            decoder_layers=layers["decoder"],
            codes=codes,
            code_dim=code_dim,
            **arrays,
        )
        module.load_state_dict(dict(state))
        return module

    @property
    def num_tokens(self) -> int:
        """Tokens per body, T."""
        return self.patch_in.shape[0]

    @property
    def num_vertices(self) -> int:
        """Coarse vertices, M."""
        return self.rest.shape[0]

    @property
    def patch_vertices(self) -> Tensor:
        """Ids in the full mesh of the vertices that each token rebuilds, (T, n_out)."""
        return self.coarse_index[self.patch_out.long()]

    def encode_latent(self, vertices: Tensor) -> Tensor:
        """Return the latents before the quantiser, (B, M, 3) m -> (B, T, 9) float32."""
        batch, tokens = vertices.shape[0], self.num_tokens
        local = (vertices - self.rest) / LENGTH_SCALE_M
        seen = local.index_select(1, self.patch_in.flatten())  # (B, T * n_in, 3)
        seen = seen.view(batch, tokens, -1).transpose(0, 1)  # (T, B, 3 n_in)
        features = (seen @ self.in_weight + self.in_bias).transpose(0, 1)  # (B, T, width)
        for layer in self.encoder:
            features = layer(features)
        latent: Tensor = self.latent_head(self.encoder_norm(features))
        return latent.float()

    def decode_codes(self, codes: Tensor) -> Tensor:
        """Return the coarse mesh of any codes, including interpolated ones.

        codes: (B, T, 9). Returns (B, M, 3) float32, metres, local frame.
        """
        batch = codes.shape[0]
        features = self.code_embed(codes) + self.token_embed
        for layer in self.decoder:
            features = layer(features)
        by_token = self.decoder_norm(features).permute(1, 2, 0)  # (T, width, B)
        slots = self.out_weight @ by_token + self.out_bias  # (T, 3 n_out, B)
        rows = slots.float().view(-1, 3 * batch)  # (S, 3 B): a slot is one contiguous row
        mean: Tensor = _SlotMean.apply(  # type: ignore[no-untyped-call]
            rows, self.slot_gather, self.slot_share, self.slot_owner
        )
        local = mean.view(-1, 3, batch).permute(2, 0, 1)  # (B, M, 3)
        return self.rest + LENGTH_SCALE_M * local

    def full_mesh(self, coarse: Tensor) -> Tensor:
        """Return all vertices of the body model, (..., M, 3) m -> (..., V, 3) m."""
        if not len(self.up_index):
            raise ValueError("this tokenizer was built without upsampling weights")
        flat = coarse.flatten(0, -3) if coarse.dim() > 2 else coarse[None]
        vertices = self.up_index.shape[0]
        rows = flat.transpose(0, 1).flatten(1)  # (M, 3 B)
        full = F.embedding_bag(
            self.up_index, rows, per_sample_weights=self.up_weight.to(rows.dtype), mode="sum"
        )  # (V, 3 B)
        full = full.view(vertices, -1, 3).transpose(0, 1)
        return full.reshape(*coarse.shape[:-2], vertices, 3)
