"""Data read from MoveIt: objects of an earlier run, and the allowed collisions."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from rclpy.node import Node

from moro_ros.ros.planners.scene_objects import SceneObjects

try:
    from moveit_msgs.msg import (
        AllowedCollisionEntry,
        AllowedCollisionMatrix,
        PlanningScene,
        PlanningSceneComponents,
    )
    from moveit_msgs.srv import GetPlanningScene
except ModuleNotFoundError:
    AllowedCollisionEntry = AllowedCollisionMatrix = None
    PlanningScene = PlanningSceneComponents = GetPlanningScene = None

SERVICE = "/get_planning_scene"
# Timeout of a response, for instance if MoveIt was stopped.
PATIENCE_S = 5.0
ABSENT_LOG_PERIOD_S = 10.0


class SceneClient:
    """Reads the planning scene of MoveIt when it has to be changed.

    The allowed collision matrix in a diff replaces that of the scene, so the current one is read
    first. Call the methods with the lock held.

    objects: contents of the scene; publish: called with a scene to publish; lock: of the objects.
    """

    def __init__(
        self,
        node: Node,
        objects: SceneObjects,
        publish: Callable[[Any], None],
        lock: AbstractContextManager[Any],
    ) -> None:
        self._objects, self._publish, self._lock = objects, publish, lock
        self._logger = node.get_logger()
        self._client = node.create_client(GetPlanningScene, SERVICE)
        self._pending: tuple[Any, float] | None = None
        self._wanted: frozenset[tuple[str, str]] = frozenset()
        self.restart()

    def restart(self) -> None:
        """Read the scene again, for instance after MoveIt was started."""
        self._swept = False
        self._allowed: frozenset[tuple[str, str]] = frozenset()

    def allow(self, pairs: frozenset[tuple[str, str]]) -> None:
        """Allow only these collisions of objects with links of the robot: (object, link)."""
        self._wanted = pairs

    def tend(self) -> None:
        """Request missing data; call it several times a second."""
        if self._pending is not None:
            future, asked_s = self._pending
            if time.monotonic() - asked_s < PATIENCE_S:
                return
            self._client.remove_pending_request(future)
            self._pending = None
        if self._swept and self._allowed == self._wanted:
            return
        if not self._client.service_is_ready():
            if self._wanted:
                self._logger.warning(
                    f"planners.touch_links: no service {SERVICE} to read the allowed collisions "
                    "from. Start move_group, or remap the service to MoveIt's.",
                    throttle_duration_sec=ABSENT_LOG_PERIOD_S,
                )
            return
        parts = PlanningSceneComponents.WORLD_OBJECT_NAMES
        parts |= PlanningSceneComponents.ALLOWED_COLLISION_MATRIX
        request = GetPlanningScene.Request(components=PlanningSceneComponents(components=parts))
        future = self._client.call_async(request)
        self._pending = future, time.monotonic()
        future.add_done_callback(self._take)

    def destroy(self, node: Node) -> None:
        """Destroy the client."""
        node.destroy_client(self._client)

    def _take(self, future: Any) -> None:
        self._pending = None
        if future.cancelled() or future.exception() is not None:
            return
        with self._lock:
            self._use(future.result().scene)

    def _use(self, scene: Any) -> None:
        change = PlanningScene(is_diff=True)
        change.robot_state.is_diff = True
        if not self._swept:
            here = {found.id for found in scene.world.collision_objects}
            left = {name for name in here if name.startswith(self._objects.prefix)}
            left -= self._objects.names
            change.world.collision_objects = [self._objects.removal(name) for name in sorted(left)]
            self._swept = True
            if left:
                self._logger.info(
                    f"{len(left)} outdated collision objects of this node are removed from the "
                    "planning scene."
                )
        wanted, matrix = self._wanted, scene.allowed_collision_matrix
        if wanted != self._allowed:
            own = self._objects.prefix
            change.allowed_collision_matrix = allowed(matrix, own, wanted)
            self._allowed = wanted
        if change.world.collision_objects or change.allowed_collision_matrix.entry_names:
            self._publish(change)


def allowed(matrix: Any, prefix: str, pairs: frozenset[tuple[str, str]]) -> Any:
    """An allowed collision matrix in which given pairs are the only entries with a prefix.

    matrix: the current one, whose other entries are kept.
    """
    old = list(matrix.entry_names)
    kept = [index for index, name in enumerate(old) if not name.startswith(prefix)]
    names = [old[index] for index in kept]
    names += sorted({name for pair in pairs for name in pair} - set(names))
    table = np.zeros((len(names), len(names)), bool)
    present = np.array([list(entry.enabled) for entry in matrix.entry_values], bool)
    table[: len(kept), : len(kept)] = present.reshape(len(old), len(old))[np.ix_(kept, kept)]
    for one, other in pairs:
        row, column = names.index(one), names.index(other)
        table[row, column] = table[column, row] = True
    return AllowedCollisionMatrix(
        entry_names=names,
        entry_values=[AllowedCollisionEntry(enabled=row) for row in table.tolist()],
        default_entry_names=matrix.default_entry_names,
        default_entry_values=matrix.default_entry_values,
    )
