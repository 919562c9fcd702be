"""The image encoder of arXiv 2601.16079: a vision transformer and the image transformer T_I."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moro_ros.network.image_encoder import ImageFeatures
from moro_ros.network.vit import VisionTransformer

# Mean and standard deviation of ImageNet, RGB in [0, 1].
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
# Images that pass the backbone together when no gradient is wanted: caps the memory of long clips.
IMAGES_AT_ONCE = 64


def grid_position(rows: int, columns: int, dim: int) -> Tensor:
    """Return the fixed sine position code of a grid, (rows * columns, dim) float32.

    The first half of the channels encodes the row, the second half the column.
    """

    def axis(count: int) -> Tensor:
        place = torch.arange(1, count + 1, dtype=torch.float32) / (count + 1e-6) * 2 * math.pi
        channel = torch.arange(dim // 2)
        exponent = 2 * (channel // 2).float() / (dim // 2)
        angle = place[:, None] / 10_000.0**exponent  # (count, dim / 2)
        return torch.where(channel % 2 == 0, angle.sin(), angle.cos())

    by_row = axis(rows)[:, None].expand(rows, columns, -1)
    by_column = axis(columns)[None].expand(rows, columns, -1)
    return torch.cat([by_row, by_column], -1).reshape(rows * columns, dim)


class ImageTransformer(nn.Module):
    """T_I: self-attention over the patch tokens and the box token of one image.

    dim, heads, depth, mlp_ratio: of the transformer, post-norm. in_dim: of the patch tokens.
    grid: rows and columns of the patches.
    """

    position: Tensor

    def __init__(
        self,
        *,
        in_dim: int,
        grid: tuple[int, int],
        dim: int,
        heads: int,
        depth: int,
        mlp_ratio: int,
    ) -> None:
        super().__init__()
        self.token_embedding = nn.Linear(in_dim, dim)
        self.box_embedding = nn.Linear(3, dim)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                dim, heads, mlp_ratio * dim, dropout=0.0, activation=F.gelu, batch_first=True
            )
            for _ in range(depth)
        )
        self.camera_head = nn.Linear(dim, 9)
        for linear in (self.token_embedding, self.box_embedding, self.camera_head):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)
        self.register_buffer("position", grid_position(*grid, dim), persistent=False)

    def forward(self, patches: Tensor, box_condition: Tensor) -> ImageFeatures:
        """patches: (N, T, in_dim); box_condition: (N, 3)."""
        tokens = self.token_embedding(patches)
        tokens = tokens + self.position.to(tokens.dtype)
        box = self.box_embedding(box_condition)[:, None].to(tokens.dtype)
        tokens = torch.cat([tokens, box], 1)  # (N, T + 1, D)
        for layer in self.layers:
            tokens = layer(tokens)
        return ImageFeatures(tokens[:, :-1], self.camera_head(tokens[:, -1]).float())


class VitImageEncoder(nn.Module):
    """An ImageEncoder that sees the person's crop: VisionTransformer, then ImageTransformer.

    Its observation is the RGB crop itself, (N, 3, 256, 192), 0 to 255, uint8 or float
    (network/crop.py); it is normalised here and nowhere else.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, vit: VisionTransformer, transformer: ImageTransformer) -> None:
        super().__init__()
        self.vit = vit
        self.transformer = transformer
        for name, values in (("mean", IMAGE_MEAN), ("std", IMAGE_STD)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def normalise(self, observation: Tensor) -> Tensor:
        """Return the image as the backbone was trained to see it, (N, 3, H, W)."""
        normalised: Tensor = (observation.to(self.mean.dtype) / 255 - self.mean) / self.std
        return normalised

    def forward(self, observation: Tensor, box_condition: Tensor) -> ImageFeatures:
        """Encode N images: observation (N, 3, H, W), see the class; box_condition (N, 3)."""
        if torch.is_grad_enabled():
            return self.encode_together(observation, box_condition)
        parts = [
            self.encode_together(images, boxes)
            for images, boxes in zip(
                torch.split(observation, IMAGES_AT_ONCE),
                torch.split(box_condition, IMAGES_AT_ONCE),
                strict=True,
            )
        ]
        return ImageFeatures(
            torch.cat([part.image_tokens for part in parts]),
            torch.cat([part.weak_camera for part in parts]),
        )

    def encode_together(self, observation: Tensor, box_condition: Tensor) -> ImageFeatures:
        """Encode N images in one go, whatever memory that takes; see forward."""
        features: ImageFeatures = self.transformer(
            self.vit(self.normalise(observation)), box_condition
        )
        return features
