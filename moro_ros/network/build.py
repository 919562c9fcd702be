"""From a model folder to networks and back: the only place where a config becomes modules.

A model folder holds model.yaml (architecture, checksums) and, once trained, moro.safetensors and
tokenizer.safetensors.
"""

from __future__ import annotations

from torch import nn

from moro_ros.model_config import MoroConfig
from moro_ros.network.decoder import MotionDecoder
from moro_ros.network.keypoint_encoder import KeypointImageEncoder
from moro_ros.network.moro import MoRo
from moro_ros.network.motion_encoder import MotionEncoder
from moro_ros.network.smoother import TemporalSmoother


def build_moro(config: MoroConfig) -> MoRo:
    """An untrained MoRo of the given numbers."""
    motion_encoder = MotionEncoder(
        layout=config.layout,
        dim=config.dim,
        depth=config.encoder_depth,
        heads=config.heads,
        mlp_ratio=config.mlp_ratio,
        attention_span=config.attention_span,
        num_tokens=config.num_tokens,
        num_codes=config.num_codes,
        code_dim=config.code_dim,
        logit_rank=config.logit_rank,
    )
    decoder = MotionDecoder(
        layout=config.layout,
        trajectory=config.trajectory,
        rotation_head=config.rotation_head,
        dim=config.dim,
        depth=config.decoder_depth,
        heads=config.heads,
        mlp_ratio=config.mlp_ratio,
        attention_span=config.attention_span,
        num_tokens=config.num_tokens,
        num_codes=config.num_codes,
        image_tokens=config.image_tokens,
        logit_rank=config.logit_rank,
    )
    smoother = TemporalSmoother(config.code_dim, config.smoother.hidden, config.smoother.kernel)
    return MoRo(
        build_image_encoder(config),
        motion_encoder,
        decoder,
        smoother,
        num_codes=config.num_codes,
        code_dim=config.code_dim,
    )


def build_image_encoder(config: MoroConfig) -> nn.Module:
    """The untrained image encoder that a MoRo of the given numbers looks through."""
    keypoints = config.keypoints
    return KeypointImageEncoder(
        dim=config.dim,
        num_keypoints=keypoints.num_keypoints,
        hidden=keypoints.hidden,
        blocks=keypoints.blocks,
        tokens=keypoints.tokens,
        visibility_threshold=keypoints.visibility_threshold,
    )
