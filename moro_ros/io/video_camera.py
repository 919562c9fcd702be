"""The camera of a video's images, from a focal length or a calibration file."""

from __future__ import annotations

from pathlib import Path

from moro_ros.errors import CalibrationError
from moro_ros.geometry.camera import resized_camera
from moro_ros.io.camera_file import OPTICAL_FRAME, camera_from_focal, load_camera
from moro_ros.io.video import VideoReader
from moro_ros.types import Camera


def camera_of_video(
    reader: VideoReader,
    focal_px: float | None,
    camera_file: str | Path | None,
    frame_id: str = OPTICAL_FRAME,
) -> Camera:
    """The camera of a video's images by its focal length or, without one, by its calibration.

    Where the file's pixels are not square, both may be those of the pixels as they are stored,
    which is what other readers give: a focal length counts the stored columns; a calibration is
    for either size.
    Raises: CalibrationError if the calibration is bad or for another size.
    """
    size = reader.width, reader.height
    if focal_px is not None:
        # Square pixels: stored columns alone give the scale, whichever way the image was turned.
        return camera_from_focal(focal_px * float(reader.pixel_aspect), *size, frame_id)
    camera = load_camera(camera_file or "", frame_id)
    if (camera.width, camera.height) == reader.stored_size:
        return resized_camera(camera, *size)
    if (camera.width, camera.height) != size:
        raise CalibrationError(
            f"{camera_file} is for {camera.width}x{camera.height} pixels, but the video "
            f"{reader.path} has {size[0]}x{size[1]}; give the calibration of this video."
        )
    return camera


def note_on_pixels(reader: VideoReader) -> str:
    """What a user has to know about pixels that are not square; empty: they are."""
    if reader.stored_size == (reader.width, reader.height):
        return ""
    stored = "x".join(map(str, reader.stored_size))
    return (
        f"The pixels of {reader.path} are not square ({reader.pixel_aspect}): its {stored} "
        f"pixels are resampled to {reader.width}x{reader.height}, and a focal length in stored "
        f"pixels is multiplied by {float(reader.pixel_aspect):.3g}."
    )
