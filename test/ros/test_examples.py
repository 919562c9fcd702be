"""The example nodes as processes: they act on people in view and stop when the news ends."""

from __future__ import annotations

import ast
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped, Twist
from moro_ros.msg import Human, HumanArray, HumanJoint, HumanTarget, HumanTargets
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image, JointState

import moro_ros

FOLDER = Path(moro_ros.__file__).parent / "ros" / "examples"
NODES = ("stop_when_near", "follow_wrist", "look_at_face")
COVARIANCE = np.diag([0.01, 0.01, 0.04]).astype(np.float32).ravel()


def people(*distances_m: float, state: int = HumanJoint.STATE_OBSERVED) -> HumanArray:
    """People in front of the camera, ids from 1; sigma along the line of sight is 0.2 m."""
    message = HumanArray()
    for number, distance in enumerate(distances_m, start=1):
        human = Human(id=number)
        for joint in human.joints:
            joint.pose.position.z = distance
            joint.covariance, joint.state = COVARIANCE, state
        message.humans.append(human)
    return message


@pytest.mark.parametrize("name", NODES)
def test_examples_are_short_and_have_a_launch_file(name: str) -> None:
    assert len((FOLDER / f"{name}.py").read_text(encoding="utf-8").splitlines()) < 80
    launch = Path(__file__).parents[2] / "launch" / f"{name}.launch.py"
    tree = ast.parse(launch.read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert [call.args[0].value for call in calls] == [name]


@pytest.mark.parametrize("name", NODES)
def test_launch_files_describe_a_camera_the_node_and_the_example(name: str) -> None:
    pytest.importorskip("launch_ros", reason="launch is not installed")
    from launch.actions import ExecuteProcess

    from moro_ros.ros.examples.description import describe

    entities = describe(name, "walk_by").entities
    assert sum(isinstance(entity, ExecuteProcess) for entity in entities) == 3


def example(start_node: Callable[..., Any], name: str, **parameters: Any) -> None:
    start_node(["-m", f"moro_ros.ros.examples.{name}"], **parameters)


@pytest.mark.ros
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_example_ends_with_a_signal(
    client: Any, start_node: Callable[..., Any], number: int
) -> None:
    node = start_node(["-m", "moro_ros.ros.examples.blank_camera"], f"/end{int(number)}")
    client.subscribe(Image, f"/end{int(number)}/image", qos_profile_sensor_data)
    assert node.end(number) == 0, node.output()


@pytest.mark.ros
def test_the_robot_slows_near_people_and_stops_without_news(
    client: Any, start_node: Callable[..., Any]
) -> None:
    example(start_node, "stop_when_near", timeout_s=0.5)
    humans = client.node.create_publisher(HumanArray, "moro/humans", 1)
    commands = client.node.create_publisher(Twist, "cmd_vel_in", 1)
    _, received = client.subscribe(Twist, "cmd_vel")
    forward = Twist()
    forward.linear.x = 1.0

    def speed(message: HumanArray | None) -> float:
        """What is left of 1 m/s, after half a second in which this was said of people."""
        for _ in range(10):
            if message is not None:
                humans.publish(message)
            client.spin(0.05)
            commands.publish(forward)
        client.wait(lambda: received, "a command")
        received.clear()
        commands.publish(forward)
        client.wait(lambda: received, "a command")
        return float(received[-1].linear.x)

    client.wait(humans.get_subscription_count, "the example")
    client.wait(commands.get_subscription_count, "the example")
    assert speed(people()) == 1.0
    # From 3 m to 1 m: 2.55 m less 0.15 m to the skin and 0.4 m of two sigma are half way.
    assert speed(people(9.0, 2.55)) == pytest.approx(0.5, abs=0.01)
    assert speed(people(1.2)) == 0.0
    lost = people(1.2)
    lost.humans[0].tracking_state = Human.TRACKING_LOST
    assert speed(lost) == 0.0, "people may be anywhere when images stop"
    assert speed(people()) == 1.0
    client.spin(0.6)
    assert speed(None) == 0.0


@pytest.mark.ros
def test_the_goal_follows_the_wrist_and_ends_when_it_is_hidden(
    client: Any, start_node: Callable[..., Any]
) -> None:
    example(start_node, "follow_wrist")
    humans = client.node.create_publisher(HumanArray, "moro/humans", 1)
    _, goals = client.subscribe(PoseStamped, "goal")
    client.wait(humans.get_subscription_count, "the example")

    def heard() -> bool:
        humans.publish(people(2.0, 3.0))
        return bool(goals)

    client.wait(heard, "a goal")
    assert goals[-1].pose.position.z == pytest.approx(1.75)

    def goals_of(message: HumanArray) -> list[PoseStamped]:
        client.spin(0.3)
        goals.clear()
        humans.publish(message)
        client.spin(0.5)
        return list(goals)

    assert not goals_of(people(2.0, state=HumanJoint.STATE_INFERRED))
    unseen = people(2.0, 3.0)
    unseen.humans[0].tracking_state = Human.TRACKING_EXTRAPOLATED
    assert not goals_of(unseen), "somebody else was followed"
    unseen.humans[0].tracking_state = Human.TRACKING_LOST
    (goal,) = goals_of(unseen)
    assert goal.pose.position.z == pytest.approx(2.75), "the other one, once the first is lost"


@pytest.mark.ros
def test_the_head_looks_at_the_nearest_eyes_and_returns(
    client: Any, start_node: Callable[..., Any]
) -> None:
    example(start_node, "look_at_face", max_speed=10.0)
    targets = client.node.create_publisher(HumanTargets, "moro/targets", 1)
    _, commands = client.subscribe(JointState, "head_command")
    client.wait(targets.get_subscription_count, "the example")
    message = HumanTargets(ttl=0.5)
    for kind, x in ((HumanTarget.MOUTH, 0.0), (HumanTarget.EYES, 1.0), (HumanTarget.EYES, -2.0)):
        target = HumanTarget(kind=kind)
        target.pose.position.x, target.pose.position.y, target.pose.position.z = x, -0.5, 1.0
        message.targets.append(target)

    def looks() -> bool:
        targets.publish(message)
        return bool(commands) and abs(commands[-1].position[0] + np.pi / 4) < 1e-6

    client.wait(looks, "a look to the right")
    assert commands[-1].position[1] == pytest.approx(-np.arctan(0.5 / np.sqrt(2.0)))
    message.targets[1].grade = message.targets[2].grade = HumanTarget.GRADE_STALE

    def returned() -> bool:
        targets.publish(message)  # nothing but stale targets
        return bool(np.abs(commands[-1].position).max() < 1e-6)

    client.wait(returned, "the return of the head")


@pytest.mark.ros
def test_the_blank_camera_has_images_with_their_calibration(
    client: Any, start_node: Callable[..., Any]
) -> None:
    example(start_node, "blank_camera")
    _, images = client.subscribe(Image, "image", qos_profile_sensor_data)
    _, infos = client.subscribe(CameraInfo, "camera_info", qos_profile_sensor_data)
    client.wait(lambda: images and infos, "images")
    assert (images[-1].width, images[-1].height) == (infos[-1].width, infos[-1].height)
    assert images[-1].header.frame_id == infos[-1].header.frame_id


@pytest.mark.ros
@pytest.mark.slow
@pytest.mark.weights
def test_the_head_follows_somebody_who_walks_by_without_any_camera(
    client: Any, start_node: Callable[..., Any]
) -> None:
    example(start_node, "blank_camera")
    start_node(["-m", "moro_ros.ros.node"], people="synthetic", synthetic_scene="walk_by")
    example(start_node, "look_at_face")
    _, commands = client.subscribe(JointState, "head_command")

    def turned() -> bool:
        pans = [command.position[0] for command in commands]
        return bool(pans) and max(pans) > 0.2 and min(pans) < -0.2

    client.wait(turned, "the head to turn to both sides", seconds=120.0)
