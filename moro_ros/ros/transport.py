"""Transport of images: shared memory in Fast DDS, how many arrive, what to do if many do not."""

from __future__ import annotations

import os
import sys
from collections import deque

import rclpy
from rclpy._rclpy_pybind11 import RCLError, UnknownROSArgsError
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import get_rmw_implementation_identifier

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


# Seconds, and periods of `tend`, that are judged together.
PERIODS = 10
# Minimum number and share of lost images that are reported.
LEAST_LOST, LEAST_SHARE = 3, 0.1


class Transport:
    """Counts the images of the last PERIODS periods that arrived and that were lost."""

    def __init__(self) -> None:
        self._periods: deque[list[int]] = deque([[0, 0]], maxlen=PERIODS)

    def came(self) -> None:
        """Count an image that arrived."""
        self._periods[-1][0] += 1

    def lost(self, images: int) -> None:
        """Count images that the middleware reports as lost."""
        self._periods[-1][1] += images

    def next_period(self) -> None:
        """Begin a new period."""
        self._periods.append([0, 0])

    def restart(self) -> None:
        """Reset the counts, as after a change of the subscription."""
        self._periods.clear()
        self.next_period()

    @property
    def loss(self) -> str:
        """The share that arrives, in words; empty unless many images are lost."""
        received, lost = (sum(period[i] for period in self._periods) for i in (0, 1))
        if lost < max(LEAST_LOST, LEAST_SHARE * (received + lost)):
            return ""
        return f"received {received} of {received + lost} images, the rest was lost in transport"


def profile_hint() -> str:
    """The setting of the current middleware that makes room for large images."""
    if "fastrtps" not in get_rmw_implementation_identifier():
        return "give the sockets more room (sysctl net.core.rmem_max)"
    return (
        "start the driver with FASTDDS_DEFAULT_PROFILES_FILE (up to Jazzy: "
        f"FASTRTPS_DEFAULT_PROFILES_FILE) set to {share_path('config', 'fastdds_images.xml')}"
    )


def remedy(asked_reliable: bool, offered_reliable: bool, compressed: bool) -> str:
    """The remedy for lost images, in one sentence.

    asked_reliable: by this node; offered_reliable: by every publisher; compressed: the images are.
    """
    ways = []
    if not asked_reliable and offered_reliable:
        ways.append("set image_reliability to auto or reliable")
    elif not offered_reliable:
        ways.append("have the driver publish reliable images (it is best effort)")
    ways.append(profile_hint())
    if not compressed:
        ways.append("set image_transport to compressed")
    return f"To get all: {', or '.join(ways)}."
