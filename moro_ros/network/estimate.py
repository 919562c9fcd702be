"""Single-frame estimates of the body, and their update by the decoder.

The image encoder of the open model estimates the whole body from each frame separately (the paper's
image-conditioned stage). The decoder does not replace the estimates: it mixes those of neighbouring
frames, with separate attention weights for every group of joints, and adds corrections.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from moro_ros.geometry.precision import full_precision
from moro_ros.geometry.rotation import matrix_to_rotation_6d, rotation_6d_to_matrix
from moro_ros.network.layers import Time

BODY_JOINTS = 21  # SMPL-X joints 1 to 21; joint 0 is the trajectory's rotation
NUM_BETAS = 10
ROTATIONS = 6 * BODY_JOINTS
# An estimate in numbers: the joints' 6-D rotations, 10 betas, the logarithm of the body's scale.
ESTIMATE = ROTATIONS + NUM_BETAS + 1
# With the trajectory appended: the root's 6-D rotation, x / z, y / z, log z of the pelvis.
PLACED = ESTIMATE + 9
# Groups that are mixed together: connected joints of 1 to 21, the shape, the root, the place.
JOINT_GROUPS = (
    (3, 6, 9, 13, 14),
    (12, 15),
    (1, 4, 7, 10),
    (2, 5, 8, 11),
    (16, 18, 20),
    (17, 19, 21),
)
# Initial sharpness of the mixing: the nearest frames dominate.
LOCALITY = 8.0**0.5
LOCAL_PAIRS = 6
# Share of the raw update of x / z and y / z.
SIDEWAYS = 0.3
MIN_DEPTH_M = 0.1


@dataclass(frozen=True, slots=True)
class BodyEstimate:
    """Bodies in the camera optical frame.

    rotation: (..., 3, 3) and translation: (..., 3) m, of the pelvis; body_rotations: (..., 21, 3,
    3) relative to the parents; betas: (..., 10).
    """

    rotation: torch.Tensor
    translation: torch.Tensor
    body_rotations: torch.Tensor
    betas: torch.Tensor


class EstimateUpdate(nn.Module):
    """Mixes the estimates of the frames over time and updates them.

    scale_betas: (10,), the betas nearest to a body twice as large; see set_scale_betas.
    """

    scale_betas: torch.Tensor
    columns: torch.Tensor
    back: torch.Tensor

    def __init__(self, dim: int, head_width: int) -> None:
        super().__init__()
        groups = value_groups()
        width = max(len(group) for group in groups)
        # Column PLACED is a zero that pads the shorter groups.
        columns = torch.full((len(groups), width), PLACED)
        back = torch.zeros(PLACED, dtype=torch.int64)
        for number, group in enumerate(groups):
            columns[number, : len(group)] = torch.tensor(group)
            back[list(group)] = number * width + torch.arange(len(group))
        self.register_buffer("columns", columns, persistent=False)
        self.register_buffer("back", back, persistent=False)
        self.register_buffer("scale_betas", torch.zeros(NUM_BETAS))
        self.groups, self.head_width = len(groups), head_width
        self.query_head = nn.Linear(dim, self.groups * head_width)
        self.key_head = nn.Linear(dim, self.groups * head_width)
        self.update_head = nn.Linear(dim, PLACED)

    def reset(self) -> None:
        """Start with the nearest frames' estimates, unchanged."""
        local = torch.zeros(self.groups, self.head_width)
        local[:, 0 : 2 * LOCAL_PAIRS : 2] = LOCALITY
        self.query_head.bias.data = local.flatten()
        self.key_head.bias.data = local.flatten().clone()
        nn.init.trunc_normal_(self.update_head.weight, std=0.002)
        identity = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
        self.update_head.bias.data[:ROTATIONS] = identity.repeat(BODY_JOINTS)
        self.update_head.bias.data[ESTIMATE : ESTIMATE + 6] = identity

    @full_precision
    def forward(
        self,
        x: torch.Tensor,
        estimate: torch.Tensor,
        rotation: torch.Tensor,
        translation: torch.Tensor,
        time: Time,
    ) -> BodyEstimate:
        """Update the estimates of B clips of F frames.

        x: (B, F, D) the decoder's features; estimate: (B, F, D), whose first ESTIMATE numbers are
        the frame's; rotation (B, F, 3, 3) and translation (B, F, 3) m: the frame's pose, camera
        frame; time: of the decoder's temporal attention.
        """
        query, key = (
            head(x).float().unflatten(-1, (self.groups, -1)).transpose(1, 2)
            for head in (self.query_head, self.key_head)
        )
        numbers = placed_numbers(estimate, rotation, translation)
        padded = torch.cat((numbers, torch.zeros_like(numbers[..., :1])), dim=-1)
        value = padded[..., self.columns.flatten()].unflatten(-1, self.columns.shape)
        mixed = time.attend(time.rotate(query), time.rotate(key), value.transpose(1, 2))
        mixed = mixed.transpose(1, 2).flatten(2)[..., self.back]
        return updated(mixed, self.update_head(x), self.scale_betas)


def halve_layers(*parts: nn.Module) -> None:
    """Convert linear layers and convolutions to bfloat16, except those that update estimates."""
    updates = [m for part in parts for m in part.modules() if isinstance(m, EstimateUpdate)]
    exact = {id(module) for update in updates for module in update.modules()}
    for part in parts:
        for module in part.modules():
            if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d)) and id(module) not in exact:
                module.bfloat16()


def value_groups() -> list[list[int]]:
    """Which of the PLACED numbers are mixed with the same weights."""
    groups = [[6 * (j - 1) + i for j in joints for i in range(6)] for joints in JOINT_GROUPS]
    shape = list(range(ROTATIONS, ESTIMATE))
    root = list(range(ESTIMATE, ESTIMATE + 8))  # with x / z and y / z
    return [*groups, root, [*shape, PLACED - 1]]


@full_precision
def placed_numbers(
    estimate: torch.Tensor, rotation: torch.Tensor, translation: torch.Tensor
) -> torch.Tensor:
    """Return estimates and trajectory as rows of numbers, (..., PLACED); see EstimateUpdate."""
    depth = translation[..., 2:].clamp_min(MIN_DEPTH_M)
    place = (translation[..., :2] / depth, depth.log())
    return torch.cat((estimate[..., :ESTIMATE], matrix_to_rotation_6d(rotation), *place), dim=-1)


@full_precision
def updated(mixed: torch.Tensor, update: torch.Tensor, scale_betas: torch.Tensor) -> BodyEstimate:
    """Bodies of mixed numbers and updates, (..., PLACED) each."""
    body = rotation_6d_to_matrix(mixed[..., :ROTATIONS].unflatten(-1, (BODY_JOINTS, 6)))
    turn = rotation_6d_to_matrix(update[..., :ROTATIONS].unflatten(-1, (BODY_JOINTS, 6)))
    shape = mixed[..., ROTATIONS:ESTIMATE] + update[..., ROTATIONS:ESTIMATE]
    root = slice(ESTIMATE, ESTIMATE + 6)
    rotation = rotation_6d_to_matrix(update[..., root]) @ rotation_6d_to_matrix(mixed[..., root])
    sideways = mixed[..., -3:-1] + SIDEWAYS * update[..., -3:-1]
    depth = (mixed[..., -1:] + update[..., -1:]).clamp(-3.0, 4.0).exp()
    translation = torch.cat((sideways * depth, depth), dim=-1)
    return BodyEstimate(rotation, translation, body @ turn, betas_of(shape, scale_betas))


def betas_of(shape: torch.Tensor, scale_betas: torch.Tensor) -> torch.Tensor:
    """Betas (..., 10) of a shape (..., 11), betas and the logarithm of a scale.

    A body is linear in its betas, so s times a body is that of s betas + (s - 1) scale_betas.
    """
    scale = shape[..., NUM_BETAS:].clamp(-1.0, 0.5).exp()
    return scale * shape[..., :NUM_BETAS] + (scale - 1.0) * scale_betas
