"""Inputs of the network for a person: boxes, normalised keypoints and crops of the image.

Training and live decoding share these functions. Unless they end in _px, 2D positions are on the
normalised image plane, (p_px - c) / f after undistortion, which is independent of the camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from moro_ros.compat import BILINEAR
from moro_ros.errors import ImageError
from moro_ros.geometry.lens import normalised_points, undistort_image
from moro_ros.types import NUM_KEYPOINTS, Camera, Frame, PersonObservation

# As published (arXiv 2601.16079), the box is 1.2 times as wide as its contents.
BOX_PADDING = 1.2
# Minimum number of seen keypoints in a frame that updates the box.
MIN_SEEN = 4
# The smallest box on the normalised plane (about 20 px at f = 1000 px).
MIN_BOX = 0.02
# Weight of each new frame in the running box: the size determines the depth and must not flicker,
# the centre follows the person.
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
    """Return the padded box around the seen keypoints and whether there are enough of them.

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
    """Advance one person's running box by one frame; None until enough keypoints were seen.

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
    """Return the running box a fraction of a frame after one, given that a full frame after it."""
    return PersonBoxes(
        torch.lerp(before.center, after.center, share),
        torch.lerp(before.size.log(), after.size.log(), share).exp(),
    )


def running_boxes(points: Tensor, seen: Tensor) -> PersonBoxes:
    """Return next_box applied along windows; frames before the first sighting get its box.

    points: (B, F, K, 2); seen: (B, F, K) bool. A window without a sighting gets the box of the
    image centre.
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
    """Return the keypoint encoder's floor input, (..., 4): the vertical over the height, 1.

    up: (..., 3), the unit vector away from the floor in the camera optical frame; height: (...) m,
    of the camera above the floor. Zeros stand for an unknown floor.
    """
    return torch.cat([up / height[..., None], torch.ones_like(height)[..., None]], -1)


def observe(points: Tensor, visibility: Tensor, presence: Tensor, boxes: PersonBoxes) -> Tensor:
    """Return the keypoint encoder's input (..., K, 4): x, y in box units, visibility, presence.

    points: (..., K, 2) normalised plane; visibility, presence: (..., K) in [0, 1]; boxes: (...).
    x and y range from -1 to 1 over the box and are clamped to +-4.
    """
    half = boxes.size[..., None, None] / 2
    local = ((points - boxes.center[..., None, :]) / half).clamp(-4.0, 4.0)
    return torch.cat([local, visibility[..., None], presence[..., None]], -1)


# The integer window is computed with exactly the float32 steps of the reference: for an edge on a
# whole pixel, exact arithmetic would be off by one pixel.

CROP_PX = 256
# The backbone's input is a 256 x 192 image: these columns of the square crop.
COLUMNS = slice(32, 224)
# A window this many times larger than the image contains hardly any of it.
LARGEST_WINDOW = 3


def crop_person(image: np.ndarray, center_px: np.ndarray, scale: float) -> np.ndarray:
    """Cut a person's crop, columns included, from an image.

    image: (H, W, 3) uint8 RGB, undistorted. center_px: box centre, (2,), pixels. scale: side of
    the square box / 200 px, padding included. Returns (3, 256, 192) uint8 RGB.
    """
    square = crop_square(image, center_px, scale)
    return np.ascontiguousarray(square[:, COLUMNS].transpose(2, 0, 1))


def crop_square(image: np.ndarray, center_px: np.ndarray, scale: float) -> np.ndarray:
    """Cut the square window of a box and resize it to (256, 256, 3) uint8.

    image: (H, W, 3) uint8 RGB. center_px: (2,), pixels. scale: side of the box / 200 px.
    Pixels outside the image are black. All pixels are black if the window misses the image or is
    more than three times as large; the network then infers the person from the other frames.
    """
    height, width = image.shape[:2]
    (left, top), (right, bottom) = window(center_px, scale)
    black = np.zeros((CROP_PX, CROP_PX, 3), np.uint8)
    if left >= width or top >= height or right < 0 or bottom < 0:
        return black
    columns, rows = right - left, bottom - top
    if columns > LARGEST_WINDOW * width or rows > LARGEST_WINDOW * height:
        return black
    if columns < 1 or rows < 1:
        return black
    patch = np.zeros((rows, columns, 3), np.uint8)
    source = image[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    row, column = max(-top, 0), max(-left, 0)
    patch[row : row + source.shape[0], column : column + source.shape[1]] = source
    resized = Image.fromarray(patch).resize((CROP_PX, CROP_PX), BILINEAR)
    return np.asarray(resized)


def window(center_px: np.ndarray, scale: float) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the integer window (left, top), (right, bottom) of a box, right and bottom exclusive.

    center_px: (2,), pixels. scale: side of the box / 200 px. Rounded towards zero.
    """
    center = np.asarray(center_px, np.float32)
    side = np.float32(200) * np.float32(scale)
    crop_from_image = np.zeros((3, 3))
    crop_from_image[0, 0] = crop_from_image[1, 1] = np.float32(CROP_PX) / side
    for axis in range(2):
        crop_from_image[axis, 2] = np.float32(CROP_PX) * (-center[axis] / side + np.float32(0.5))
    crop_from_image[2, 2] = 1
    image_from_crop = np.linalg.inv(crop_from_image)
    low = image_from_crop @ np.array([0.0, 0.0, 1.0])
    high = image_from_crop @ np.array([CROP_PX, CROP_PX, 1.0])
    return (int(low[0]), int(low[1])), (int(high[0]), int(high[1]))


BOX_UNIT_PX = 200.0  # unit of the published box scale


def normalised_keypoints(
    person: PersonObservation, camera: Camera
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a person's keypoints (K, 2) on the normalised plane, visibility and presence (K,).

    All float32. Points that the lens model cannot map (see normalised_points) count as unseen and
    not present.
    """
    if person.keypoints is None:
        nothing = np.zeros(NUM_KEYPOINTS, np.float32)
        return np.zeros((NUM_KEYPOINTS, 2), np.float32), nothing, nothing
    plane, sound = normalised_points(person.keypoints.points_px, camera)
    return (
        plane.astype(np.float32),
        (person.keypoints.visibility * sound).astype(np.float32),
        (person.keypoints.presence * sound).astype(np.float32),
    )


def rectified_image(frame: Frame) -> np.ndarray:
    """Return the frame's image without lens distortion, (H, W, 3) uint8 RGB.

    Raises: ImageError if the frame has no image.
    """
    if frame.image is None:
        raise ImageError(
            "This model uses pixels, but the frame has no image. Set Frame.image, or use a "
            "model that uses keypoints (moro_open)."
        )
    return undistort_image(frame.image, frame.camera)


def person_crop(image: np.ndarray, box: PersonBoxes, camera: Camera) -> Tensor:
    """Return one person's crop (3, 256, 192) uint8 for the paper's image encoder.

    image: rectified, (H, W, 3) uint8 RGB; box: of one person, on the normalised image plane.
    """
    focal, center = camera.matrix[[0, 1], [0, 1]], camera.matrix[:2, 2]
    center_px = box.center.numpy() * focal + center
    side_px = float(box.size) * float(focal.mean())
    return torch.from_numpy(crop_person(image, center_px, side_px / BOX_UNIT_PX))
