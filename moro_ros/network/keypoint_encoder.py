"""An image encoder that sees 2D keypoints instead of pixels: one residual MLP per frame."""

from __future__ import annotations

import torch
from torch import nn

from moro_ros.network.image_encoder import UPRIGHT_FACING, ImageFeatures
from moro_ros.network.layers import Mlp, initialise


class KeypointImageEncoder(nn.Module):
    """Image tokens and a weak camera from the visible keypoints and the box of a person.

    Each keypoint is embedded by its own weights; an unseen one by a learned stand-in, so that its
    guessed position cannot leak into the result.
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
    ) -> None:
        super().__init__()
        self.tokens = tokens
        self.visibility_threshold = visibility_threshold
        # One matrix holds the embeddings of all keypoints: four numbers, an offset when seen, and,
        # together over the keypoints in the bias, the stand-ins of the unseen.
        self.keypoint_embedding = nn.Linear(5 * num_keypoints, hidden)
        self.box_embedding = nn.Linear(5, hidden)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(blocks))
        self.mlps = nn.ModuleList(Mlp(hidden, 2 * hidden) for _ in range(blocks))
        self.norm = nn.LayerNorm(hidden)
        self.token_head = nn.Linear(hidden, tokens * dim)
        self.camera_head = nn.Linear(hidden, 9)
        initialise(self)
        # The inputs are few and of order one: wider weights than deep inside the network.
        nn.init.trunc_normal_(self.keypoint_embedding.weight, std=0.1)
        nn.init.trunc_normal_(self.box_embedding.weight, std=0.1)
        self.camera_head.bias.data = torch.tensor(UPRIGHT_FACING)

    def forward(self, observation: torch.Tensor, box_condition: torch.Tensor) -> ImageFeatures:
        """Encode N frames.

        observation: (N, K, 4) = x, y in the padded box (-1 to 1 inside, may exceed), visibility,
        presence; box_condition: (N, 3), see geometry.camera.box_condition.
        """
        seen = observation[..., 2:3] >= self.visibility_threshold  # (N, K, 1)
        shown = torch.where(seen, observation, torch.zeros_like(observation))
        points = torch.cat((shown, seen.to(shown.dtype)), dim=-1).flatten(1)  # (N, 5 K)
        x = self.keypoint_embedding(points) + self.box_embedding(box_features(box_condition))
        for norm, mlp in zip(self.norms, self.mlps, strict=True):
            x = x + mlp(norm(x))
        x = self.norm(x)
        tokens = self.token_head(x).unflatten(-1, (self.tokens, -1))
        return ImageFeatures(tokens, self.camera_head(x).float())


def box_features(box_condition: torch.Tensor) -> torch.Tensor:
    """Box condition (N, 3) as offset in box sizes, view direction and log size: (N, 5)."""
    offset, size = box_condition[..., :2], box_condition[..., 2:]
    return torch.cat((offset / size, offset, size.log()), dim=-1)
