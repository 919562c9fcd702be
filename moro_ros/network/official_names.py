"""Names of the published checkpoints' tensors and their names here, one to one.

A table is generated from the depth of a network, not inferred from shapes, so a tensor without a
counterpart is an error on either side.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

# Prefix of the tokenizer's tensors in its own checkpoint and in that of MoRo.
TOKENIZER_PREFIX = "mesh_vqvae."
MORO_TOKENIZER_PREFIX = "vqvae."
TOKEN_EMBEDDING = "mask_transformer.token_emb.weight"
# The SMPL-X model in the published MoRo checkpoint: licensed, never kept.
BODY_MODEL_TENSORS = tuple(
    f"bm_neutral.bm.{name}"
    for name in (
        "shapedirs", "faces_tensor", "v_template", "J_regressor", "posedirs", "parents",
        "lbs_weights", "left_hand_mean", "right_hand_mean", "pose_mean", "lmk_faces_idx",
        "lmk_bary_coords", "expr_dirs", "vertex_joint_selector.extra_joints_idxs",
    )
)  # fmt: skip
# Tensors of our MoRo that are not in the checkpoint: the statistics are from a separate file.
TRAJECTORY_STATISTICS = ("trajectory_mean", "trajectory_std")

_FORMER = "mask_transformer.dst_former."
_LINEAR = ("weight", "bias")


class ImageDepths(Protocol):
    """Numbers of blocks of the image encoder: the ViT, and the transformer after it."""

    @property
    def depth(self) -> int:
        """Blocks of the ViT."""

    @property
    def encoder_depth(self) -> int:
        """Layers of the image transformer."""


class Depths(Protocol):
    """Numbers of layers of a network, which define its tensors' names."""

    @property
    def vit(self) -> ImageDepths:
        """Numbers of blocks of the image encoder."""

    @property
    def encoder_depth(self) -> int:
        """Layers of the motion encoder."""

    @property
    def decoder_depth(self) -> int:
        """Layers of the motion decoder."""


def moro_names(config: Depths) -> dict[str, str]:
    """Return official name -> name in MoRo, for a ViT and one token per mesh token."""
    names = {TOKEN_EMBEDDING: "token_embedding"}
    names.update(_backbone(config.vit.depth))
    names.update(_image_transformer(config.vit.encoder_depth))
    for side, ours, depth in (
        ("m", "motion_encoder", config.encoder_depth),
        ("d", "decoder", config.decoder_depth),
    ):
        names[f"{_FORMER}{side}_pos_enc"] = f"{ours}.position"
        names.update(_trunk(f"{_FORMER}{side}_transformer.", f"{ours}.trunk.", depth))
        heads = {
            f"{side}_pose_regressor": "logit_head.shared",
            f"{side}_traj_regressor": "trajectory_head",
            f"{side}_contact_regressor": "contact_head",
        }
        if side == "m":
            heads |= {"m_token_embed": "code_embedding", "m_traj_embed": "trajectory_embedding"}
        else:
            heads |= {"d_traj_embed": "camera_embedding"}
        for theirs, name in heads.items():
            names.update(_pairs(_FORMER + theirs, f"{ours}.{name}"))
    names["smoother.alpha"] = "smoother.alpha"
    for number in range(3):
        names[f"smoother.net.{2 * number}.weight"] = f"smoother.conv{number + 1}.weight"
    return names


def tokenizer_names(levels: int = 3) -> dict[str, str]:
    """Return official name without its prefix -> name in MeshConvTokenizer.

    levels: number of pools in the encoder; convolutions and pools alternate, and the official
    numbers count through the encoder and then the decoder.
    """
    names: dict[str, str] = {}
    layers = 2 * levels + 1
    for number in range(2 * layers):
        part = "encoder" if number < layers else "decoder"
        ours, theirs = f"{part}.{number % layers}", "fully_conv_ae."
        if number % layers % 2 == 0:
            names[f"{theirs}weights{number}"] = f"{ours}.kernels"
            names[f"{theirs}w_weights{number}"] = f"{ours}.mixing"
            names[f"{theirs}bias{number}"] = f"{ours}.bias"
        else:
            names[f"{theirs}p_neighbors{number}"] = f"{ours}.weight"
    names["vq_vae._embedding.weight"] = "quantizer.embedding"
    names["vq_vae._ema_w"] = "quantizer.ema_sum"
    names["vq_vae._ema_cluster_size"] = "quantizer.ema_count"
    names["vq_vae.code_count"] = "quantizer.usage"
    return names


def _backbone(depth: int) -> Iterator[tuple[str, str]]:
    theirs, ours = "backbone.model.", "image_encoder.vit."
    yield theirs + "pos_embed", ours + "position"
    yield from _pairs(theirs + "patch_embed.proj", ours + "patch_embed")
    yield from _pairs(theirs + "last_norm", ours + "norm")
    parts = {
        "norm1": "norm1", "attn.qkv": "attention.qkv", "attn.proj": "attention.proj",
        "norm2": "norm2", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2",
    }  # fmt: skip
    for block in range(depth):
        for part, name in parts.items():
            yield from _pairs(f"{theirs}blocks.{block}.{part}", f"{ours}blocks.{block}.{name}")


def _image_transformer(depth: int) -> Iterator[tuple[str, str]]:
    ours = "image_encoder.transformer."
    yield from _pairs(_FORMER + "img_embed", ours + "token_embedding")
    yield from _pairs(_FORMER + "img_bbox_embed", ours + "box_embedding")
    yield from _pairs(_FORMER + "img_traj_regressor", ours + "camera_head")
    for layer in range(depth):
        here = f"layers.{layer}."
        there = f"{_FORMER}img_transformer.transformer.{here}"
        for kind in _LINEAR:
            yield f"{there}self_attn.in_proj_{kind}", f"{ours}{here}self_attn.in_proj_{kind}"
        for part in ("self_attn.out_proj", "linear1", "linear2", "norm1", "norm2"):
            yield from _pairs(there + part, ours + here + part)


def _trunk(theirs: str, ours: str, depth: int) -> Iterator[tuple[str, str]]:
    """The two branches of every layer: st is space first, ts is time first."""
    parts = {
        "norm1_{}": "norm1", "attn_{}.qkv": "attention.qkv", "attn_{}.proj": "attention.proj",
        "norm2_{}": "norm2", "mlp_{}.fc1": "mlp.fc1", "mlp_{}.fc2": "mlp.fc2",
    }  # fmt: skip
    for layer in range(depth):
        for branch, first in (("st", "space_first"), ("ts", "time_first")):
            for letter, axis in (("s", "space"), ("t", "time")):
                for part, name in parts.items():
                    yield from _pairs(
                        f"{theirs}blocks_{branch}.{layer}.{part.format(letter)}",
                        f"{ours}layers.{layer}.{first}.{axis}.{name}",
                    )
        yield from _pairs(f"{theirs}ts_attn.{layer}", f"{ours}layers.{layer}.fusion")


def _pairs(theirs: str, ours: str) -> Iterator[tuple[str, str]]:
    """Weight and bias of one module."""
    for kind in _LINEAR:
        yield f"{theirs}.{kind}", f"{ours}.{kind}"
