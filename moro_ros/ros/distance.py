"""moro_distance: minimum distances between the links of a robot and people from moro_node.

It is not a certified safety function: people outside the camera's view are missing.
"""

from __future__ import annotations

import math
import time
from collections import deque
from typing import TYPE_CHECKING

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Header, String
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from moro_ros.errors import ConfigError, RobotError, missing_module
from moro_ros.io.transform_tree import TransformTree
from moro_ros.msg import HumanCapsules, HumanDistances
from moro_ros.ros import parameters
from moro_ros.ros.distance_messages import (
    People,
    distances_message,
    marker_array,
    nothing,
    together,
)
from moro_ros.ros.distance_options import DistanceConfig, check_topics
from moro_ros.ros.serve import serve
from moro_ros.ros.transforms import LATCHED, TF_DEPTH

if TYPE_CHECKING:
    from moro_ros.robot.collision import RobotModel
    from moro_ros.robot.separation import SeparationMonitor

# Interval over which the robot's speed is computed: transforms do not arrive at an even rate.
SPEED_SPAN_S = 0.1
LOG_PERIOD_S = 5.0
MARKER_PERIOD_S = 0.1
LAST_ONE = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class PeopleSource:
    """One topic of people; for one thread.

    topic: its full name; people: of the newest message, None before the first; arrived_s: of that
    message, on the steady clock.
    """

    def __init__(self, node: Node, topic: str, number: int) -> None:
        """number: index of the topic in the parameter people_topics."""
        node.create_subscription(HumanCapsules, topic, self.take, 10)
        self.topic = node.resolve_topic_name(topic)
        self.people: People | None = None
        self.arrived_s = -math.inf
        self._node, self._number = node, number

    def take(self, message: HumanCapsules) -> None:
        """Store the newest people."""
        self.people, self.arrived_s = People.of(message, self._number), time.monotonic()

    def problem(self, now_s: float) -> str:
        """A text of why its people are not current at a time on the steady clock; else empty."""
        # A message lists the people in view of its camera; another camera's would replace them.
        if (publishers := self._node.count_publishers(self.topic)) > 1:
            return (
                f"{publishers} nodes publish on {self.topic}, so the camera of a message is "
                "unknown. Give each node its own topic and list all of them in the parameter "
                "people_topics"
            )
        if self.people is None or now_s - self.arrived_s >= self.people.ttl_s:
            return f"no current message on {self.topic}"
        return ""


def open_sources(node: Node, topics: tuple[str, ...]) -> list[PeopleSource]:
    """Subscribe to all topics of people; raises ConfigError for a bad or repeated name."""
    try:
        sources = [PeopleSource(node, topic, number) for number, topic in enumerate(topics)]
    except InvalidTopicNameException as error:
        raise ConfigError(
            f"people_topics: got {list(topics)}, expected names of topics such as "
            f"left/moro/capsules. {error}"
        ) from error
    check_topics([source.topic for source in sources])
    return sources


class DistanceNode(parameters.StartValues, Node):
    """Measures at a fixed rate while there are subscribers.

    Raises: ConfigError if a parameter is wrong, InstallationError if coal is not installed.
    """

    def __init__(self, arguments: list[str] | None = None) -> None:
        super().__init__(
            "moro_distance",
            automatically_declare_parameters_from_overrides=True,
            cli_args=arguments,
        )
        self.options = parameters.declare(self, DistanceConfig)
        parameters.warn_of_unknown(self, DistanceConfig)
        try:
            import moro_ros.robot.separation  # noqa: F401
        except ModuleNotFoundError as error:
            raise missing_module(error) from error
        self.tree = TransformTree(logger=self.get_logger())
        self._monitor: SeparationMonitor | None = None
        self._no_robot = "no robot_description"
        self._marked_s = -math.inf
        self._poses: deque[tuple[float, np.ndarray]] = deque()
        self.distances = self.create_publisher(HumanDistances, "~/distances", 10)
        self.markers = self.create_publisher(MarkerArray, "~/markers", 10)
        subscribe = self.create_subscription
        subscribe(String, "robot_description", self.take_robot, LAST_ONE)
        self.sources = open_sources(self, self.options.people_topics)
        self._topics = [source.topic for source in self.sources]
        subscribe(TFMessage, "/tf", self.tree.take, TF_DEPTH)
        subscribe(TFMessage, "/tf_static", self.tree.take_static, LATCHED)
        # On the steady clock: /clock and clock changes do not affect the rate.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0 / self.options.rate_hz, self._tick, clock=steady)

    def take_robot(self, message: String) -> None:
        """Use a new robot_description."""
        from moro_ros.robot.collision import load_robot
        from moro_ros.robot.separation import SeparationMonitor

        self._monitor = None
        self._poses.clear()
        try:
            robot = load_robot(message.data, package_folder)
        except RobotError as error:
            self._no_robot = str(error).removesuffix(".")
            self.get_logger().error(f"No distances are measured: {error}")
            return
        self._monitor = SeparationMonitor(robot)
        names = ", ".join(link.name for link in robot.links)
        self.get_logger().info(f"Distances to the links {names}.")

    def _tick(self) -> None:
        watched = self.distances.get_subscription_count() > 0
        now_s = time.monotonic()
        marked = self.markers.get_subscription_count() > 0
        marked = marked and now_s - self._marked_s >= MARKER_PERIOD_S
        if not (watched or marked):
            self._poses.clear()
            return
        message = self.measure(now_s)
        if watched:
            self.distances.publish(message)
        if marked:
            self._marked_s = now_s
            self.markers.publish(marker_array(message, self.options))

    def measure(self, now_s: float) -> HumanDistances:
        """The current distances, or the reason why there are none; now_s: on the steady clock."""
        header = Header(stamp=self.get_clock().now().to_msg())
        ttl_s = self.options.ttl_s
        if self._monitor is None:
            return self._nothing(header, HumanDistances.STATUS_NO_ROBOT, self._no_robot)
        robot = self._monitor.robot
        header.frame_id = robot.root
        problems = [source.problem(now_s) for source in self.sources]
        if any(problems):
            why = "; ".join(filter(None, problems))
            return self._nothing(header, HumanDistances.STATUS_NO_PEOPLE, why)
        poses = self._link_poses(robot)
        placed = self._placed(robot.root)
        if poses is None or placed is None:
            status = HumanDistances.STATUS_NO_TRANSFORM
            return nothing(header, status, ttl_s, self._topics)
        before_s, before = self._remember(now_s, poses)
        found = self._monitor.measure(poses, placed.starts, placed.ends, placed.radii)
        # The latency of the oldest image; unknown if that of any topic is unknown.
        ages_s = [s.people.latency_s + now_s - s.arrived_s for s in self.sources if s.people]
        motion = poses, before, now_s - before_s
        return distances_message(
            header, robot, placed, found, motion, float(np.max(ages_s)), ttl_s, self._topics
        )

    def _nothing(self, header: Header, status: int, why: str) -> HumanDistances:
        self.get_logger().warning(
            f"No distances are measured: {why}.", throttle_duration_sec=LOG_PERIOD_S
        )
        return nothing(header, status, self.options.ttl_s, self._topics)

    def _link_poses(self, robot: RobotModel) -> np.ndarray | None:
        """Poses (L, 4, 4) of the links in the root; None unless TF has updated all of them."""
        poses, missing = [], []
        for link in robot.links:
            pose = self.tree.lookup(robot.root, link.name, self.options.tf_timeout_s)
            if pose is None:
                missing.append(link.name)
            else:
                poses.append(pose)
        if missing:
            self._poses.clear()
            self.get_logger().warning(
                f"No distances are measured: TF does not connect {', '.join(missing)} with "
                f"'{robot.root}', or was not updated for {self.options.tf_timeout_s:g} s. Is "
                "robot_state_publisher running, with joint states?",
                throttle_duration_sec=LOG_PERIOD_S,
            )
            return None
        return np.array(poses)

    def _placed(self, root: str) -> People | None:
        """All people in the frame of the robot; None unless TF connects the two."""
        placed = []
        for people in (source.people for source in self.sources if source.people):
            pose = self.tree.lookup(root, people.frame_id, self.options.tf_timeout_s)
            if pose is None:
                self.get_logger().warning(
                    f"No distances are measured: TF does not connect the people's frame "
                    f"'{people.frame_id}' with '{root}'. Publish the camera's mounting.",
                    throttle_duration_sec=LOG_PERIOD_S,
                )
                return None
            placed.append(people.moved(pose))
        return together(placed)

    def _remember(self, now_s: float, poses: np.ndarray) -> tuple[float, np.ndarray]:
        """Store the current poses; returns the time and the poses of SPEED_SPAN_S ago."""
        self._poses.append((now_s, poses))
        while len(self._poses) > 2 and now_s - self._poses[1][0] >= SPEED_SPAN_S:
            self._poses.popleft()
        if now_s - self._poses[0][0] > 2 * max(SPEED_SPAN_S, 1.0 / self.options.rate_hz):
            self._poses.popleft()  # there was a pause
        return self._poses[0]


def package_folder(name: str) -> str:
    """Return the share folder of an installed ROS package; KeyError if there is none."""
    from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

    try:
        return get_package_share_directory(name)
    except PackageNotFoundError as error:
        raise KeyError(name) from error


def main(args: list[str] | None = None) -> None:
    """Entry point of moro_distance."""
    serve(lambda: DistanceNode(args), "moro_distance", args)


if __name__ == "__main__":
    main()
