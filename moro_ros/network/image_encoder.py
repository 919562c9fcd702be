"""What every image encoder gives the rest of the network, whatever it looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

# 6-D rotation of a person upright in the image who faces the camera, log scale 0, no offset: the
# body axes (x left, y up, z forward) seen in the optical frame (x right, y down, z forward).
UPRIGHT_FACING = (1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """Features of N person images, without any knowledge of time.

    image_tokens: (N, T_img, D); weak_camera: (N, 9), see geometry.camera.weak_to_full_camera.
    """

    image_tokens: torch.Tensor
    weak_camera: torch.Tensor


class ImageEncoder(Protocol):
    """Turns one person's observation in one image into tokens and a coarse camera."""

    def __call__(self, observation: torch.Tensor, box_condition: torch.Tensor) -> ImageFeatures:
        """observation: (N, ...), its meaning is the encoder's; box_condition: (N, 3)."""
        ...
