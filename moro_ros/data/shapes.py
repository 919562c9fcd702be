"""Random body shapes: adults of all builds, and people of other sizes, children mostly."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from moro_ros.body.body_model import BodyModel
from moro_ros.data.dice import Dice

NUM_BETAS = 10
# Size beside the body model's: children from 0.9 m on, and short and tall adults.
SMALLEST, LARGEST = 0.53, 1.15
CHILDREN = 0.7  # of those who are of another size
# Some are far from the mean.
WIDE_SHARE, WIDE = 0.15, 1.7


def scale_betas(body: BodyModel) -> Tensor:
    """Return the betas (10,) whose body comes nearest to one twice as large, in the least squares.

    Betas act linearly: a body of scale s is that of s betas + (s - 1) times these. For the open
    body half the size is met to 13 mm (joints), three quarters to 6 mm.
    """
    root, turn = body.joint_template[0], body.joint_shapedirs[0]
    directions = (body.shapedirs - turn).flatten(0, 1)
    target = (body.template - root).flatten()
    return torch.linalg.lstsq(directions, target[:, None]).solution[:, 0]


def draw_shapes(count: int, sized: float, dice: Dice) -> tuple[Tensor, Tensor]:
    """Return betas (count, 10) of a size-less body and the logarithm of a scale (count, 1).

    sized: share of people whose scale is not 1.
    """
    wide = dice.chance(count, 1, share=WIDE_SHARE)
    betas = dice.normal(count, NUM_BETAS) * torch.where(wide, WIDE, 1.0)
    child = dice.uniform(count, 1, low=math.log(SMALLEST), high=0.0)
    adult = dice.uniform(count, 1, low=-math.log(LARGEST), high=math.log(LARGEST))
    scale = torch.where(dice.chance(count, 1, share=CHILDREN), child, adult)
    return betas, scale * dice.chance(count, 1, share=sized)
