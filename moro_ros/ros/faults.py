"""Faults of single images: what makes an image unusable, under the names it is counted by."""

from __future__ import annotations

from moro_ros.errors import CalibrationError, ImageError, MoroError

# Reasons, as they appear in the diagnostics (bad.<reason>).
ENCODING = "unknown_encoding"
EMPTY_IMAGE = "empty_image"
SHORT_DATA = "short_data"
IMAGE_LAYOUT = "image_layout"
UNDECODABLE = "undecodable"
NO_CAMERA_INFO = "no_camera_info"
UNCALIBRATED = "camera_info_zero"
NOT_FINITE = "camera_info_not_finite"
DISTORTION = "camera_info_distortion"
CAMERA_SIZE = "camera_info_size"
IMPLAUSIBLE = "camera_info_implausible"
REPEATED_STAMP = "repeated_stamp"
REJECTED = "rejected"


class BadImage(ImageError):
    """An image that cannot be used, counted under `reason`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class BadCamera(CalibrationError):
    """A camera_info that cannot be used, counted under `reason`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def reason_of(error: MoroError) -> str:
    """The name under which an error of one frame is counted."""
    return error.reason if isinstance(error, BadImage | BadCamera) else REJECTED
