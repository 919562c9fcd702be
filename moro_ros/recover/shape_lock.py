"""Says when the shape of a person has settled, and at what, so that it may be kept from then on."""

from __future__ import annotations

import torch
from torch import Tensor

# How far the mean of each shape coefficient may move in the time that it settles in: 17 mm for a
# joint of the open body by the first coefficient, which is the height, and less by every other.
TOLERANCE = 0.2


class ShapeLock:
    """Averages one person's betas over the images in which the person is seen."""

    def __init__(self) -> None:
        self._images = 0
        self._mean = torch.zeros(0)
        self._least = self._most = self._mean
        self._quiet_s = 0.0
        self._last_ns: int | None = None

    def update(self, betas: Tensor, stamp_ns: int, seen: bool, settle_s: float) -> Tensor | None:
        """Return the mean (10,) once it kept within TOLERANCE for settle_s of being seen.

        betas: (10,) at an image; stamp_ns: of the image; seen: whether anything of the person was.
        Images in which nothing was neither count nor begin anew.
        """
        before, self._last_ns = self._last_ns, stamp_ns
        if not seen:
            return None
        self._images += 1
        first = self._images == 1
        self._mean = betas.clone() if first else self._mean.lerp(betas, 1.0 / self._images)
        least = self._mean if first else torch.minimum(self._least, self._mean)
        most = self._mean if first else torch.maximum(self._most, self._mean)
        if first or before is None or bool((most - least > TOLERANCE).any()):
            self._least = self._most = self._mean
            self._quiet_s = 0.0
            return None
        self._least, self._most = least, most
        self._quiet_s += (stamp_ns - before) * 1e-9
        return self._mean if self._quiet_s >= settle_s else None
