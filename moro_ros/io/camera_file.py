"""Calibration files: a camera from the files of calibration tools and drivers.

TOML of Sports2D, Pose2Sim, Anipose and caliscope; YAML of ROS camera_calibration; OpenCV's
FileStorage (%YAML:1.0, JSON); .ini or ost.txt of camera_calibration_parsers; and the output of
`ros2 topic echo --once` for a camera_info.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from moro_ros.errors import CalibrationError
from moro_ros.geometry.camera import resized_camera
from moro_ros.geometry.camera_check import check_camera, distortion_of
from moro_ros.geometry.lens import part_of_camera
from moro_ros.io.frames import FrameSource
from moro_ros.types import Camera

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

OPTICAL_FRAME = "camera_optical_frame"
LAYOUTS = (
    "expected a YAML of ROS camera_calibration or of OpenCV's FileStorage with image_width, "
    "image_height, camera_matrix and distortion_coefficients; a TOML table with size, matrix and "
    "distortions; an .ini of ROS; or what ros2 topic echo --once prints of camera_info"
)
# Names of the same value in OpenCV's samples, by its users and in ROS, ignoring case and "_".
WIDTHS, HEIGHTS = ("imagewidth", "width"), ("imageheight", "height")
MATRICES = ("cameramatrix", "k", "m1", "cameramatrix1", "intrinsicmatrix", "mtx")
DISTORTIONS = (
    *("distortioncoefficients", "distcoeffs", "distcoeff", "distcoefs", "d", "d1", "dist"),
    *("distcoeffs1", "distortion"),
)
MODELS, FISHEYE_FLAGS = ("distortionmodel", "cameramodel"), ("fisheyemodel", "fisheye")


class _Loader(yaml.SafeLoader):
    """Reads the matrices of OpenCV's FileStorage as mappings."""


def _mapping(loader: yaml.SafeLoader, _suffix: str, node: yaml.Node) -> Any:
    if not isinstance(node, yaml.MappingNode):
        raise yaml.constructor.ConstructorError(None, None, "unknown tag", node.start_mark)
    return loader.construct_mapping(node, deep=True)


_Loader.add_multi_constructor("tag:yaml.org,2002:opencv-", _mapping)


def load_camera(path: str | Path, frame_id: str = OPTICAL_FRAME) -> Camera:
    """Read a calibration file; of several cameras in a file the first is used.

    Raises: CalibrationError if the file is missing, or its layout or camera is invalid.
    """
    path = Path(path).expanduser()
    source = f"Camera file {path}"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CalibrationError(f"Cannot read the camera file {path}: {error}") from error
    except UnicodeDecodeError as error:
        raise CalibrationError(f"{source} is not text; {LAYOUTS}.") from error
    try:
        if path.suffix == ".toml":
            camera = toml_camera(_first_table(tomllib.loads(text)), source)
        elif re.search(r"^camera matrix\s*$", text, re.MULTILINE):
            camera = _from_ini(text, source)
        else:
            camera = _from_mapping(_first_document(text), source)
    except (tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        where = " ".join(str(error).split())
        raise CalibrationError(f"{source} cannot be read ({where}); {LAYOUTS}.") from error
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        reason = str(error.args[0]) if error.args else "empty"
        raise CalibrationError(f"{source}: {reason}; {LAYOUTS}.") from error
    return dataclasses.replace(camera, frame_id=frame_id)


def camera_from_focal(
    focal_px: float, width: int, height: int, frame_id: str = OPTICAL_FRAME
) -> Camera:
    """A camera without distortion whose principal point is the image centre.

    focal_px: focal length in pixels. Raises: CalibrationError if it is impossible.
    """
    matrix = np.array([[focal_px, 0.0, width / 2], [0.0, focal_px, height / 2], [0.0, 0.0, 1.0]])
    camera = Camera(matrix, width, height, frame_id=frame_id)
    check_camera(camera, "Camera")
    return camera


def toml_camera(table: dict[str, Any], source: str) -> Camera:
    """The camera of one table of a TOML file of Anipose, Pose2Sim or caliscope.

    Raises: CalibrationError; KeyError, TypeError or ValueError for other tables.
    """
    width, height = (int(value) for value in table["size"])
    name = "equidistant" if table.get("fisheye") else "plumb_bob"
    return _checked(table["matrix"], width, height, name, table.get("distortions", ()), source)


def _first_table(values: dict[str, Any]) -> dict[str, Any]:
    tables = values.get("cameras", values)
    found = (t for t in tables.values() if isinstance(t, dict) and "matrix" in t)
    table = next(found, None)
    if table is None:
        raise KeyError("it has no table with a matrix")
    return table


def _first_document(text: str) -> dict[str, Any]:
    """The first YAML document; `ros2 topic echo` ends each message with a document's mark."""
    # OpenCV's directive is not valid YAML: the standard has a space instead of the colon.
    text = re.sub(r"\A%YAML:[\d.]+\s*", "", text)
    values = next(iter(yaml.load_all(text, Loader=_Loader)), None)
    if not isinstance(values, dict):
        raise TypeError("it has no names with values")
    if any("intrinsics" in value for value in values.values() if isinstance(value, dict)):
        raise ValueError("camchain files of Kalibr are not supported")
    return {str(key).lower().replace("_", ""): value for key, value in values.items()}


def _from_mapping(values: dict[str, Any], source: str) -> Camera:
    size = _entry(values, ("imagesize", "size"), None)
    if size is None:
        size = _entry(values, WIDTHS), _entry(values, HEIGHTS)
    width, height = _numbers(size)
    name = _entry(values, MODELS, None)
    if name is None:
        name = "equidistant" if _entry(values, FISHEYE_FLAGS, 0) in (1, True) else "plumb_bob"
    matrix, coefficients = _entry(values, MATRICES), _entry(values, DISTORTIONS, ())
    camera = _checked(matrix, int(width), int(height), str(name), coefficients, source)
    region = _entry(values, ("roi",), {})
    left, top, *part = (int(region.get(k, 0)) for k in ("x_offset", "y_offset", "width", "height"))
    bins = int(values.get("binningx", 0)), int(values.get("binningy", 0))
    return part_of_camera(camera, (left, top, part[0], part[1]), bins)


def _from_ini(text: str, source: str) -> Camera:
    """Read camera_calibration_parsers' layout: headings, and below each its numbers.

    The distortion model is not in the file; the number of coefficients defines it.
    """
    blocks: dict[str, list[float]] = {}
    numbers: list[float] = []
    for line in (part.strip() for part in text.splitlines()):
        if not line or line.startswith(("#", "[")):
            continue
        if line[0].isalpha():
            # A second camera follows the first in a file of a stereo pair.
            numbers = [] if line in blocks else blocks.setdefault(line, [])
        else:
            numbers.extend(float(word) for word in line.split())
    for name in ("width", "height", "camera matrix"):
        if not blocks.get(name):
            raise KeyError(f"no numbers under '{name}'")
    width, height = blocks["width"][0], blocks["height"][0]
    return _checked(
        blocks["camera matrix"], int(width), int(height), "plumb_bob",
        blocks.get("distortion", ()), source,
    )  # fmt: skip


def _entry(values: dict[str, Any], names: tuple[str, ...], *default: Any) -> Any:
    """The value of the first existing name, or the default; without a default raises KeyError."""
    found = [values[name] for name in names if values.get(name) is not None] or [*default]
    if not found:
        raise KeyError(f"no {names[0]}")
    return found[0]


def _numbers(value: Any) -> list[float]:
    """The numbers of a list or of a mapping with `data`, in any nesting."""
    data = value.get("data", ()) if isinstance(value, dict) else value
    return [float(number) for number in np.asarray(data, dtype=object).ravel()]


def _checked(
    matrix: Any, width: int, height: int, name: str, coefficients: Any, source: str
) -> Camera:
    model, distortion = distortion_of(name, _numbers(coefficients), source)
    numbers = _numbers(matrix)
    if len(numbers) != 9:
        raise ValueError(f"the camera matrix has {len(numbers)} numbers instead of 9")
    camera = Camera(np.reshape(numbers, (3, 3)), width, height, distortion, model)
    check_camera(camera, source)
    return camera


def camera_of_video(
    reader: FrameSource,
    focal_px: float | None,
    camera_file: str | Path | None,
    frame_id: str = OPTICAL_FRAME,
) -> Camera:
    """The camera of a video's images by its focal length or, without one, by its calibration.

    If the file's pixels are not square, both may refer to the pixels as stored, which other readers
    return: a focal length is in stored columns; a calibration is for either size.
    Raises: CalibrationError if the calibration is bad or for another size.
    """
    size = reader.width, reader.height
    if focal_px is not None:
        # Square pixels: stored columns alone define the scale, independent of the image's rotation.
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


def note_on_pixels(reader: FrameSource) -> str:
    """A note for the user about pixels that are not square; empty if they are."""
    if reader.stored_size == (reader.width, reader.height):
        return ""
    stored = "x".join(map(str, reader.stored_size))
    return (
        f"The pixels of {reader.path} are not square ({reader.pixel_aspect}): its {stored} "
        f"pixels are resampled to {reader.width}x{reader.height}, and a focal length in stored "
        f"pixels is multiplied by {float(reader.pixel_aspect):.3g}."
    )
