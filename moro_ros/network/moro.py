"""MoRo: image encoder, motion encoder and decoder (the paper's Fig. 2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from moro_ros.geometry.camera import weak_to_full_camera
from moro_ros.geometry.trajectory import canonical_trajectory
from moro_ros.network.decoder import DecoderOutput, ImageContext, MotionDecoder
from moro_ros.network.image_encoders import KeypointImageEncoder
from moro_ros.network.motion_encoder import MotionEncoder


@dataclass(frozen=True, slots=True)
class FrameFeatures:
    """The decoding inputs of B clips of F images; per frame, so they can be kept and reused.

    image_tokens: (B, F, T_img, D); box_condition: (B, F, 3); rotation (B, F, 3, 3) and translation
    (B, F, 3) m: the coarse pose in the camera optical frame.
    """

    image_tokens: torch.Tensor
    box_condition: torch.Tensor
    rotation: torch.Tensor
    translation: torch.Tensor


class MoRo(nn.Module):
    """Masked modelling of human motion from image features.

    image_encoder: one of network.image_encoders. smoother: (B, F, T, code width) -> the same, over
    time.
    The embedding of the mesh tokens is the tokenizer's codebook and one zero row for the mask; it
    and the statistics of canonical trajectories are not trained (set_codebook,
    set_trajectory_statistics) but are saved with the weights.
    """

    token_embedding: torch.Tensor
    trajectory_mean: torch.Tensor
    trajectory_std: torch.Tensor

    def __init__(
        self,
        image_encoder: nn.Module,
        motion_encoder: MotionEncoder,
        decoder: MotionDecoder,
        smoother: nn.Module,
        *,
        num_codes: int,
        code_dim: int,
    ) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.motion_encoder = motion_encoder
        self.decoder = decoder
        self.smoother = smoother
        self.num_codes = num_codes
        self.num_tokens = decoder.num_tokens
        self.register_buffer("token_embedding", torch.zeros(num_codes + 1, code_dim))
        self.register_buffer("trajectory_mean", torch.zeros(9))
        self.register_buffer("trajectory_std", torch.ones(9))

    @property
    def mask_id(self) -> int:
        """The id of a masked token, the number after the last code."""
        return self.num_codes

    @property
    def codebook(self) -> torch.Tensor:
        """The codes (C, code width), without the mask."""
        return self.token_embedding[:-1]

    def set_codebook(self, codebook: torch.Tensor) -> None:
        """Set the tokenizer's codebook (C, code width)."""
        self.token_embedding[:-1].copy_(codebook.detach())

    def set_trajectory_statistics(self, mean: torch.Tensor, std: torch.Tensor) -> None:
        """Set the mean and standard deviation (9,) of the canonical trajectory."""
        self.trajectory_mean.copy_(mean.reshape(9))
        self.trajectory_std.copy_(std.reshape(9))

    def set_scale_betas(self, betas: torch.Tensor) -> None:
        """Set the betas (10,) of a body twice as large; see network.estimate."""
        if self.decoder.update is not None:
            self.decoder.update.scale_betas.copy_(betas)

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Codes (B, F, T, code width) of token ids (B, F, T); zeros where masked."""
        return self.token_embedding[ids]

    def encode_frames(
        self, observation: torch.Tensor, box_condition: torch.Tensor
    ) -> FrameFeatures:
        """Features of B clips of F images, each image encoded independently.

        observation: (B, F, ...), see the image encoder; box_condition: (B, F, 3).
        """
        shape = box_condition.shape[:2]
        image = self.image_encoder(observation.flatten(0, 1), box_condition.flatten(0, 1))
        weak_camera = image.weak_camera.unflatten(0, shape)
        rotation, translation = weak_to_full_camera(weak_camera, box_condition)
        tokens = image.image_tokens.unflatten(0, shape)
        return FrameFeatures(tokens, box_condition, rotation, translation)

    def carry_estimates(self, features: FrameFeatures, observation: torch.Tensor) -> FrameFeatures:
        """Let frames without keypoints start from the newest estimate of a frame that has some.

        The encoder cannot estimate the place of an unseen person. observation: (B, F, ...),
        that of the features. Networks without frame estimates are not changed. Live streams do the
        same image by image (MoRoStream).
        """
        if self.decoder.update is None or not isinstance(self.image_encoder, KeypointImageEncoder):
            return features
        seen = self.image_encoder.sees(observation)
        time = torch.arange(seen.shape[1], device=seen.device).expand_as(seen)
        newest = torch.where(seen, time, -1).cummax(1).values
        source = torch.where(newest < 0, time, newest)
        row = torch.arange(len(seen), device=seen.device)[:, None]
        estimate = features.image_tokens[row, source, -1:]
        return FrameFeatures(
            torch.cat([features.image_tokens[:, :, :-1], estimate], 2),
            features.box_condition,
            features.rotation[row, source],
            features.translation[row, source],
        )

    def decode_window(
        self,
        codes: torch.Tensor,
        features: FrameFeatures,
        rotation: torch.Tensor,
        translation: torch.Tensor,
        *,
        context: ImageContext | None = None,
        drop_motion: bool = False,
        ahead: int | None = None,
        tokens: bool = True,
    ) -> DecoderOutput:
        """One pass over B clips of F frames.

        codes: (B, F, T, code width), zeros where masked; rotation (B, F, 3, 3), translation
        (B, F, 3) m: the best trajectory so far, coarse or of the previous pass; the motion encoder
        uses it without gradient. context: of the same features, for several passes.
        ahead: frames of the future that each frame may see, None for the whole attention span and
        0 for causal decoding; a context has its own. tokens: also return the mesh tokens' logits.
        """
        if context is None:
            context = self.context(features, ahead)
        trajectory = canonical_trajectory(
            rotation.detach(),
            translation.detach(),
            self.trajectory_mean,
            self.trajectory_std,
            causal=context.ahead == 0,
        )
        motion = self.motion_encoder(codes, trajectory, context.ahead)
        output: DecoderOutput = self.decoder(
            motion, context, drop_motion=drop_motion, tokens=tokens
        )
        return output

    def context(self, features: FrameFeatures, ahead: int | None = None) -> ImageContext:
        """Data that is constant in all passes over the same clips; ahead: see decode_window."""
        return self.decoder.look(
            features.image_tokens,
            features.box_condition,
            features.rotation,
            features.translation,
            ahead,
        )

    def forward(
        self, observation: torch.Tensor, box_condition: torch.Tensor, ids: torch.Tensor
    ) -> tuple[FrameFeatures, DecoderOutput]:
        """Encode and decode once, as in training: ids (B, F, T) int, mask_id where masked."""
        features = self.encode_frames(observation, box_condition)
        output = self.decode_window(
            self.embed(ids), features, features.rotation, features.translation
        )
        return features, output
