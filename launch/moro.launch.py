"""Start moro_node and, optionally, a video or a recording as the camera, and RViz.

ros2 launch moro_ros moro.launch.py image:=/camera/image_raw camera_info:=/camera/camera_info
ros2 launch moro_ros moro.launch.py params_file:=low_latency device:=cuda
ros2 launch moro_ros moro.launch.py video:=walk.mp4 focal:=1400 rviz:=true
ros2 launch moro_ros moro.launch.py bag:=walk image:=/camera/image_raw
ros2 launch moro_ros moro.launch.py cameras:=front,side image:=image_raw camera_info:=camera_info
"""

from pathlib import Path
from typing import Any

import yaml
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from launch import LaunchContext, LaunchDescription

SHARE = Path(__file__).resolve().parents[1]

# Name: (default, description).
ARGUMENTS = {
    "image": ("/camera/image_raw", "Topic of sensor_msgs/Image"),
    "camera_info": ("/camera/camera_info", "Topic of the camera's sensor_msgs/CameraInfo"),
    "namespace": ("", "Namespace of the nodes; people are published on NAMESPACE/moro/humans"),
    "cameras": (
        "",
        "Comma-separated names of several cameras. Each gets a node in NAMESPACE/NAME; all share "
        "one loaded network. image and camera_info are then relative names, such as image_raw",
    ),
    "params_file": (
        "moro",
        "Parameter file of moro_node, or the name of a preset under config/: moro, low_latency, "
        "accurate, multi_person, cpu",
    ),
    "model": ("", "Name or folder of the model. Overrides params_file"),
    "device": ("", "Torch device: cpu, cuda or cuda:N. Overrides params_file"),
    "backend": ("", "Inference backend: auto, torch or onnx. Overrides params_file"),
    "parameters": (
        "",
        "Single parameters of moro_node as YAML. Overrides all other parameters: "
        "'{max_people: 2, motion.look_ahead: 4}'",
    ),
    "autostart": (
        "true",
        "Configure and activate the node at startup. If false, wait for lifecycle transitions",
    ),
    "use_sim_time": ("false", "Use the time of /clock. Always true with bag"),
    "rviz": ("false", "Start RViz (package rviz2) with rviz/moro.rviz"),
    "video": ("", "Video file to play as the camera. Requires focal or camera"),
    "focal": ("", "Focal length of the video [px]"),
    "camera": ("", "Calibration file of the video: ROS camera_info YAML, or TOML"),
    "rate": ("", "Rate at which to play the video [Hz]. Empty uses the times of the video"),
    "bag": ("", "Folder of a rosbag2 recording to play, with its clock"),
    "speed": ("1.0", "Speed of the bag relative to its recording"),
    "loop": ("false", "Repeat the video or the bag"),
}


def switch(name: str, given: dict[str, str]) -> bool:
    """Return a launch argument as bool; raises ValueError for anything but true or false."""
    words = {"true": True, "1": True, "false": False, "0": False}
    text = given[name].lower()
    if text not in words:
        raise ValueError(f"{name}: got '{given[name]}', expected true or false.")
    return words[text]


def params_file(text: str) -> str:
    """Return the parameter file of a path or preset; raises ValueError if there is none."""
    preset = SHARE / "config" / f"{text}.yaml"
    path = preset if preset.is_file() else Path(text).expanduser().absolute()
    if not path.is_file():
        raise ValueError(f"params_file: got '{text}', expected a file or a name under config/.")
    return str(path)


def single_parameters(text: str) -> dict[str, Any]:
    """Return the parameters in a YAML text; raises ValueError if it is not a mapping."""
    try:
        values = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"parameters: got '{text}', which is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(
            f"parameters: got '{text}', expected a mapping such as '{{max_people: 2}}'."
        )
    return values


def start_nodes(context: LaunchContext) -> list[Node]:
    """Return the nodes that the arguments select."""
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    if given["video"] and given["bag"]:
        raise ValueError("video and bag cannot be combined: each is the camera.")
    topics = [("image", given["image"]), ("camera_info", given["camera_info"])]
    common = {"namespace": given["namespace"], "output": "screen"}
    clock = {"use_sim_time": switch("use_sim_time", given) or bool(given["bag"])}

    chosen = {
        name: given[name] for name in ("model", "device", "backend", "cameras") if given[name]
    }
    chosen["autostart"] = switch("autostart", given)
    nodes: list[Node] = [
        LifecycleNode(
            package="moro_ros",
            executable="moro_node",
            name="moro",
            parameters=[
                params_file(given["params_file"]),
                chosen | clock | single_parameters(given["parameters"]),
            ],
            remappings=topics,
            on_exit=end_of_node,
            **common,
        )
    ]
    if given["video"]:
        nodes.append(video_node(given, clock, topics, common))
    if given["bag"]:
        bag = {"bag": str(Path(given["bag"]).expanduser().absolute())}
        played = {"speed": float(given["speed"]), "loop": switch("loop", given)}
        played["wait_for_nodes"] = ",".join(node_names(given))
        nodes.append(
            Node(
                package="moro_ros",
                executable="moro_bag",
                name="moro_bag",
                parameters=[bag | played],
                **common,
            )
        )
    if switch("rviz", given):
        # moro.rviz uses these topics.
        shown = [("/camera/image_raw", given["image"]), ("/moro/markers", "moro/markers")]
        nodes.append(
            Node(
                package="rviz2",
                executable="rviz2",
                name="moro_rviz",
                arguments=["-d", str(SHARE / "rviz" / "moro.rviz")],
                parameters=[clock],
                remappings=shown,
                **common,
            )
        )
    return nodes


def node_names(given: dict[str, str]) -> list[str]:
    """Return the full names of the nodes that moro_node creates."""
    cameras = [name.strip() for name in given["cameras"].split(",") if name.strip()]
    space = given["namespace"].strip("/")
    return ["/" + "/".join(filter(None, [space, name, "moro"])) for name in cameras or [""]]


def end_of_node(event: ProcessExited, context: LaunchContext) -> None:
    """Stop everything with exit code 1 if moro_node failed; its log says why."""
    if event.returncode != 0 and not context.is_shutdown:
        raise RuntimeError(
            f"moro_node ended with exit code {event.returncode}; see its last message above."
        )


def video_node(given: dict[str, str], clock: dict, topics: list, common: dict) -> Node:
    """Return the node that plays a video as the camera."""
    video: dict[str, str | float | bool] = {
        "video": str(Path(given["video"]).expanduser().absolute()),
        "loop": switch("loop", given),
    }
    video |= {name: float(given[name]) for name in ("focal", "rate") if given[name]}
    if given["camera"]:
        video["camera"] = str(Path(given["camera"]).expanduser().absolute())
    return Node(
        package="moro_ros",
        executable="moro_video",
        name="moro_video",
        parameters=[video | clock],
        remappings=topics,
        **common,
    )


def generate_launch_description() -> LaunchDescription:
    """Return the launch description; called by ros2 launch."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start_nodes)])
