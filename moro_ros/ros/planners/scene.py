"""~/planning_scene: people as collision objects of MoveIt, removed when outdated."""

from __future__ import annotations

import threading
import time
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.node import Node

from moro_ros.ros.outputs.base import Scene, TopicOutput
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.planners.options import joints_of, names
from moro_ros.ros.planners.scene_client import SceneClient
from moro_ros.ros.planners.scene_objects import SceneObjects
from moro_ros.ros.planners.shapes import Shaper
from moro_ros.types import PipelineResult

try:
    from moveit_msgs.msg import PlanningScene
except ModuleNotFoundError:
    PlanningScene = None

TEND_PERIOD_S = 0.2
# Time that shutdown waits for MoveIt to receive the removals.
FAREWELL = Duration(seconds=3.0)


def available() -> bool:
    """Whether MoveIt's messages are installed."""
    return PlanningScene is not None


class PlanningSceneOutput(TopicOutput):
    """Diffs of the planning scene, at most at planners.rate_hz.

    Removals do not wait for an image: people who were not updated for planners.ttl_s on the steady
    clock are removed, and all people when the node ends.
    """

    prompt = True

    def __init__(self, node: Node, options: NodeConfig, shaper: Shaper) -> None:
        super().__init__(
            node, PlanningScene, "~/planning_scene", rate_hz=lambda o: o.planners.rate_hz
        )
        self._shaper = shaper
        name = node.get_fully_qualified_name().strip("/").replace("/", ".")
        self._objects = SceneObjects(name, options.humans.id_prefix)
        # Images are published in another thread than the executor's, which removes outdated people.
        self._lock = threading.RLock()
        self._client = SceneClient(node, self._objects, self._send, self._lock)
        self._options = options
        self._readers = 0
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(TEND_PERIOD_S, self._tend, clock=steady)

    def messages(self, scene: Scene, options: NodeConfig) -> list[Any]:
        """One diff; none if nothing changes."""
        with self._lock:
            self._options = options
            self._count_readers()
            shapes, now_s = self._shaper.shapes(scene, options), time.monotonic()
            changes = self._objects.remove(scene.result.lost)
            for shape in shapes:
                changes += self._objects.update(shape, now_s)
            self._client.allow(self._touches(options))
            return [diff(changes)] if changes else []

    def publish(self, scene: Scene, options: NodeConfig) -> None:
        """Publish the diff of one image."""
        with self._lock:
            super().publish(scene, options)

    def skip(self, result: PipelineResult) -> None:
        """Remove lost people without waiting for an image that is due."""
        with self._lock:
            if self._readers:
                self._send(diff(self._objects.remove(result.lost)))

    def destroy(self, node: Node) -> None:
        """Remove all people and destroy the publisher."""
        with self._lock:
            node.destroy_timer(self._timer)
            self._send(diff(self._objects.remove(self._objects.people)))
            # Also for those who were lost just before, when the node was deactivated.
            if self.publisher.get_subscription_count():
                self.publisher.wait_for_all_acked(FAREWELL)
            self._client.destroy(node)
            super().destroy(node)

    def _touches(self, options: NodeConfig) -> frozenset[tuple[str, str]]:
        """Pairs of an object and a link of the robot that may touch."""
        planners = options.planners
        joints = joints_of("planners.touch_parts", planners.touch_parts)
        people = self._objects.people
        if planners.touch_id:
            people &= {planners.touch_id}
        return frozenset(
            (self._objects.name(track_id, joint), link)
            for track_id in people
            for joint in joints
            for link in names(planners.touch_links)
        )

    def _count_readers(self) -> int:
        """Number of subscribers; a new one, such as a restarted MoveIt, needs all people again."""
        readers = self.publisher.get_subscription_count()
        if readers > self._readers:
            self._objects.add_again()
            self._client.restart()
        self._readers = readers
        return readers

    def _tend(self) -> None:
        with self._lock:
            if not self._count_readers():
                return
            old = self._objects.old(time.monotonic(), self._options.planners.ttl_s)
            self._send(diff(self._objects.remove(old)))
            self._client.allow(self._touches(self._options))
            self._client.tend()

    def _send(self, message: Any) -> None:
        """Publish a diff unless it changes nothing."""
        with self._lock:
            if message.world.collision_objects or message.allowed_collision_matrix.entry_names:
                self.publisher.publish(message)
                self._made += 1


def diff(changes: list[Any]) -> Any:
    """A planning scene diff that only changes some collision objects."""
    message = PlanningScene(is_diff=True)
    message.robot_state.is_diff = True
    message.world.collision_objects = changes
    return message
