"""`moro run`: the nodes of launch/moro.launch.py on a machine that has no `ros2 launch`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import yaml

from moro_ros.cli.processes import Children, clean_environment, ros_arguments
from moro_ros.errors import ConfigError
from moro_ros.resources import share_path

RVIZ = "rviz2"


def register(subparsers: Any) -> None:
    """Add the subcommand to the `moro` command."""
    parser = subparsers.add_parser(
        "run",
        help="start the ROS nodes without ros2 launch",
        description="Accepts the arguments of launch/moro.launch.py. Arguments after "
        "--ros-args are passed to moro_node. Runs until Ctrl-C.",
    )
    topic = parser.add_argument_group("topics")
    topic.add_argument("--image", default="/camera/image_raw", help="sensor_msgs/Image")
    topic.add_argument(
        "--camera-info", default="/camera/camera_info", help="sensor_msgs/CameraInfo of the camera"
    )
    topic.add_argument("--namespace", default="", help="namespace of the nodes")
    topic.add_argument(
        "--cameras",
        default="",
        help="comma-separated names of several cameras. Each gets a node in NAMESPACE/NAME; "
        "all share one loaded network. --image and --camera-info are then relative names, "
        "such as image_raw",
    )
    node = parser.add_argument_group("node")
    node.add_argument(
        "--params-file",
        default="moro",
        metavar="FILE",
        help="parameter file, or the name of a preset under config/: moro (default), "
        "low_latency, accurate, multi_person, cpu",
    )
    node.add_argument("--model", help="name or folder of the model; overrides --params-file")
    node.add_argument("--device", help="torch device: cpu, cuda or cuda:N")
    node.add_argument("--backend", help="inference backend: auto, torch or onnx")
    node.add_argument(
        "--parameters",
        default="",
        metavar="YAML",
        help="single parameters as YAML, which override all others: '{max_people: 2}'",
    )
    node.add_argument(
        "--autostart",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="configure and activate the node at startup; otherwise wait for transitions "
        "(moro_lifecycle /moro configure)",
    )
    node.add_argument(
        "--use-sim-time", action="store_true", help="use the time of /clock; always with --bag"
    )
    node.add_argument("--rviz", action="store_true", help="start RViz")
    video = parser.add_argument_group("video or recording as the camera")
    video.add_argument("--video", type=Path, help="video file; needs --focal or --camera")
    video.add_argument("--focal", type=float, metavar="PX", help="focal length in pixels")
    video.add_argument("--camera", type=Path, metavar="FILE", help="calibration file: YAML or TOML")
    video.add_argument(
        "--rate",
        type=float,
        metavar="HZ",
        help="rate at which to play the video, in frames per second",
    )
    video.add_argument("--bag", type=Path, help="folder of a rosbag2 recording")
    video.add_argument("--speed", type=float, help="speed of the bag relative to its recording")
    video.add_argument("--loop", action="store_true", help="repeat the video or the bag")
    parser.add_argument("--ros-args", nargs=argparse.REMAINDER, default=[], help="for moro_node")
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace) -> int:
    """Start the nodes and wait; returns the exit status.

    Raises: ConfigError for arguments that do not fit together, ProcessError if a node dies.
    """
    node, video = node_arguments(arguments), video_arguments(arguments)
    bag, rviz = bag_arguments(arguments), rviz_arguments(arguments)
    with Children(clean_environment(os.environ), logs=None) as children:
        running = children.start("moro_node", "moro_ros.ros.node", node)
        if video:
            children.start("moro_video", "moro_ros.ros.video_source", video)
        if bag:
            children.start("moro_bag", "moro_ros.ros.bag_source", bag)
        if rviz:
            children.start_program(RVIZ, rviz)
        try:
            while running.status is None:
                children.wait(0.5)
        except KeyboardInterrupt:
            return 0
    return 0


def params_file(text: str) -> Path:
    """The parameter file of a path or of a preset's name; raises ConfigError if there is none."""
    for path in (share_path("config", f"{text}.yaml"), Path(text).expanduser()):
        if path.is_file():
            return path
    presets = ", ".join(sorted(path.stem for path in share_path("config").glob("*.yaml")))
    raise ConfigError(f"No parameter file at {text}; expected a path or one of {presets}.")


def single_parameters(text: str) -> dict[str, object]:
    """The parameters that a text names; raises ConfigError if it is no mapping of YAML."""
    try:
        values = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"--parameters: got '{text}', which is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(
            f"--parameters: got '{text}', expected a mapping such as '{{max_people: 2}}'."
        )
    return values


def node_arguments(arguments: argparse.Namespace) -> list[str]:
    """Command line of moro_node."""
    names = ("model", "device", "backend", "cameras")
    chosen: dict[str, object] = {
        name: getattr(arguments, name) for name in names if getattr(arguments, name)
    }
    if not arguments.autostart:
        chosen["autostart"] = False
    words = ["--ros-args", "--params-file", str(params_file(arguments.params_file))]
    chosen |= _clock(arguments) | single_parameters(arguments.parameters)
    words += ros_arguments(chosen, _names(arguments))
    return words + (["--ros-args", *arguments.ros_args] if arguments.ros_args else [])


def video_arguments(arguments: argparse.Namespace) -> list[str]:
    """Command line of moro_video; empty without a video. Raises: ConfigError."""
    options = {name: getattr(arguments, name) for name in ("focal", "camera", "rate")}
    given = {name: value for name, value in options.items() if value is not None}
    if arguments.video is None:
        if given:
            raise ConfigError("--focal, --camera and --rate require --video PATH.")
        if arguments.loop and arguments.bag is None:
            raise ConfigError("--loop requires --video PATH or --bag PATH.")
        return []
    if arguments.bag is not None:
        raise ConfigError("--video and --bag cannot be combined: each is the camera.")
    parameters: dict[str, object] = {"video": str(arguments.video.resolve()), **given}
    if "camera" in given:
        parameters["camera"] = str(arguments.camera.resolve())
    parameters |= {"loop": arguments.loop} | _clock(arguments)
    return ros_arguments(parameters, _names(arguments))


def bag_arguments(arguments: argparse.Namespace) -> list[str]:
    """Command line of moro_bag; empty without a recording. Raises: ConfigError."""
    if arguments.bag is None:
        if arguments.speed is not None:
            raise ConfigError("--speed requires --bag PATH.")
        return []
    parameters: dict[str, object] = {"bag": str(arguments.bag.resolve()), "loop": arguments.loop}
    parameters["wait_for_nodes"] = ",".join(node_names(arguments))
    if arguments.speed is not None:
        parameters["speed"] = arguments.speed
    return ros_arguments(parameters)


def node_names(arguments: argparse.Namespace) -> list[str]:
    """Full names of the nodes that moro_node makes."""
    cameras = [name.strip() for name in arguments.cameras.split(",") if name.strip()]
    space = arguments.namespace.strip("/")
    return ["/" + "/".join(filter(None, [space, name, "moro"])) for name in cameras or [""]]


def rviz_arguments(arguments: argparse.Namespace) -> list[str]:
    """Command line of RViz; empty if it is not wanted."""
    if not arguments.rviz:
        return []
    # The displays of moro.rviz name these topics.
    topics = {"/camera/image_raw": arguments.image, "/moro/markers": "moro/markers"}
    names = {key: value for key, value in _names(arguments).items() if key == "__ns"}
    words = ros_arguments(_clock(arguments), topics | names)
    return ["-d", str(share_path("rviz", "moro.rviz")), *words]


def _names(arguments: argparse.Namespace) -> dict[str, str]:
    names = {"image": arguments.image, "camera_info": arguments.camera_info}
    return names | ({"__ns": _absolute(arguments.namespace)} if arguments.namespace else {})


def _absolute(namespace: str) -> str:
    return "/" + namespace.strip("/")


def _clock(arguments: argparse.Namespace) -> dict[str, object]:
    return {"use_sim_time": True} if arguments.use_sim_time or arguments.bag else {}
