"""Errors that a user can cause: each states the value, what was expected and the remedy."""

import zipfile
import zlib

# What reading an npz or npy file raises if it is missing, damaged, encrypted or another file.
NPZ_ERRORS = (
    *(OSError, LookupError, TypeError, ValueError, AttributeError, EOFError, MemoryError),
    *(RuntimeError, zipfile.BadZipFile, zlib.error),
)


class MoroError(Exception):
    """Base of all errors of this package that a user can cause.

    reason: the name under which errors of images are counted (bad.<reason> in the diagnostics).
    """

    def __init__(self, message: str, reason: str = "rejected") -> None:
        super().__init__(message)
        self.reason = reason


class ConfigError(MoroError):
    """A configuration file, option or parameter is invalid."""


class CheckpointError(MoroError):
    """A weights file is missing, damaged or belongs to another network."""


class BodyModelError(MoroError):
    """A body model file is missing, damaged or has another topology."""


class CalibrationError(MoroError):
    """The camera calibration is missing or contradicts the image."""


class ImageError(MoroError):
    """An image cannot be used: unknown encoding, no pixels, wrong size."""


class DepthError(ImageError):
    """A depth image cannot be used; each reason is logged once."""


class VideoError(MoroError):
    """A video cannot be opened or has no frames."""


class AssetError(MoroError):
    """A model file or sample could not be downloaded or has a wrong checksum."""


class DataError(MoroError):
    """A data set is missing, damaged or not in its published layout."""


class RobotError(MoroError):
    """A robot_description cannot be used."""


class InstallationError(MoroError):
    """A required Python package, or the messages of this one, are not installed."""


# Names of pip packages that differ from their modules.
_DISTRIBUTIONS = {"cv2": "opencv-python-headless", "yaml": "PyYAML", "PIL": "pillow"}


def missing_module(error: ModuleNotFoundError) -> InstallationError:
    """Return an error with the remedy for a failed import."""
    name = (error.name or str(error)).split(".")[0]
    if name in ("moro_ros", "rclpy") or name.endswith(("_msgs", "_interfaces")):
        text = f"{error.name or name} is not installed: this is the library without ROS 2, or no "
        text += "ROS 2 with all dependencies of package.xml is sourced. "
        remedy = "To use the nodes, run make setup in a checkout, or with ROS 2 rosdep install, "
        remedy += "colcon build and . install/setup.bash. See docs/install.md."
    else:
        text = f"The Python package {name} is not installed. "
        distribution = _DISTRIBUTIONS.get(name, name.replace("_", "-"))
        remedy = (
            f"Install it as described in docs/install.md: python3 -m pip install {distribution}"
        )
    return InstallationError(text + remedy)
