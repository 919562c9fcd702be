"""`moro run`, and the arguments and nodes that launch/moro.launch.py shares with it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from moro_ros.cli.processes import Children, clean_environment, ros_arguments
from moro_ros.cli.view import check_view
from moro_ros.errors import ConfigError
from moro_ros.resources import share_path
from moro_ros.view.address import HOST, PORT

TOPICS, NODE, CAMERA = "topics", "node", "video or recording as the camera"


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument: its group in the help, type, default (None: not given) and description."""

    group: str
    kind: type
    default: Any
    description: str


ARGUMENTS = {
    "image": Argument(TOPICS, str, "/camera/image_raw", "Topic of sensor_msgs/Image"),
    "camera_info": Argument(
        TOPICS, str, "/camera/camera_info", "Topic of the camera's sensor_msgs/CameraInfo"
    ),
    "namespace": Argument(
        TOPICS, str, "", "Namespace of the nodes; people are published on NAMESPACE/moro/humans"
    ),
    "cameras": Argument(
        TOPICS,
        str,
        "",
        "Comma-separated names of several cameras. Each gets a node in NAMESPACE/NAME; all nodes "
        "share one network. image and camera_info are then relative names, such as image_raw",
    ),
    "params_file": Argument(
        NODE,
        str,
        "moro",
        "Parameter file of moro_node, or the name of a preset under config/: moro, low_latency, "
        "accurate, multi_person, cpu",
    ),
    "model": Argument(NODE, str, "", "Name or folder of the model. Overrides params_file"),
    "device": Argument(NODE, str, "", "Torch device: cpu, cuda or cuda:N. Overrides params_file"),
    "backend": Argument(
        NODE, str, "", "Inference backend: auto, torch or onnx. Overrides params_file"
    ),
    "parameters": Argument(
        NODE,
        str,
        "",
        "Single parameters of moro_node as YAML. Overrides all other parameters: "
        "'{max_people: 2, motion.look_ahead: 4}'",
    ),
    "autostart": Argument(
        NODE,
        bool,
        True,
        "Configure and activate the node at startup. If false, wait for lifecycle transitions",
    ),
    "use_sim_time": Argument(NODE, bool, False, "Use the time of /clock. Always true with bag"),
    "rviz": Argument(NODE, bool, False, "Start RViz (package rviz2) with rviz/moro.rviz"),
    "view": Argument(
        NODE, bool, False, "Show the people in the browser (docs/viewing.md). Needs viser"
    ),
    "view_port": Argument(NODE, int, PORT, "Port of the page that view shows"),
    "video": Argument(
        CAMERA, Path, None, "Video file to play as the camera. Requires focal or camera"
    ),
    "focal": Argument(CAMERA, float, None, "Focal length of the video [px]"),
    "camera": Argument(
        CAMERA, Path, None, "Calibration file of the video: ROS camera_info YAML, or TOML"
    ),
    "rate": Argument(
        CAMERA, float, None, "Rate at which to play the video [Hz]. Default: the video's own times"
    ),
    "bag": Argument(CAMERA, Path, None, "Folder of a rosbag2 recording to play, with its clock"),
    "speed": Argument(CAMERA, float, None, "Speed of the bag relative to its recording"),
    "loop": Argument(CAMERA, bool, False, "Repeat the video or the bag"),
}


@dataclass(frozen=True, slots=True)
class NodeToRun:
    """A node: its executable and name, its Python module, and its arguments.

    module: empty for a program of another package. arguments: before those of ROS.
    """

    executable: str
    name: str
    module: str
    parameters: dict[str, Any]
    remappings: dict[str, str] = field(default_factory=dict)
    params_file: Path | None = None
    arguments: tuple[str, ...] = ()

    def command_line(self, namespace: str) -> list[str]:
        """Return the words after the executable."""
        words = list(self.arguments)
        if self.params_file is not None:
            words += ["--ros-args", "--params-file", str(self.params_file)]
        space = {"__ns": "/" + namespace.strip("/")} if namespace else {}
        return words + ros_arguments(self.parameters, self.remappings | space)


def nodes_to_run(given: Mapping[str, Any]) -> list[NodeToRun]:
    """Return the nodes that the values of ARGUMENTS select, moro_node first.

    Raises: ConfigError for values that do not fit together.
    """
    check(given)
    clock = {"use_sim_time": True} if given["use_sim_time"] or given["bag"] else {}
    topics = {"image": given["image"], "camera_info": given["camera_info"]}
    chosen = {name: given[name] for name in ("model", "device", "backend", "cameras")}
    chosen = {name: value for name, value in chosen.items() if value} | clock
    if not given["autostart"]:
        chosen["autostart"] = False
    chosen |= single_parameters(given["parameters"])
    file = params_file(given["params_file"])
    nodes = [NodeToRun("moro_node", "moro", "moro_ros.ros.node", chosen, topics, file)]
    if given["video"]:
        video = chosen_of(given, "video", "camera", "focal", "rate", "loop")
        module = "moro_ros.ros.video_source"
        nodes.append(NodeToRun("moro_video", "moro_video", module, video | clock, topics))
    if given["bag"]:
        bag = chosen_of(given, "bag", "speed", "loop")
        bag["wait_for_nodes"] = ",".join(node_names(given["namespace"], given["cameras"]))
        nodes.append(NodeToRun("moro_bag", "moro_bag", "moro_ros.ros.bag_source", bag))
    if given["rviz"]:
        # The displays of moro.rviz use these topics.
        shown = {"/camera/image_raw": given["image"], "/moro/markers": "moro/markers"}
        displays = ("-d", str(share_path("rviz", "moro.rviz")))
        nodes.append(NodeToRun("rviz2", "moro_rviz", "", clock, shown, arguments=displays))
    if given["view"]:
        page = {"port": given["view_port"], "browser": True} | clock
        shown = topics | {"humans": "moro/humans"}
        nodes.append(NodeToRun("moro_view", "moro_view", "moro_ros.ros.view_node", page, shown))
    return nodes


def check(given: Mapping[str, Any]) -> None:
    """Raises: ConfigError for arguments that do not fit together."""
    if given["video"] and given["bag"]:
        raise ConfigError("video and bag cannot be combined: each is the camera.")
    if given["view"] and given["cameras"]:
        raise ConfigError(
            "view shows one camera: start moro view --live --topic NAMESPACE/NAME/moro/humans for "
            "each of several."
        )
    if given["view"]:
        check_view(HOST, given["view_port"], "--view-port")
    calibrations = (given["focal"] is not None) + (given["camera"] is not None)
    if given["video"] and calibrations != 1:
        raise ConfigError(
            "video requires either focal, the focal length in pixels, or camera, a calibration "
            f"file; got {('neither', 'both')[calibrations // 2]}."
        )
    for names, needed in (
        (("focal", "camera", "rate"), ("video",)),
        (("speed",), ("bag",)),
        (("loop",), ("video", "bag")),
    ):
        for name in names:
            if given[name] and not any(given[other] for other in needed):
                raise ConfigError(f"{name} requires {' or '.join(needed)}: give its path.")


def chosen_of(given: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return the given values, paths as absolute text."""
    values = {name: given[name] for name in names if given[name] is not None}
    return {
        name: str(value.expanduser().resolve()) if isinstance(value, Path) else value
        for name, value in values.items()
    }


def value_of(name: str, text: str) -> Any:
    """Return the value of an argument given as text, empty if it is not given.

    Raises: ConfigError for text that is not of the argument's type.
    """
    argument = ARGUMENTS[name]
    if not text:
        return argument.default
    if argument.kind is bool:
        words = {"true": True, "1": True, "false": False, "0": False}
        if text.lower() not in words:
            raise ConfigError(f"{name}: got '{text}', expected true or false.")
        return words[text.lower()]
    try:
        return argument.kind(text)
    except ValueError as error:
        raise ConfigError(f"{name}: got '{text}', expected a number.") from error


def params_file(text: str) -> Path:
    """Return the parameter file of a path or a preset; raises ConfigError if there is none."""
    # The folder also has training recipes.
    files = sorted(share_path("config").glob("*.yaml"))
    presets = {file.stem: file for file in files if "ros__parameters" in file.read_text()}
    path = presets.get(text, Path(text).expanduser().absolute())
    if not path.is_file():
        names = ", ".join(presets)
        raise ConfigError(f"params_file: got '{text}', expected a file or one of {names}.")
    return path


def single_parameters(text: str) -> dict[str, Any]:
    """Return the parameters in a YAML text; raises ConfigError if it is not a mapping."""
    try:
        values = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"parameters: got '{text}', which is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(
            f"parameters: got '{text}', expected a mapping such as '{{max_people: 2}}'."
        )
    return values


def node_names(namespace: str, cameras: str) -> list[str]:
    """Return the full names of the nodes that moro_node creates."""
    names = [name.strip() for name in cameras.split(",") if name.strip()] or [""]
    space = namespace.strip("/")
    return ["/" + "/".join(filter(None, [space, name, "moro"])) for name in names]


def register(subparsers: Any) -> None:
    """Add the subcommand to the `moro` command."""
    parser = subparsers.add_parser(
        "run",
        help="start the ROS nodes without ros2 launch",
        description="Accepts the arguments of launch/moro.launch.py. Arguments after "
        "--ros-args are passed to moro_node. Runs until Ctrl-C.",
    )
    groups = {name: parser.add_argument_group(name) for name in (TOPICS, NODE, CAMERA)}
    for name, argument in ARGUMENTS.items():
        groups[argument.group].add_argument(
            "--" + name.replace("_", "-"),
            default=argument.default,
            help=argument.description,
            **(
                {"action": argparse.BooleanOptionalAction}
                if argument.kind is bool
                else {"type": argument.kind}
            ),
        )
    parser.add_argument("--ros-args", nargs=argparse.REMAINDER, default=[], help="for moro_node")
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace) -> int:
    """Start the nodes and wait; returns the exit status.

    Raises: ConfigError for arguments that do not fit together, ProcessError if a node dies.
    """
    nodes = nodes_to_run(vars(arguments))
    more = ["--ros-args", *arguments.ros_args] if arguments.ros_args else []
    with Children(clean_environment(os.environ), logs=None) as children:
        for node in nodes:
            words = node.command_line(arguments.namespace)
            if node is nodes[0]:
                running = children.start(node.executable, node.module, words + more)
            elif node.module:
                children.start(node.executable, node.module, words)
            else:
                children.start_program(node.executable, words)
        try:
            while running.status is None:
                children.wait(0.5)
        except KeyboardInterrupt:
            return 0
    return 0
