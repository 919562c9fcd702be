"""What the launch files of the examples start."""

from __future__ import annotations

import sys

from launch.actions import DeclareLaunchArgument, ExecuteProcess
from launch.substitutions import LaunchConfiguration, PythonExpression

from launch import LaunchDescription  # type: ignore[attr-defined]
from moro_ros.live.synthetic_scenes import SCENES


def describe(example: str, scene: str) -> LaunchDescription:
    """Return a description that starts a camera, moro_node with simulated people and an example.

    example: a module of this package; scene: of the simulated people, unless the argument `scene`
    gives another. With `people:=camera` the images come from the user's camera.
    """
    scenes = ", ".join(SCENES)
    people = LaunchConfiguration("people")
    simulated = PythonExpression(["'", people, "' == 'synthetic'"])
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "people", default_value="synthetic", description="Source: synthetic or camera"
            ),
            DeclareLaunchArgument(
                "scene", default_value=scene, description=f"Scene of simulated people: {scenes}"
            ),
            module("moro_ros.ros.examples.blank_camera", condition=simulated),
            module(
                "moro_ros.ros.node",
                *("-p", ["people:=", people]),
                *("-p", ["synthetic_scene:=", LaunchConfiguration("scene")]),
            ),
            module(f"moro_ros.ros.examples.{example}"),
        ]
    )


def module(
    name: str, *ros_arguments: object, condition: PythonExpression | None = None
) -> ExecuteProcess:
    """Return the action that runs a node of this package as a Python module."""
    from launch.conditions import IfCondition

    words = ["--ros-args", *ros_arguments] if ros_arguments else []
    return ExecuteProcess(
        cmd=[sys.executable, "-m", name, *words],
        output="screen",
        condition=None if condition is None else IfCondition(condition),
    )
