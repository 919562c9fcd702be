"""Whether a camera can be: one check for calibration files, focal lengths and camera_info."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import numpy as np

from moro_ros.errors import CalibrationError
from moro_ros.geometry.lens import normalised_points
from moro_ros.types import Camera

# No pinhole image is wider: beyond, its border is stretched more than fifteenfold.
WIDEST_PINHOLE_DEG = 150.0
# The shorter side of an equidistant image, through its centre. The widest lenses made have 280.
WIDEST_FISHEYE_DEG = 360.0
# A telescope: 2 m of focal length on a sensor of 36 mm.
NARROWEST_DEG = 1.0
# Anamorphic pixels are at most twice as wide as high.
MOST_UNEQUAL = 3.0
# Skew that is neglected as a share of f, and what rounding leaves where K has zeros and a one.
SKEW, ROUNDING = 0.01, 1e-6
# A lens moves no point half-way to the corner farther than to this multiple or fraction of its
# distance from the axis; the strongest lens of a pinhole model (150 degrees) reaches 1.2 there.
MOST_BENT = 1.5
RING = 8  # directions in which this is looked at

PINHOLE_COUNTS = (4, 5, 8, 12, 14)
EQUIDISTANT_COUNTS = (0, 4)
# Names in lower case without anything but letters and digits.
PINHOLE_NAMES = {
    *("plumbbob", "radtan", "radialtangential", "brownconrady", "opencv", "pinhole"),
    *("rationalpolynomial", "rational", "fullopencv", "thinprism", "tilted"),
}
EQUIDISTANT_NAMES = {
    *("equidistant", "equi", "fisheye", "opencvfisheye"),
    *("kannalabrandt", "kannalabrandt4", "kannalabrandt8", "kb", "kb4", "kb8"),
}
# K means something else in these, so that coefficients of zero do not make them pinholes.
OTHER_PROJECTIONS = ("omni", "mei", "unified", "ucm", "doublesphere", "fov", "scaramuzza", "ocam")
EXPECTED = (
    "expected plumb_bob or rational_polynomial with "
    f"{', '.join(map(str, PINHOLE_COUNTS[:-1]))} or {PINHOLE_COUNTS[-1]} coefficients, "
    "or equidistant (fisheye) with none or 4"
)


def distortion_of(
    name: str, coefficients: Iterable[float], source: str
) -> tuple[str, tuple[float, ...]]:
    """The distortion as Camera has it, of a model's name in any common spelling.

    source: what the message begins with. Returns the model and the coefficients in OpenCV's order,
    () for a pinhole without distortion. An equidistant lens bends the image with zeros too.
    Raises: CalibrationError if the model is not known or has other numbers of coefficients.
    """
    values = tuple(float(value) for value in coefficients)
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    if not np.isfinite(values).all():
        raise CalibrationError(
            f"{source}: distortion coefficients are not finite.", "camera_info_not_finite"
        )
    if plain in EQUIDISTANT_NAMES:
        if any(values) and len(values) not in EQUIDISTANT_COUNTS:
            raise CalibrationError(_count(name, values, source), "camera_info_distortion")
        return "equidistant", values if any(values) else (0.0,) * EQUIDISTANT_COUNTS[-1]
    other = any(word in plain for word in OTHER_PROJECTIONS) and plain not in PINHOLE_NAMES
    if other or (any(values) and plain not in PINHOLE_NAMES):
        raise CalibrationError(
            f"{source}: unknown distortion model '{name}'; {EXPECTED}. Calibrate with one of "
            "these, or use rectified images.",
            "camera_info_distortion",
        )
    if any(values) and len(values) not in PINHOLE_COUNTS:
        raise CalibrationError(_count(name, values, source), "camera_info_distortion")
    return "plumb_bob", values if any(values) else ()


def check_camera(camera: Camera, source: str) -> None:
    """Check that a real camera can have such a calibration, before a region is cut out of it.

    source: what the message begins with.
    Raises: CalibrationError with what was got, what was expected and what was probably meant.
    """
    if min(camera.width, camera.height) <= 0:
        raise CalibrationError(
            f"{source}: the image size is {camera.width}x{camera.height}, expected positive.",
            "camera_info_size",
        )
    if not np.isfinite(camera.matrix).all() or not np.isfinite(camera.distortion).all():
        raise CalibrationError(
            f"{source}: the intrinsics are not finite; calibrate the camera.",
            "camera_info_not_finite",
        )
    focal = camera.matrix[0, 0], camera.matrix[1, 1]
    if min(focal) <= 0:
        raise CalibrationError(
            f"{source}: focal lengths are {focal[0]:g} and {focal[1]:g} px, expected positive "
            "values. Calibrate the camera, or configure the driver with its calibration file.",
            "camera_info_zero",
        )
    if fault := _matrix_fault(camera) or _view_fault(camera):
        raise CalibrationError(f"{source}: {fault}", "camera_info_implausible")
    distortion_of(camera.distortion_model, camera.distortion, source)
    if not _bends_like_a_lens(camera):
        raise CalibrationError(
            f"{source}: distortion coefficients {_listed(camera.distortion)} of the model "
            f"{camera.distortion_model} bend the image as no lens does. Expected OpenCV's order "
            "(k1, k2, p1, p2, k3, ...; equidistant: k1 to k4) for focal lengths in pixels.",
            "camera_info_distortion",
        )


def _count(name: str, values: tuple[float, ...], source: str) -> str:
    return (
        f"{source}: the number of distortion coefficients of the model '{name}' is {len(values)}; "
        f"{EXPECTED}. Give all that the calibration found, in OpenCV's order."
    )


def _matrix_fault(camera: Camera) -> str:
    """What is wrong with the pattern of K = fx 0 cx, 0 fy cy, 0 0 1; empty if nothing is."""
    matrix, size = camera.matrix, f"{camera.width}x{camera.height}"
    shape = f"camera matrix {_listed(matrix.ravel())}: expected fx, 0, cx, 0, fy, cy, 0, 0, 1"
    if matrix[2, :2].any() and not matrix[:2, 2].any():
        return f"{shape}; this one is probably transposed, as MATLAB writes it."
    (fx, skew, cx), (below, fy, cy) = matrix[:2]
    if max(fx, fy, abs(cx), abs(cy)) <= 10 and max(camera.width, camera.height) > 20:
        return (
            f"{shape} in pixels of the {size} image; these are probably normalised intrinsics: "
            "multiply the first row by the width and the second by the height."
        )
    if abs(below) > ROUNDING or np.abs(matrix[2] - (0, 0, 1)).max() > ROUNDING:
        return f"{shape}."
    if abs(skew) > SKEW * fx:
        return f"{shape}; a skew of {skew:g} px is not supported: calibrate without it."
    return ""


def _view_fault(camera: Camera) -> str:
    """What is wrong with focal lengths and principal point; empty if nothing is."""
    fx, fy, (cx, cy) = camera.matrix[0, 0], camera.matrix[1, 1], camera.matrix[:2, 2]
    size = np.array([camera.width, camera.height])
    got = f"a focal length of {fx:g} px" if fx == fy else f"focal lengths of {fx:g} and {fy:g} px"
    got += f" for images of {size[0]}x{size[1]} pixels"
    if camera.distortion_model == "equidistant":
        angle, most = math.degrees((size / (fx, fy)).min()), WIDEST_FISHEYE_DEG
    else:
        angle, most = (
            math.degrees(2 * math.atan((size / (2 * fx, 2 * fy)).max())),
            WIDEST_PINHOLE_DEG,
        )
    view = f"{got} means a field of view of {angle:.3g} degrees"
    if angle > most:
        return (
            f"{view}, expected at most {most:g}. Is it in millimetres, or of smaller images? "
            "In pixels it is millimetres x longer side of the image / longer side of the sensor."
        )
    if angle < NARROWEST_DEG:
        return (
            f"{view}, expected at least {NARROWEST_DEG:g}. The focal length must be in pixels "
            "of these images; most lenses have 0.3 to 3 x the longer side."
        )
    if max(fx / fy, fy / fx) > MOST_UNEQUAL:
        return f"{got}: expected similar values."
    if not (0 < cx < size[0] and 0 < cy < size[1]):
        return (
            f"the principal point ({cx:g}, {cy:g}) is not inside the {size[0]}x{size[1]} image, "
            f"expected near its centre ({size[0] / 2:g}, {size[1] / 2:g}). Is the calibration "
            "for images of another size, or in another order?"
        )
    return ""


def _bends_like_a_lens(camera: Camera) -> bool:
    """Whether the distortion is mild and has an inverse half-way out of the image."""
    if not any(camera.distortion):
        return True
    center, focal = camera.matrix[:2, 2], camera.matrix[[0, 1], [0, 1]]
    fisheye = camera.distortion_model == "equidistant"
    # A fisheye's image may be a circle that leaves the corners dark.
    reach = min(camera.width, camera.height) if fisheye else math.hypot(camera.width, camera.height)
    turn = 2 * np.pi * np.arange(RING) / RING
    offset = reach / 4 * np.column_stack([np.cos(turn), np.sin(turn)])
    plane, sound = normalised_points(center + offset, camera)
    before, after = np.linalg.norm(offset / focal, axis=-1), np.linalg.norm(plane, axis=-1)
    ratio = (np.arctan(after) if fisheye else after) / before
    return bool((sound & (ratio < MOST_BENT) & (ratio > 1 / MOST_BENT)).all())


def _listed(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
