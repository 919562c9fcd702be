"""Double the width of the keypoint encoder in a weights file, to continue its training.

Usage: .venv/bin/python scripts/widen_encoder.py moro.safetensors wide.safetensors

The wide network computes the same as before: every unit is there twice, and what reads the units
has half the weight for each, plus random numbers that cancel as long as both units are equal
(Net2Net, Chen et al., ICLR 2016). Set moro.keypoints.hidden of the recipe to twice its value.
"""

import sys

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

PREFIX = "image_encoder."
# Difference between the weights of the two copies, relative to the spread of the weights.
APART = 0.5


def doubled(name: str, weight: Tensor, rng: torch.Generator) -> Tensor:
    """Return a tensor of the encoder for twice the width; name: without PREFIX."""
    heads = name.startswith(("token_head", "camera_head", "body_head"))
    reads_units = name.startswith("mlps") or heads
    if not heads:  # its outputs are units
        weight = weight.repeat(2, *(1,) * (weight.ndim - 1))
    if weight.ndim < 2 or not reads_units:
        return weight
    half = weight / 2.0
    apart = APART * half.std() * torch.randn(half.shape, generator=rng)
    return torch.cat([half + apart, half - apart], dim=1)


def widened(state: dict[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    """Return the weights of the network with an encoder of twice the width."""
    rng = torch.Generator().manual_seed(seed)
    return {
        name: doubled(name.removeprefix(PREFIX), weight, rng).contiguous()
        if name.startswith(PREFIX)
        else weight
        for name, weight in state.items()
    }


if __name__ == "__main__":
    save_file(widened(load_file(sys.argv[1])), sys.argv[2])
