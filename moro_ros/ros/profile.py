"""How a process of this package joins ROS: Fast DDS's shared memory for images, then rclpy."""

from __future__ import annotations

import os
import sys

import rclpy
from rclpy._rclpy_pybind11 import RCLError, UnknownROSArgsError
from rclpy.signals import SignalHandlerOptions

from moro_ros.errors import ConfigError
from moro_ros.resources import share_path

# Jazzy's Fast DDS reads the first name, newer ones the second.
_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


def use_image_profile() -> None:
    """Make this process send large messages through shared memory; call it before rclpy.init.

    The publisher's segment decides: with the default one a full image goes in UDP fragments, of
    which a best-effort subscriber loses 90 %. A profile that the user has set is left alone.
    """
    if not any(os.environ.get(name) for name in _VARIABLES):
        path = str(share_path("config", "fastdds_images.xml"))
        os.environ.update(dict.fromkeys(_VARIABLES, path))


def init_ros(args: list[str] | None = None) -> None:
    """Initialise rclpy with a command line, sys.argv where that is None; signals stay ours.

    Raises: ConfigError if ROS cannot read the arguments or a parameter file named there.
    """
    use_image_profile()
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except (RCLError, UnknownROSArgsError) as error:
        # rcl adds where in its sources it noticed, one place per layer.
        words = str(error).split(", at /")[0].removeprefix("failed to initialize rcl: ")
        if isinstance(error, UnknownROSArgsError):
            words = f"unknown ROS arguments {error}"
        given = " ".join(sys.argv[1:] if args is None else args)
        raise ConfigError(
            f"ROS cannot read the command line '{given}': {words.rstrip('.')}. Expected "
            "'-p NAME:=VALUE' with a value in YAML, or '--params-file FILE' with a YAML file."
        ) from error
