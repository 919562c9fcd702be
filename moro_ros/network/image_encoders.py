"""Image encoders: one person in one image, as keypoints or pixels, to features and estimates."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import functional

from moro_ros.network.estimate import BODY_JOINTS, ESTIMATE
from moro_ros.network.layers import Mlp, TransformerBlock, initialise

# 6-D rotation of an upright person facing the camera, log scale 0, no offset: the
# body axes (x left, y up, z forward) seen in the optical frame (x right, y down, z forward).
UPRIGHT_FACING = (1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """Features of N person images, without any knowledge of time.

    image_tokens: (N, T_img, D); weak_camera: (N, 9), see geometry.camera.weak_to_full_camera.
    """

    image_tokens: torch.Tensor
    weak_camera: torch.Tensor


class KeypointImageEncoder(nn.Module):
    """Image tokens and a weak camera from the visible keypoints and the box of a person.

    Each keypoint is embedded by its own weights; an unseen one by a learned constant, so that its
    inferred position cannot affect the result. floor: the observation has one more row, the floor
    (see inputs.floor_row), all zeros if it is unknown. estimate: a further image token contains the
    frame's own estimate of the body (network.estimate).
    """

    def __init__(
        self,
        *,
        dim: int,
        num_keypoints: int,
        hidden: int,
        blocks: int,
        tokens: int = 1,
        visibility_threshold: float = 0.5,
        floor: bool = False,
        estimate: bool = False,
    ) -> None:
        super().__init__()
        self.tokens = tokens
        self.dim = dim
        self.visibility_threshold = visibility_threshold
        # One matrix contains the embeddings of all keypoints: four numbers, an offset when seen,
        # and, summed over the keypoints in the bias, the constants of the unseen ones.
        self.keypoint_embedding = nn.Linear(5 * num_keypoints, hidden)
        self.box_embedding = nn.Linear(5, hidden)
        self.floor_embedding = nn.Linear(num_keypoints + 5, hidden) if floor else None
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(blocks))
        self.mlps = nn.ModuleList(Mlp(hidden, 2 * hidden) for _ in range(blocks))
        self.norm = nn.LayerNorm(hidden)
        self.token_head = nn.Linear(hidden, tokens * dim)
        self.camera_head = nn.Linear(hidden, 9)
        self.body_head = nn.Linear(hidden, ESTIMATE) if estimate else None
        initialise(self)
        # The inputs are few and of order one, so the weights are larger than inside the network.
        nn.init.trunc_normal_(self.keypoint_embedding.weight, std=0.1)
        nn.init.trunc_normal_(self.box_embedding.weight, std=0.1)
        self.camera_head.bias.data = torch.tensor(UPRIGHT_FACING)
        if self.floor_embedding is not None:
            nn.init.trunc_normal_(self.floor_embedding.weight, std=0.1)
        if self.body_head is not None:
            identity = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
            self.body_head.bias.data[: 6 * BODY_JOINTS] = identity.repeat(BODY_JOINTS)

    def sees(self, observation: torch.Tensor) -> torch.Tensor:
        """Return whether frames have a seen keypoint: (..., K, 4), as in forward, -> (...) bool."""
        points = observation if self.floor_embedding is None else observation[..., :-1, :]
        return (points[..., 2] >= self.visibility_threshold).any(-1)

    def forward(self, observation: torch.Tensor, box_condition: torch.Tensor) -> ImageFeatures:
        """Encode N frames.

        observation: (N, K, 4) = x, y in the padded box (-1 to 1 inside, may exceed), visibility,
        presence, and the floor's row; box_condition: (N, 3), see geometry.camera.box_condition.
        """
        floor = None
        if self.floor_embedding is not None:
            observation, row = observation[:, :-1], observation[:, -1]
            floor = floor_features(observation, box_condition, row, self.visibility_threshold)
        seen = observation[..., 2:3] >= self.visibility_threshold  # (N, K, 1)
        shown = torch.where(seen, observation, torch.zeros_like(observation))
        points = torch.cat((shown, seen.to(shown.dtype)), dim=-1).flatten(1)  # (N, 5 K)
        x = self.keypoint_embedding(points) + self.box_embedding(box_features(box_condition))
        if self.floor_embedding is not None:
            x = x + self.floor_embedding(floor)
        for norm, mlp in zip(self.norms, self.mlps, strict=True):
            x = x + mlp(norm(x))
        x = self.norm(x)
        tokens = self.token_head(x).unflatten(-1, (self.tokens, -1))
        if self.body_head is not None:
            numbers = functional.pad(self.body_head(x).float(), (0, self.dim - ESTIMATE))
            tokens = torch.cat((tokens, numbers[:, None].to(tokens.dtype)), dim=1)
        return ImageFeatures(tokens, self.camera_head(x).float())


def box_features(box_condition: torch.Tensor) -> torch.Tensor:
    """Box condition (N, 3) as offset in box sizes, view direction and log size: (N, 5)."""
    offset, size = box_condition[..., :2], box_condition[..., 2:]
    return torch.cat((offset / size, offset, size.log()), dim=-1)


def floor_features(
    observation: torch.Tensor, box_condition: torch.Tensor, floor: torch.Tensor, threshold: float
) -> torch.Tensor:
    """Features of a known floor for N frames: (N, K + 5), zeros if it is unknown.

    observation: (N, K, 4); floor: (N, 4), see inputs.floor_row. For every seen keypoint the
    logarithm of the size of a metre there, in half boxes, if the point were on the floor; the
    camera's vertical, the logarithm of its height, and 1.
    """
    center, size = box_condition[:, None, :2], box_condition[:, None, 2:]
    points = observation[..., :2] * (size / 2) + center  # (N, K, 2)
    normal, known = floor[:, :3], floor[:, 3:]
    height = normal.norm(dim=-1, keepdim=True).clamp_min(1e-3).reciprocal()
    sunk = -(points * normal[:, None, :2]).sum(-1) - normal[:, None, 2]  # one over the depth
    scale = (2 * sunk / size[..., 0]).clamp(0.05, 20.0).log()
    scale = torch.where(observation[..., 2] >= threshold, scale, torch.zeros_like(scale))
    return torch.cat((scale, normal * height, height.log(), torch.ones_like(known)), -1) * known


LAYER_NORM_EPS = 1e-6


class VisionTransformer(nn.Module):
    """ViTPose's backbone (Xu et al., NeurIPS 2022): normalised image -> a token per patch, by row.

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


# Mean and standard deviation of ImageNet, RGB in [0, 1].
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
# Batch size of images in the backbone without gradients: limits the memory of long clips.
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
    """The encoder of arXiv 2601.16079 for a crop, with VisionTransformer and ImageTransformer.

    Its observation is the RGB crop, (N, 3, 256, 192), 0 to 255, uint8 or float (network/inputs.py);
    it is normalised only here.
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
        """Return the image normalised for the backbone, (N, 3, H, W)."""
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
        """Encode N images at once, without a limit of memory; see forward."""
        features: ImageFeatures = self.transformer(
            self.vit(self.normalise(observation)), box_condition
        )
        return features
