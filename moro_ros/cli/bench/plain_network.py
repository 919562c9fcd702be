"""The plain form of the network, a direct implementation of the paper, for comparison.

The modules wrap ours and share their weights. They have no optimisations: attention writes all
scores and rebuilds its band each time, the decoder computes every token in every layer in every
pass, graph convolutions expand a kernel for each neighbour of each vertex.
"""

from __future__ import annotations

import copy
from typing import TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moro_ros.network.image_encoders import ImageFeatures, VitImageEncoder
from moro_ros.network.layers import ROPE_BASE, Attention, DSTFormer, DualLayer, TransformerBlock
from moro_ros.network.mesh_conv import NUM_KERNELS, MeshConv
from moro_ros.network.moro import MoRo
from moro_ros.network.tokenizer import MeshConvTokenizer, MeshTokenizer

M = TypeVar("M", bound=nn.Module)


class PlainBlock(nn.Module):
    """A TransformerBlock whose attention writes all scores; (S, L, D) -> the same.

    span: None over space; over time the number of frames seen to either side; ahead: maximum
    number of them in the future.
    """

    def __init__(
        self, block: TransformerBlock, span: int | None = None, ahead: int | None = None
    ) -> None:
        super().__init__()
        self.block = block
        self.span, self.ahead = span, ahead

    def forward(self, x: Tensor) -> Tensor:
        """Attention and MLP, each added to its input."""
        x = x + self._attend(self.block.attention, self.block.norm1(x))
        changed: Tensor = x + self.block.mlp(self.block.norm2(x))
        return changed

    def _attend(self, attention: Attention, x: Tensor) -> Tensor:
        length, heads = x.shape[1], attention.heads
        qkv = attention.qkv(x).unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)  # (S, heads, L, width)
        if self.span is not None:
            query, key = turned(query), turned(key)
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
        if self.span is not None:
            scores = scores + band(length, self.span, self.ahead, scores)
        mixed = scores.softmax(-1) @ value
        output: Tensor = attention.proj(mixed.transpose(1, 2).flatten(2))
        return output


def turned(x: Tensor) -> Tensor:
    """Rotary positions as two products with cosine and sine: (..., F, width) -> the same."""
    frames = torch.arange(x.shape[-2], device=x.device)
    exponents = torch.arange(0, x.shape[-1], 2, device=x.device) / x.shape[-1]
    angles = frames[:, None] * ROPE_BASE**-exponents
    even, odd = x[..., 0::2], x[..., 1::2]
    cosine, sine = angles.cos(), angles.sin()
    pairs = (even * cosine - odd * sine, odd * cosine + even * sine)
    return torch.stack(pairs, -1).flatten(-2).to(x.dtype)


def band(length: int, span: int, ahead: int | None, like: Tensor) -> Tensor:
    """What to add to scores (F, F): 0 within the span, minus infinity outside, row by row."""
    added = torch.full((length, length), float("-inf"), dtype=like.dtype, device=like.device)
    for frame in range(length):
        after = span if ahead is None else min(span, ahead)
        added[frame, max(0, frame - span) : frame + after + 1] = 0
    return added


class PlainFormer(nn.Module):
    """A DSTFormer without optimisations; it accepts their arguments and computes everything."""

    def __init__(self, trunk: DSTFormer) -> None:
        super().__init__()
        self.trunk = trunk

    def first_look(self, x: Tensor, ahead: int | None = None, time: None = None) -> None:
        """Prepare nothing."""
        return None

    def forward(
        self,
        x: Tensor,
        known: None = None,
        queries: int | None = None,
        ahead: int | None = None,
        time: None = None,
    ) -> Tensor:
        """(B, F, N, D) -> (B, F, N or queries, D)."""
        for layer in self.trunk.layers:
            if isinstance(layer, DualLayer):
                one, other = layer.space_first, layer.time_first
                first = self._over_time(one.time, self._over_space(one.space, x), ahead)
                second = self._over_space(other.space, self._over_time(other.time, x, ahead))
                weights = layer.fusion(torch.cat((first, second), -1)).softmax(-1)
                x = weights[..., :1] * first + weights[..., 1:] * second
            else:
                x = self._over_time(cast(TransformerBlock, layer.block), x, ahead)
        return x[:, :, :queries]

    def _over_time(self, block: TransformerBlock, x: Tensor, ahead: int | None) -> Tensor:
        sequences = x.transpose(1, 2).flatten(0, 1)  # (B N, F, D)
        mixed: Tensor = PlainBlock(block, self.trunk.attention_span, ahead)(sequences)
        return mixed.unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2)

    def _over_space(self, block: TransformerBlock, x: Tensor) -> Tensor:
        mixed: Tensor = PlainBlock(block)(x.flatten(0, 1))
        return mixed.unflatten(0, x.shape[:2])


class PlainMeshConv(nn.Module):
    """A MeshConv that expands its kernels; (N_in, B, C_in) -> (N_out, B, C_out)."""

    def __init__(self, conv: MeshConv) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, features: Tensor) -> Tensor:
        """Expand one kernel per neighbour of each vertex, apply it, sum over the neighbours."""
        conv, batch = self.conv, features.shape[1]
        outputs, neighbours = conv.neighbours.ids.shape
        mixing = conv.mixing * conv.neighbours.present()[..., None]
        kernels = mixing.view(-1, NUM_KERNELS) @ conv.kernels
        kernels = kernels.view(outputs, neighbours, conv.c_out, conv.c_in).transpose(1, 2)
        gathered = conv.neighbours(features.flatten(1)).view(outputs, neighbours, batch, -1)
        flat = gathered.transpose(2, 3).reshape(outputs, -1, batch)  # (N_out, K C_in, B)
        product = kernels.reshape(outputs, conv.c_out, -1) @ flat  # (N_out, C_out, B)
        return product.transpose(1, 2) + conv.bias


class PlainMeshTokenizer(nn.Module):
    """The decoder of a MeshConvTokenizer with expanded kernels, all meshes at once."""

    def __init__(self, tokenizer: MeshConvTokenizer) -> None:
        super().__init__()
        self.decoder = nn.ModuleList(
            PlainMeshConv(layer) if isinstance(layer, MeshConv) else layer
            for layer in tokenizer.decoder
        )

    def decode_codes(self, codes: Tensor) -> Tensor:
        """(B, T, code width) -> (B, M, 3) m."""
        features = codes.transpose(0, 1)
        for number, layer in enumerate(self.decoder):
            features = layer(features)
            if number % 2 == 0 and number + 1 < len(self.decoder):
                features = F.elu(features)
        return features.transpose(0, 1).float()

    def full_mesh(self, coarse: Tensor) -> Tensor:
        """The mesh itself."""
        return coarse


class PlainImageEncoder(nn.Module):
    """A VitImageEncoder that processes all images at once."""

    def __init__(self, encoder: VitImageEncoder) -> None:
        super().__init__()
        blocks = (PlainBlock(cast(TransformerBlock, block)) for block in encoder.vit.blocks)
        self.encoder = encoder
        self.vit = with_parts(encoder.vit, blocks=nn.ModuleList(blocks))
        self.transformer = encoder.transformer

    def normalise(self, observation: Tensor) -> Tensor:
        """See VitImageEncoder."""
        return self.encoder.normalise(observation)

    def forward(self, observation: Tensor, box_condition: Tensor) -> ImageFeatures:
        """See VitImageEncoder."""
        patches = self.vit(self.normalise(observation))
        features: ImageFeatures = self.transformer(patches, box_condition)
        return features


def plain_moro(model: MoRo) -> MoRo:
    """The same network with the same weights and without optimisations."""
    encoder = with_parts(model.motion_encoder, trunk=PlainFormer(model.motion_encoder.trunk))
    decoder = with_parts(model.decoder, trunk=PlainFormer(model.decoder.trunk))
    image_encoder: nn.Module = model.image_encoder
    if isinstance(image_encoder, VitImageEncoder):
        image_encoder = PlainImageEncoder(image_encoder)
    return with_parts(model, image_encoder=image_encoder, motion_encoder=encoder, decoder=decoder)


def plain_tokenizer(tokenizer: MeshTokenizer) -> MeshTokenizer | PlainMeshTokenizer:
    """The same tokenizer with expanded kernels; one without graph convolutions is unchanged."""
    if isinstance(tokenizer, MeshConvTokenizer):
        return PlainMeshTokenizer(tokenizer)
    return tokenizer


def with_parts(module: M, **parts: nn.Module) -> M:
    """A copy of a module that shares all of its parameters but has other submodules in places."""
    clone = copy.copy(module)
    clone._modules = {**module._modules, **parts}
    return clone
