"""The motion encoder: from masked mesh tokens and a noisy trajectory to motion features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from moro_ros.network.layers import DSTFormer, Time, initialise


@dataclass(frozen=True, slots=True)
class MotionFeatures:
    """The motion encoder's output for B clips of F frames.

    pose: (B, F, P, D), one token per mesh token, or P = 1; trajectory: (B, F, 1, D);
    clean_trajectory: (B, F, 9) normalised canonical form, see geometry.trajectory.
    """

    pose: torch.Tensor
    trajectory: torch.Tensor
    clean_trajectory: torch.Tensor


class MotionEncoder(nn.Module):
    """T_M of the paper (Sec. 3.2): uses motion only, not the image.

    layout "mesh_tokens": T + 1 tokens per frame as in the paper; "frame": one wide token per frame.
    trunk: with dual branches for the first, temporal ones for the second.
    """

    def __init__(
        self,
        *,
        layout: str,
        trunk: DSTFormer,
        num_tokens: int,
        num_codes: int,
        code_dim: int,
        logit_rank: int,
    ) -> None:
        super().__init__()
        self.layout = layout
        self.num_tokens = num_tokens
        frame = layout == "frame"
        self.trunk, dim = trunk, trunk.dim
        self.trajectory_embedding = nn.Linear(9, dim)
        self.trajectory_head = nn.Linear(dim, 9)
        self.contact_head = nn.Linear(dim, 4)
        if frame:
            self.code_embedding = nn.Linear(num_tokens * (code_dim + 1), dim)
            self.norm = nn.LayerNorm(dim)
        else:
            self.code_embedding = nn.Linear(code_dim, dim)
            self.position = nn.Parameter(torch.empty(1, 1, num_tokens + 1, dim))
            nn.init.trunc_normal_(self.position, std=0.02)
        self.logit_head = LogitHead(dim, num_tokens, num_codes, logit_rank if frame else None)
        initialise(self)

    def forward(
        self,
        codes: torch.Tensor,
        trajectory: torch.Tensor,
        ahead: int | None = None,
        time: Time | None = None,
    ) -> MotionFeatures:
        """Encode B clips of F frames.

        codes: (B, F, T, code width), all zeros where masked; trajectory: (B, F, 9) normalised
        canonical form; ahead, time: see DSTFormer.
        """
        if self.layout == "frame":
            x = self._embed_frames(codes, trajectory)
            x = self.norm(self.trunk(x, ahead=ahead, time=time))
            return MotionFeatures(x, x, self.trajectory_head(x.squeeze(2)).float())
        x = torch.cat(
            (self.code_embedding(codes), self.trajectory_embedding(trajectory)[:, :, None]), dim=2
        )
        x = self.trunk(x + self.position.to(x.dtype), ahead=ahead, time=time)
        pose, motion = x.split((self.num_tokens, 1), dim=2)
        return MotionFeatures(pose, motion, self.trajectory_head(motion.squeeze(2)).float())

    def _embed_frames(self, codes: torch.Tensor, trajectory: torch.Tensor) -> torch.Tensor:
        masked = (codes == 0).all(dim=-1).to(codes.dtype)
        frame = torch.cat((codes.flatten(2), masked), dim=-1)
        return (self.code_embedding(frame) + self.trajectory_embedding(trajectory))[:, :, None]

    def logits(self, features: MotionFeatures) -> torch.Tensor:
        """Token logits (B, F, T, C) from motion alone; only used by motion pre-training."""
        return self.logit_head(features.pose)

    def contact(self, features: MotionFeatures) -> torch.Tensor:
        """Contact logits (B, F, 4) from motion alone; only used by motion pre-training."""
        return self.contact_head(features.trajectory.squeeze(2)).float()


class LogitHead(nn.Module):
    """Logits over the codebook for every mesh token.

    rank None: one linear map for each token's own feature. Otherwise the frame's single feature
    gives every mesh token `rank` numbers, and one map shared by the tokens gives the logits.
    """

    def __init__(self, dim: int, num_tokens: int, num_codes: int, rank: int | None) -> None:
        super().__init__()
        self.num_tokens = num_tokens
        self.split = None if rank is None else nn.Linear(dim, num_tokens * rank)
        self.shared = nn.Linear(dim if rank is None else rank, num_codes)

    def forward(self, pose: torch.Tensor) -> torch.Tensor:
        """(B, F, P, D) -> (B, F, T, C); P = T, or 1 when the frame's feature is split."""
        if self.split is not None:
            pose = self.split(pose.squeeze(2)).unflatten(-1, (self.num_tokens, -1))
        return self.shared(pose)
