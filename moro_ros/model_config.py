"""The architecture of a model folder (model.yaml): the only place that defines its defaults.

The defaults describe the network of the paper; models/<name>/model.yaml lists what a
model changes. network/build.py turns these numbers into modules.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from moro_ros.config import option, read_yaml, validate
from moro_ros.errors import ConfigError

ESTIMATE_NUMBERS = 137  # network.estimate.ESTIMATE: 21 rotations, 10 betas, a scale


@dataclass(frozen=True, slots=True)
class VitConfig:
    """The image backbone of the paper: ViT-H/16 on person crops, and the transformer behind it."""

    embed_dim: int = option(1280, "Width of the backbone", low=8)
    depth: int = option(32, "Blocks of the backbone", low=1)
    heads: int = option(16, "Attention heads of the backbone", low=1)
    mlp_ratio: int = option(4, "Ratio of MLP width to width of the backbone", low=1)
    patch: int = option(16, "Side of an image patch", unit="px", low=1)
    image: tuple[int, ...] = option((256, 192), "Height and width of the person crop", unit="px")
    padding: int = option(2, "Zero padding of the patch convolution", unit="px", low=0)
    encoder_depth: int = option(2, "Layers of the image transformer", low=1)
    encoder_mlp_ratio: int = option(
        4, "Ratio of MLP width to width of the image transformer", low=1
    )


@dataclass(frozen=True, slots=True)
class KeypointsConfig:
    """The image encoder of the open model: 2D keypoints instead of pixels."""

    num_keypoints: int = option(19, "Keypoints per person", low=1)
    hidden: int = option(384, "Width of the residual MLP", low=8)
    blocks: int = option(2, "Residual blocks", low=1)
    tokens: int = option(1, "Image tokens per frame", low=1)
    visibility_threshold: float = option(
        0.5, "Minimum visibility of a keypoint that counts as seen", low=0.0, high=1.0
    )
    floor: bool = option(False, "Use the floor, the last row of the observation, as input")
    detector_points: bool = option(
        False, "Compute the body's keypoints where the detector marks them, not at the joints"
    )
    estimate: bool = option(
        False, "Also estimate the whole body from each single frame; the decoder then updates it"
    )


@dataclass(frozen=True, slots=True)
class SmootherConfig:
    """The temporal convolutions over decoded codes."""

    hidden: int = option(64, "Channels", low=1)
    kernel: int = option(5, "Kernel size of a temporal convolution", unit="frames", low=1)


@dataclass(frozen=True, slots=True)
class TokenizerConfig:
    """The mesh tokenizer; its weights file contains all its sizes."""

    kind: str = option(
        "graph", "Architecture: graph convolutions (paper), or patches with a small transformer",
        choices=("graph", "patch"),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class MoroConfig:
    """The network from image features to motion."""

    layout: str = option(
        "mesh_tokens", "Tokens of a frame: one per mesh token (paper), or one wide token",
        choices=("mesh_tokens", "frame"),
    )  # fmt: skip
    image: str = option("vit", "Image encoder", choices=("vit", "keypoints"))
    trajectory: str = option(
        "absolute",
        "Output of the decoder's trajectory head: pose in the camera frame, or weak camera",
        choices=("absolute", "box"),
    )  # fmt: skip
    rotation_head: bool = option(False, "Also regress joint rotations and shape")
    soft_tokens: bool = option(
        False, "Decode with probability-weighted codes instead of the most likely ones"
    )
    dim: int = option(1024, "Width of the transformers", low=8)
    heads: int = option(8, "Attention heads of the transformers", low=1)
    mlp_ratio: int = option(4, "Ratio of MLP width to width of the transformers", low=1)
    attention_span: int = option(
        60, "Frames to either side that one temporal attention layer sees", unit="frames", low=1
    )
    encoder_depth: int = option(4, "Layers of the motion encoder. 0 disables it", low=0)
    decoder_depth: int = option(2, "Layers of the motion decoder", low=1)
    num_tokens: int = option(87, "Mesh tokens per frame", low=1)
    num_codes: int = option(512, "Codebook entries", low=2)
    code_dim: int = option(9, "Width of a code", low=1)
    logit_rank: int = option(
        64, "With layout: frame, width per mesh token before the shared logits", low=1
    )
    vit: VitConfig = field(default_factory=VitConfig)
    keypoints: KeypointsConfig = field(default_factory=KeypointsConfig)
    smoother: SmootherConfig = field(default_factory=SmootherConfig)

    @property
    def estimated(self) -> bool:
        """Whether the image encoder estimates the whole body, which the decoder updates."""
        return self.image == "keypoints" and self.keypoints.estimate

    @property
    def image_tokens(self) -> int:
        """Image tokens per frame."""
        if self.image == "keypoints":
            return self.keypoints.tokens + self.keypoints.estimate
        return (self.vit.image[0] // self.vit.patch) * (self.vit.image[1] // self.vit.patch)


@dataclass(frozen=True, slots=True)
class FilesConfig:
    """SHA-256 of the weight files beside model.yaml; empty while a model has no weights."""

    moro: str = option("", "Checksum of moro.safetensors")
    tokenizer: str = option("", "Checksum of tokenizer.safetensors")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A whole model folder."""

    description: str = option("", "What the model is and where its weights come from")
    licence: str = option("", "Licence of the weights")
    body_model: str = option("", "Body model file, relative to the model folder or to models/")
    moro: MoroConfig = field(default_factory=MoroConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    sha256: FilesConfig = field(default_factory=FilesConfig)

    def __post_init__(self) -> None:
        validate(self)
        if self.moro.dim % (2 * self.moro.heads):
            raise ConfigError(
                f"moro.dim: got {self.moro.dim} with {self.moro.heads} heads; expected a multiple "
                f"of {2 * self.moro.heads} (each head needs an even width)."
            )
        if self.moro.estimated and not (self.moro.rotation_head and self.moro.layout == "frame"):
            raise ConfigError(
                "moro.keypoints.estimate: true needs layout: frame and rotation_head: true."
            )
        if self.moro.estimated and self.moro.dim < ESTIMATE_NUMBERS:
            raise ConfigError(
                f"moro.dim: got {self.moro.dim}, expected at least {ESTIMATE_NUMBERS} with "
                "keypoints.estimate: true (an estimate has that many numbers)."
            )


def load_model_config(path: str | Path) -> ModelConfig:
    """Read model.yaml; omitted keys keep the paper's numbers.

    Raises: ConfigError if the file is missing, is not YAML or contains an unknown or bad value.
    """
    return read_yaml(ModelConfig, path, "model description")
