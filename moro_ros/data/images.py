"""The pictures of a clip, as its labels mean them: upright, unmirrored, without distortion."""

from __future__ import annotations

import cv2
import numpy as np

from moro_ros.data.dataset import Clip
from moro_ros.errors import DataError
from moro_ros.geometry.lens import undistort_image


def read_image(clip: Clip, frame: int) -> np.ndarray:
    """Read the picture of one frame: (H, W, 3) uint8 RGB, rectified.

    Raises: DataError if the clip has no pictures, or the file is missing, damaged or of a size
    other than the camera's.
    """
    if clip.images is None:
        raise DataError(f"Clip {clip.name} has no images; choose another data set.")
    path = clip.images[frame]
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        state = "is damaged" if path.is_file() else "is missing"
        raise DataError(f"The image {path} of clip {clip.name} {state}; download it again.")
    image = np.ascontiguousarray(np.rot90(image, -clip.image_turns)[..., ::-1])
    if clip.mirrored:
        image = np.ascontiguousarray(image[:, ::-1])
    camera = clip.camera
    if camera is None:
        return image
    if image.shape[:2] != (camera.height, camera.width):
        raise DataError(
            f"The image {path} has {image.shape[1]} x {image.shape[0]} pixels, expected "
            f"{camera.width} x {camera.height} as the clip's camera."
        )
    return undistort_image(image, camera)
