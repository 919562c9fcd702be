"""What the network's image encoder is shown of one person in one frame: keypoints, or pixels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from moro_ros.errors import ImageError
from moro_ros.geometry.lens import normalised_points, undistort_image
from moro_ros.network.crop import crop_person
from moro_ros.network.preprocess import PersonBoxes
from moro_ros.types import NUM_KEYPOINTS, Camera, Frame, PersonObservation

BOX_UNIT_PX = 200.0  # the published box scale counts in these


def normalised_keypoints(
    person: PersonObservation, camera: Camera
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a person's keypoints (K, 2) on the normalised plane, visibility and presence (K,).

    What the lens model cannot place (see normalised_points) counts as unseen and not present.
    """
    if person.keypoints is None:
        nothing = torch.zeros(NUM_KEYPOINTS)
        return torch.zeros(NUM_KEYPOINTS, 2), nothing, nothing
    plane, sound = normalised_points(person.keypoints.points_px, camera)
    return (
        torch.as_tensor(plane, dtype=torch.float32),
        torch.from_numpy((person.keypoints.visibility * sound).astype(np.float32)),
        torch.from_numpy((person.keypoints.presence * sound).astype(np.float32)),
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
    """Return one person's crop (3, 256, 192) uint8, as the paper's image encoder takes it.

    image: rectified, (H, W, 3) uint8 RGB; box: of one person, on the normalised image plane.
    """
    focal, center = camera.matrix[[0, 1], [0, 1]], camera.matrix[:2, 2]
    center_px = box.center.numpy() * focal + center
    side_px = float(box.size) * float(focal.mean())
    return torch.from_numpy(crop_person(image, center_px, side_px / BOX_UNIT_PX))
