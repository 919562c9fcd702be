"""Start the example with simulated people: ros2 launch moro_ros follow_wrist.launch.py."""

from launch import LaunchDescription
from moro_ros.ros.examples.description import describe


def generate_launch_description() -> LaunchDescription:
    """Return the launch description; called by ros2 launch."""
    return describe("follow_wrist", scene="handover")
