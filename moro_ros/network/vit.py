"""The image backbone: a vision transformer in the form of ViTPose (Xu et al., NeurIPS 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moro_ros.network.layers import TransformerBlock

LAYER_NORM_EPS = 1e-6


class VisionTransformer(nn.Module):
    """Normalised image -> one token per patch, row by row.

    image: height and width, px. patch: side of a patch, px. padding: zeros around the image, px.
    embed_dim, depth, heads, mlp_ratio: of the transformer.
    Source: Dosovitskiy et al., ICLR 2021; Xu et al. (ViTPose), NeurIPS 2022.
    """

    def __init__(
        self,
        *,
        embed_dim: int,
        depth: int,
        heads: int,
        mlp_ratio: int,
        image: tuple[int, int],
        patch: int,
        padding: int,
    ) -> None:
        super().__init__()
        rows, columns = ((side + 2 * padding - patch) // patch + 1 for side in image)
        self.grid = (rows, columns)
        self.patch_embed = nn.Conv2d(3, embed_dim, patch, stride=patch, padding=padding)
        # Row 0 belonged to the class token of the pre-training; it is added to every token.
        self.position = nn.Parameter(torch.empty(1, 1 + self.num_tokens, embed_dim))
        nn.init.trunc_normal_(self.position, std=0.02)
        self.blocks = nn.ModuleList(
            TransformerBlock(embed_dim, heads, mlp_ratio, eps=LAYER_NORM_EPS) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)

    @property
    def num_tokens(self) -> int:
        """Patches of an image."""
        return self.grid[0] * self.grid[1]

    def embed(self, image: Tensor) -> Tensor:
        """Return the patches' embeddings without position, (N, 3, H, W) -> (N, T, E)."""
        embedded: Tensor = self.patch_embed(image)
        return embedded.flatten(2).transpose(1, 2)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, T, E)."""
        tokens = self.embed(image) + self.position[:, 1:] + self.position[:, :1]
        for block in self.blocks:
            tokens = block(tokens)
        normalised: Tensor = self.norm(tokens)
        return normalised
