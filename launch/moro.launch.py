"""Start moro_node and, on request, a video as the camera and RViz.

ros2 launch moro_ros moro.launch.py image:=/camera/image_raw camera_info:=/camera/camera_info
ros2 launch moro_ros moro.launch.py video:=walk.mp4 focal:=1400 rviz:=true
"""

from pathlib import Path

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription

SHARE = Path(__file__).resolve().parents[1]

# Name: (default, description).
ARGUMENTS = {
    "image": ("/camera/image_raw", "Topic of sensor_msgs/Image"),
    "camera_info": ("/camera/camera_info", "Topic of the same camera's sensor_msgs/CameraInfo"),
    "namespace": ("", "Namespace of the nodes; humans come on NAMESPACE/moro/humans"),
    "params_file": (str(SHARE / "config" / "moro.yaml"), "Parameters of moro_node"),
    "model": ("", "Name or folder of the model; empty: as in params_file"),
    "device": ("", "Torch device: cpu, cuda or cuda:N; empty: as in params_file"),
    "use_sim_time": ("false", "Take the time from /clock, as for a bag played with --clock"),
    "rviz": ("false", "Start RViz (package rviz2) with rviz/moro.rviz"),
    "video": ("", "Video file to play as the camera; needs focal or camera"),
    "focal": ("", "Focal length of the video [px]"),
    "camera": ("", "Calibration file of the video: ROS camera_info YAML, or TOML"),
    "rate": ("", "Frames per second to play the video at; empty: its own rate"),
    "loop": ("false", "Play the video again and again"),
}


def switch(name: str, given: dict[str, str]) -> bool:
    """The truth of a launch argument; raises ValueError for anything but true or false."""
    words = {"true": True, "1": True, "false": False, "0": False}
    text = given[name].lower()
    if text not in words:
        raise ValueError(f"{name}: got '{given[name]}', expected true or false.")
    return words[text]


def start_nodes(context: LaunchContext) -> list[Node]:
    """The nodes that the arguments ask for."""
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    topics = [("image", given["image"]), ("camera_info", given["camera_info"])]
    common = {"namespace": given["namespace"], "output": "screen"}
    clock = {"use_sim_time": switch("use_sim_time", given)}

    chosen = {name: given[name] for name in ("model", "device") if given[name]}
    nodes = [
        Node(
            package="moro_ros",
            executable="moro_node",
            name="moro",
            parameters=[given["params_file"], chosen | clock],
            remappings=topics,
            **common,
        )
    ]
    if given["video"]:
        video: dict[str, str | float | bool] = {
            "video": str(Path(given["video"]).expanduser().absolute()),
            "loop": switch("loop", given),
        }
        video |= {name: float(given[name]) for name in ("focal", "rate") if given[name]}
        if given["camera"]:
            video["camera"] = str(Path(given["camera"]).expanduser().absolute())
        nodes.append(
            Node(
                package="moro_ros",
                executable="moro_video",
                name="moro_video",
                parameters=[video],
                remappings=topics,
                **common,
            )
        )
    if switch("rviz", given):
        # The displays of moro.rviz name these topics.
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


def generate_launch_description() -> LaunchDescription:
    """Called by ros2 launch."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start_nodes)])
