"""The stature of a body, and the same body scaled to another size."""

from __future__ import annotations

import torch
from torch import Tensor

from moro_ros.body.body_model import BodyModel


def scale_betas(body: BodyModel) -> Tensor:
    """Return the betas (10,) whose body is nearest to one twice as large (least squares).

    Betas act linearly: a body of scale s is that of s betas + (s - 1) times these. For the open
    body half the size is met to 13 mm (joints), three quarters to 6 mm.
    """
    root, turn = body.joint_template[0], body.joint_shapedirs[0]
    # In float64, float32's result is the same in every run.
    directions = (body.shapedirs - turn).flatten(0, 1).double()
    target = (body.template - root).flatten().double()
    return torch.linalg.lstsq(directions, target[:, None]).solution[:, 0].float()


class BodySize:
    """Stature and scale of the bodies of one model; per_beta: (10,), its derivatives, m."""

    def __init__(self, body: BodyModel) -> None:
        height = body.template[:, 1]
        top, bottom = int(height.argmax()), int(height.argmin())
        self._mean_m = float(height[top] - height[bottom])
        self.per_beta = body.shapedirs[top, 1] - body.shapedirs[bottom, 1]
        self._scale_betas = scale_betas(body)

    def stature(self, betas: Tensor) -> float:
        """Return the height [m] of the body with betas (10,), standing at rest."""
        return self._mean_m + float(self.per_beta @ betas)

    def with_stature(self, betas: Tensor, stature_m: float) -> Tensor:
        """Return the betas (10,) of a body like that of betas, but stature_m tall."""
        # The stature is linear in the factor; scale_betas are only accurate to a few percent.
        at_zero, at_one = self.stature(self.resized(betas, 0.0)), self.stature(betas)
        return self.resized(betas, (stature_m - at_zero) / (at_one - at_zero))

    def resized(self, betas: Tensor, factor: float) -> Tensor:
        """Return the betas (10,) of a body `factor` times as large."""
        return factor * betas + (factor - 1.0) * self._scale_betas
