"""From 2D keypoints to the network's input: the person box and the normalised observation.

Training and run time share these functions, so that they cannot differ. All 2D positions here are
on the normalised image plane, (p_px - c) / f after undistortion, so that every camera looks alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Spec 1.2: the box is 1.2 times as wide as what it holds.
BOX_PADDING = 1.2
# A frame with fewer seen keypoints does not move the box.
MIN_SEEN = 4
# The smallest box on the normalised plane (about 20 px at f = 1000 px).
MIN_BOX = 0.02
# Share of each new frame in the running box: the size carries the depth and must not flicker, the
# centre follows the person.
SIZE_GAIN = 0.15
CENTER_GAIN = 0.5


@dataclass(frozen=True, slots=True)
class PersonBoxes:
    """Square person boxes on the normalised image plane: center (..., 2), size (...,)."""

    center: Tensor
    size: Tensor

    def condition(self) -> Tensor:
        """Return the box condition (..., 3): (cx - K02)/f, (cy - K12)/f, side/f."""
        return torch.cat([self.center, self.size[..., None]], -1)


def enclosing_box(points: Tensor, seen: Tensor) -> tuple[PersonBoxes, Tensor]:
    """Return the padded box around the seen keypoints and whether there were enough of them.

    points: (..., K, 2); seen: (..., K) bool. Returns boxes and (...,) bool.
    """
    far = torch.finfo(points.dtype).max / 4
    low = torch.where(seen[..., None], points, far).amin(-2)
    high = torch.where(seen[..., None], points, -far).amax(-2)
    enough = seen.sum(-1) >= MIN_SEEN
    center = torch.where(enough[..., None], (low + high) / 2, torch.zeros_like(low))
    extent = (high - low).amax(-1)
    size = torch.where(enough, extent * BOX_PADDING, torch.ones_like(extent)).clamp_min(MIN_BOX)
    return PersonBoxes(center, size), enough


def next_box(previous: PersonBoxes | None, points: Tensor, seen: Tensor) -> PersonBoxes | None:
    """Move one person's running box on by one frame; None until enough keypoints were seen.

    points: (K, 2); seen: (K,) bool.
    """
    box, enough = enclosing_box(points, seen)
    if not bool(enough):
        return previous
    if previous is None:
        return box
    return PersonBoxes(
        torch.lerp(previous.center, box.center, CENTER_GAIN),
        torch.lerp(previous.size.log(), box.size.log(), SIZE_GAIN).exp(),
    )


def part_of_step(before: PersonBoxes, after: PersonBoxes, share: float) -> PersonBoxes:
    """Return the running box a share of a frame after one, given that a whole frame after it."""
    return PersonBoxes(
        torch.lerp(before.center, after.center, share),
        torch.lerp(before.size.log(), after.size.log(), share).exp(),
    )


def running_boxes(points: Tensor, seen: Tensor) -> PersonBoxes:
    """Return next_box applied along windows; frames before the first sight take its box.

    points: (B, F, K, 2); seen: (B, F, K) bool. A window in which nobody is ever seen gets the box
    of the image centre.
    """
    boxes, enough = enclosing_box(points, seen)
    first = enough.to(torch.int64).argmax(1)  # (B,)
    rows = torch.arange(points.shape[0], device=points.device)
    center, size = boxes.center[rows, first], boxes.size[rows, first].log()
    centers, sizes = [], []
    log_size = boxes.size.log()
    for frame in range(points.shape[1]):
        use = enough[:, frame]
        center = torch.where(
            use[:, None], torch.lerp(center, boxes.center[:, frame], CENTER_GAIN), center
        )
        size = torch.where(use, torch.lerp(size, log_size[:, frame], SIZE_GAIN), size)
        centers.append(center)
        sizes.append(size)
    return PersonBoxes(torch.stack(centers, 1), torch.stack(sizes, 1).exp())


def floor_row(up: Tensor, height: Tensor) -> Tensor:
    """Return the floor as the keypoint encoder reads it, (..., 4): the vertical over the height, 1.

    up: (..., 3), the unit vector away from the floor in the camera optical frame; height: (...) m,
    of the camera above the floor. Zeros stand for a floor that is not known.
    """
    return torch.cat([up / height[..., None], torch.ones_like(height)[..., None]], -1)


def observe(points: Tensor, visibility: Tensor, presence: Tensor, boxes: PersonBoxes) -> Tensor:
    """Return the keypoint encoder's input (..., K, 4): x, y in box units, visibility, presence.

    points: (..., K, 2) normalised plane; visibility, presence: (..., K) in [0, 1]; boxes: (...).
    x and y run from -1 to 1 over the box and are cut at +-4.
    """
    half = boxes.size[..., None, None] / 2
    local = ((points - boxes.center[..., None, :]) / half).clamp(-4.0, 4.0)
    return torch.cat([local, visibility[..., None], presence[..., None]], -1)
