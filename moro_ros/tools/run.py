"""`moro run`: the nodes of launch/moro.launch.py on a machine that has no `ros2 launch`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from moro_ros.errors import ConfigError
from moro_ros.resources import share_path
from moro_ros.tools.processes import Children, clean_environment, ros_arguments


def register(subparsers: Any) -> None:
    """Add the subcommand to the `moro` command."""
    parser = subparsers.add_parser(
        "run",
        help="start the ROS nodes where ros2 launch is not installed",
        description="Takes the arguments of launch/moro.launch.py; what follows --ros-args goes "
        "to moro_node as it is. Runs until Ctrl-C.",
    )
    topic = parser.add_argument_group("topics")
    topic.add_argument("--image", default="/camera/image_raw", help="sensor_msgs/Image")
    topic.add_argument("--camera-info", default="/camera/camera_info", help="of the same camera")
    topic.add_argument("--namespace", default="", help="namespace of the nodes")
    node = parser.add_argument_group("node")
    node.add_argument("--params-file", type=Path, help="parameters (default: config/moro.yaml)")
    node.add_argument("--model", help="name or folder of the model")
    node.add_argument("--device", help="torch device: cpu, cuda or cuda:N")
    node.add_argument("--use-sim-time", action="store_true", help="take the time from /clock")
    video = parser.add_argument_group("video as the camera")
    video.add_argument("--video", type=Path, help="video file; needs --focal or --camera")
    video.add_argument("--focal", type=float, metavar="PX", help="focal length in pixels")
    video.add_argument("--camera", type=Path, metavar="FILE", help="calibration: YAML or TOML")
    video.add_argument("--rate", type=float, metavar="HZ", help="frames per second to play at")
    video.add_argument("--loop", action="store_true", help="play again and again")
    parser.add_argument("--ros-args", nargs=argparse.REMAINDER, default=[], help="for moro_node")
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace) -> int:
    """Start the nodes and wait; returns the exit status.

    Raises: ConfigError for arguments that do not fit together, ProcessError if a node dies.
    """
    node, video = node_arguments(arguments), video_arguments(arguments)
    with Children(clean_environment(os.environ), logs=None) as children:
        running = children.start("moro_node", "moro_ros.ros.node", node)
        if video:
            children.start("moro_video", "moro_ros.ros.video_source", video)
        try:
            while running.status is None:
                children.wait(0.5)
        except KeyboardInterrupt:
            return 0
    return 0


def node_arguments(arguments: argparse.Namespace) -> list[str]:
    """Command line of moro_node."""
    parameters_file = arguments.params_file or share_path("config", "moro.yaml")
    if not parameters_file.is_file():
        raise ConfigError(f"No parameter file at {parameters_file}; see --params-file.")
    chosen = {
        name: getattr(arguments, name)
        for name in ("model", "device")
        if getattr(arguments, name) is not None
    }
    words = ["--ros-args", "--params-file", str(parameters_file)]
    words += ros_arguments(chosen | _clock(arguments), _names(arguments))
    return words + (["--ros-args", *arguments.ros_args] if arguments.ros_args else [])


def video_arguments(arguments: argparse.Namespace) -> list[str]:
    """Command line of moro_video; empty without a video. Raises: ConfigError."""
    options = {name: getattr(arguments, name) for name in ("focal", "camera", "rate")}
    given = {name: value for name, value in options.items() if value is not None}
    if arguments.video is None:
        if given or arguments.loop:
            raise ConfigError("--focal, --camera, --rate and --loop belong to --video PATH.")
        return []
    parameters: dict[str, object] = {"video": str(arguments.video.resolve()), **given}
    if "camera" in given:
        parameters["camera"] = str(arguments.camera.resolve())
    parameters |= {"loop": arguments.loop} | _clock(arguments)
    return ros_arguments(parameters, _names(arguments))


def _names(arguments: argparse.Namespace) -> dict[str, str]:
    names = {"image": arguments.image, "camera_info": arguments.camera_info}
    return names | ({"__ns": _absolute(arguments.namespace)} if arguments.namespace else {})


def _absolute(namespace: str) -> str:
    return "/" + namespace.strip("/")


def _clock(arguments: argparse.Namespace) -> dict[str, object]:
    return {"use_sim_time": True} if arguments.use_sim_time else {}
