"""Start moro_node and, optionally, a video or a recording as the camera, and RViz.

ros2 launch moro_ros moro.launch.py image:=/camera/image_raw camera_info:=/camera/camera_info
ros2 launch moro_ros moro.launch.py params_file:=low_latency device:=cuda
ros2 launch moro_ros moro.launch.py video:=walk.mp4 focal:=1400 rviz:=true
ros2 launch moro_ros moro.launch.py bag:=walk image:=/camera/image_raw
ros2 launch moro_ros moro.launch.py cameras:=front,side image:=image_raw camera_info:=camera_info

The arguments and what they start are those of `moro run` (moro_ros/cli/run.py).
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from launch import LaunchContext, LaunchDescription
from moro_ros.cli.run import ARGUMENTS, NodeToRun, nodes_to_run, value_of


def start_nodes(context: LaunchContext) -> list[Node]:
    """Return the nodes that the arguments select; raises ConfigError for wrong ones."""
    texts = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    given = {name: value_of(name, text) for name, text in texts.items()}
    return [action_of(node, given["namespace"]) for node in nodes_to_run(given)]


def action_of(node: NodeToRun, namespace: str) -> Node:
    """Return the launch action that starts a node."""
    main = node.executable == "moro_node"
    kind, ended = (LifecycleNode, {"on_exit": end_of_node}) if main else (Node, {})
    files = [] if node.params_file is None else [str(node.params_file)]
    return kind(
        package="moro_ros" if node.module else node.executable,
        executable=node.executable,
        name=node.name,
        namespace=namespace,
        parameters=[*files, *([node.parameters] if node.parameters else [])],
        remappings=list(node.remappings.items()),
        arguments=list(node.arguments),
        output="screen",
        **ended,
    )


def end_of_node(event: ProcessExited, context: LaunchContext) -> None:
    """Stop everything with exit code 1 if moro_node failed; its log says why."""
    if event.returncode != 0 and not context.is_shutdown:
        raise RuntimeError(
            f"moro_node ended with exit code {event.returncode}; see its last message above."
        )


def text_of(default: str | bool | None) -> str:
    """Return the default of an argument as launch writes it."""
    return str(default).lower() if isinstance(default, bool) else default or ""


def generate_launch_description() -> LaunchDescription:
    """Return the launch description; called by ros2 launch."""
    arguments = [
        DeclareLaunchArgument(
            name, default_value=text_of(argument.default), description=argument.description
        )
        for name, argument in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start_nodes)])
