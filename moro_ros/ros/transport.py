"""Transport of images: shared memory in Fast DDS, and the detection of lost images."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path

import rclpy
from rclpy._rclpy_pybind11 import RCLError, UnknownROSArgsError
from rclpy.duration import Duration
from rclpy.publisher import Publisher
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import get_rmw_implementation_identifier, remove_ros_args

from moro_ros.errors import ConfigError
from moro_ros.resources import share_path

# Fast DDS of Jazzy reads the first name, newer versions the second.
_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")

HELP = """\
Usage: {name} [--ros-args [-p NAME:=VALUE]... [-r FROM:=TO]... [--params-file FILE]]

Parameters and topics: docs/interface.md for moro_node, docs/distance.md for moro_distance,
docs/commands.md for the other nodes. While a node runs, `ros2 param describe` shows them, too.
"""


def use_image_profile() -> None:
    """Let this process send large messages through shared memory; call it before rclpy.init.

    The size of the publisher's segment matters: with the default, a full image is sent in UDP
    fragments, of which a best-effort subscriber loses 90 %. A profile set by the user is kept.
    """
    if not any(os.environ.get(name) for name in _VARIABLES):
        path = str(share_path("config", "fastdds_images.xml"))
        os.environ.update(dict.fromkeys(_VARIABLES, path))


def init_ros(args: list[str] | None = None) -> None:
    """Initialise rclpy with a command line (None for sys.argv), without signal handlers.

    With --help in sys.argv, it prints HELP and exits instead.

    Raises: ConfigError if ROS cannot parse the arguments or a parameter file, and for arguments in
    sys.argv that are not ROS arguments, which would have no effect.
    """
    use_image_profile()
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except (RCLError, UnknownROSArgsError) as error:
        # rcl appends the locations in its source code, one per layer.
        words = str(error).split(", at /")[0].removeprefix("failed to initialize rcl: ")
        if isinstance(error, UnknownROSArgsError):
            words = f"unknown ROS arguments {error}"
        given = " ".join(sys.argv[1:] if args is None else args)
        raise ConfigError(
            f"ROS cannot read the command line '{given}': {words.rstrip('.')}. Expected "
            "'-p NAME:=VALUE' with a value in YAML, or '--params-file FILE' with a YAML file."
        ) from error
    if args is None and (others := remove_ros_args()[1:]):
        rclpy.shutdown()
        if {"-h", "--help"} & set(others):
            sys.stdout.write(HELP.format(name=Path(sys.argv[0]).stem))
            sys.exit(0)
        raise ConfigError(
            f"Got '{' '.join(others)}', expected ROS arguments only: --ros-args followed by "
            "'-p NAME:=VALUE', '-r FROM:=TO' or '--params-file FILE'. See --help."
        )


# Time for the last messages to arrive [s]: the maximum, and that for best-effort subscribers.
ACKNOWLEDGE_TIMEOUT_S = 5.0
ARRIVAL_S = 0.5


def wait_for_arrival(publishers: Iterable[Publisher], stop: threading.Event) -> None:
    """Wait until the last messages have arrived, which are lost if the process ends before."""
    end_s = time.monotonic() + ACKNOWLEDGE_TIMEOUT_S
    for publisher in publishers:
        if not stop.is_set():
            publisher.wait_for_all_acked(Duration(seconds=max(0.0, end_s - time.monotonic())))
    # Best-effort subscribers do not acknowledge messages.
    stop.wait(ARRIVAL_S)


# Periods of `tend` (1 s) that are evaluated together.
PERIODS = 10
# Minimum number and share of lost images for a report.
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
        """Start a new period."""
        self._periods.append([0, 0])

    def restart(self) -> None:
        """Reset the counts, for instance after a change of the subscription."""
        self._periods.clear()
        self.next_period()

    @property
    def loss(self) -> str:
        """A text of the share that arrives; empty unless many images are lost."""
        received, lost = (sum(period[i] for period in self._periods) for i in (0, 1))
        if lost < max(LEAST_LOST, LEAST_SHARE * (received + lost)):
            return ""
        return f"received {received} of {received + lost} images, the rest was lost in transport"


def profile_hint() -> str:
    """The setting of the current middleware for large images."""
    if "fastrtps" not in get_rmw_implementation_identifier():
        return "increase the socket buffers (sysctl net.core.rmem_max)"
    return (
        "start the driver with FASTDDS_DEFAULT_PROFILES_FILE (up to Jazzy: "
        f"FASTRTPS_DEFAULT_PROFILES_FILE) set to {share_path('config', 'fastdds_images.xml')}"
    )


def remedy(asked_reliable: bool, offered_reliable: bool, compressed: bool) -> str:
    """The remedy for lost images, in one sentence.

    asked_reliable: requested by this node; offered_reliable: offered by every publisher;
    compressed: whether the images are compressed.
    """
    ways = []
    if not asked_reliable and offered_reliable:
        ways.append("set image_reliability to auto or reliable")
    elif not offered_reliable:
        ways.append("configure the driver to publish reliable images (it is best effort)")
    ways.append(profile_hint())
    if not compressed:
        ways.append("set image_transport to compressed")
    return f"To receive all images: {', or '.join(ways)}."
