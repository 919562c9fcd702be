"""An image encoder that sees 2D keypoints instead of pixels: one residual MLP per frame."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from moro_ros.network.estimate import BODY_JOINTS, ESTIMATE
from moro_ros.network.image_encoder import UPRIGHT_FACING, ImageFeatures
from moro_ros.network.layers import Mlp, initialise


class KeypointImageEncoder(nn.Module):
    """Image tokens and a weak camera from the visible keypoints and the box of a person.

    Each keypoint is embedded by its own weights; an unseen one by a learned stand-in, so that its
    guessed position cannot leak into the result. floor: the observation has one row more, the floor
    (see preprocess.floor_row), all zeros where it is not known. estimate: a further image token
    holds the frame's own estimate of the body in numbers (network.estimate).
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
        # One matrix holds the embeddings of all keypoints: four numbers, an offset when seen, and,
        # together over the keypoints in the bias, the stand-ins of the unseen.
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
        # The inputs are few and of order one: wider weights than deep inside the network.
        nn.init.trunc_normal_(self.keypoint_embedding.weight, std=0.1)
        nn.init.trunc_normal_(self.box_embedding.weight, std=0.1)
        self.camera_head.bias.data = torch.tensor(UPRIGHT_FACING)
        if self.floor_embedding is not None:
            nn.init.trunc_normal_(self.floor_embedding.weight, std=0.1)
        if self.body_head is not None:
            identity = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
            self.body_head.bias.data[: 6 * BODY_JOINTS] = identity.repeat(BODY_JOINTS)

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
    """What a known floor says of N frames: (N, K + 5), zeros where it is not known.

    observation: (N, K, 4); floor: (N, 4), see inference.preprocess.floor_row. For every seen
    keypoint the logarithm of how large a metre would be there, in half boxes, if the point lay on
    the floor; the camera's vertical, the logarithm of its height, and 1.
    """
    center, size = box_condition[:, None, :2], box_condition[:, None, 2:]
    points = observation[..., :2] * (size / 2) + center  # (N, K, 2)
    normal, known = floor[:, :3], floor[:, 3:]
    height = normal.norm(dim=-1, keepdim=True).clamp_min(1e-3).reciprocal()
    sunk = -(points * normal[:, None, :2]).sum(-1) - normal[:, None, 2]  # one over the depth
    scale = (2 * sunk / size[..., 0]).clamp(0.05, 20.0).log()
    scale = torch.where(observation[..., 2] >= threshold, scale, torch.zeros_like(scale))
    return torch.cat((scale, normal * height, height.log(), torch.ones_like(known)), -1) * known
