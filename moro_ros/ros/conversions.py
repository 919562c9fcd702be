"""Between camera_info, stamps and the types of the package; free of torch, which loads slowly."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from moro_ros.ros import faults
from moro_ros.ros.faults import BadCamera
from moro_ros.types import Camera

# Distortion models of sensor_msgs and the numbers of coefficients that OpenCV takes.
DISTORTION_MODELS: dict[str, tuple[int, ...]] = {
    "plumb_bob": (4, 5),
    "rational_polynomial": (8,),
    "equidistant": (4,),
}


def stamp_to_ns(stamp: Time) -> int:
    """A message stamp in ns."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def ns_to_stamp(stamp_ns: int) -> Time:
    """The message stamp of a time in ns."""
    return Time(sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000)


def camera_from_info(info: CameraInfo, rectified: bool = False) -> Camera:
    """The camera of the images that come with a camera_info; binning and ROI are applied.

    rectified: the images are rectified already, so P describes them instead of K and D.
    Raises: BadCamera if the camera is not calibrated or the values make no sense.
    """
    values = info.p if rectified else info.k
    matrix = np.array(values, dtype=np.float64).reshape(3, -1)[:, :3].copy()
    name = "P" if rectified else "K"
    if not np.isfinite(matrix).all() or not np.isfinite(info.d).all():
        raise BadCamera(
            faults.NOT_FINITE,
            f"camera_info holds values that are not finite in {name} or D; calibrate the camera.",
        )
    if matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise BadCamera(
            faults.UNCALIBRATED,
            f"camera_info has focal lengths of {matrix[0, 0]:g} and {matrix[1, 1]:g} px "
            f"in {name}: it is not calibrated. Calibrate it (camera_calibration) or give the "
            "driver its calibration file.",
        )
    model, distortion = ("plumb_bob", ()) if rectified else _distortion(info)
    roi, binning = info.roi, (max(1, info.binning_x), max(1, info.binning_y))
    whole = roi.width == 0 or roi.height == 0
    # As image_geometry does it: first the offset of the region, then the binning.
    if not whole:
        matrix[:2, 2] -= roi.x_offset, roi.y_offset
    matrix[:2] /= np.array(binning, dtype=np.float64)[:, None]
    return Camera(
        matrix=matrix,
        width=(info.width if whole else roi.width) // binning[0],
        height=(info.height if whole else roi.height) // binning[1],
        distortion=distortion,
        distortion_model=model,
        frame_id=info.header.frame_id,
    )


def camera_key(info: CameraInfo) -> tuple[object, ...]:
    """What of a camera_info makes another camera of it; everything but the stamp."""
    roi = info.roi
    return (
        info.header.frame_id, info.width, info.height, tuple(info.k), tuple(info.p), tuple(info.d),
        info.distortion_model, info.binning_x, info.binning_y,
        roi.x_offset, roi.y_offset, roi.width, roi.height,
    )  # fmt: skip


def check_size(camera: Camera, width: int, height: int) -> None:
    """Check that an image is of the size that its calibration is for; raises BadCamera."""
    if (width, height) != (camera.width, camera.height):
        raise BadCamera(
            faults.CAMERA_SIZE,
            f"The image is {width}x{height} pixels but camera_info is for "
            f"{camera.width}x{camera.height}; publish the camera_info of this image size.",
        )


def camera_info_message(camera: Camera, header: Header) -> CameraInfo:
    """The camera_info of an unrectified camera; P repeats K (no rectified image is offered)."""
    message = CameraInfo(header=header, width=camera.width, height=camera.height)
    message.k = camera.matrix.astype(np.float64).ravel()
    message.r = np.eye(3).ravel()
    message.p = np.hstack([camera.matrix, np.zeros((3, 1))]).ravel()
    rational = camera.distortion_model == "plumb_bob" and len(camera.distortion) == 8
    message.distortion_model = "rational_polynomial" if rational else camera.distortion_model
    message.d = list(camera.distortion) or [0.0] * DISTORTION_MODELS[message.distortion_model][-1]
    return message


def _distortion(info: CameraInfo) -> tuple[str, tuple[float, ...]]:
    coefficients = tuple(float(value) for value in info.d)
    if not any(coefficients):
        return ("equidistant" if info.distortion_model == "equidistant" else "plumb_bob"), ()
    counts = DISTORTION_MODELS.get(info.distortion_model)
    if counts is None or len(coefficients) not in counts:
        known = ", ".join(
            f"{name} ({' or '.join(map(str, counts))})"
            for name, counts in DISTORTION_MODELS.items()
        )
        raise BadCamera(
            faults.DISTORTION,
            f"camera_info has {len(coefficients)} distortion coefficients of the model "
            f"'{info.distortion_model}'; expected {known}.",
        )
    model = "equidistant" if info.distortion_model == "equidistant" else "plumb_bob"
    return model, coefficients
