"""A stand-in for move_group: keeps a planning scene from diffs as MoveIt 2 does, and serves it."""

from __future__ import annotations

from typing import Any

from moveit_msgs.msg import (
    AllowedCollisionEntry,
    AllowedCollisionMatrix,
    CollisionObject,
    PlanningScene,
    PlanningSceneComponents,
)
from moveit_msgs.srv import GetPlanningScene


def matrix_of(links: tuple[str, ...], allowed: set[tuple[str, str]]) -> AllowedCollisionMatrix:
    """A matrix of allowed collisions between links."""
    rows = [[(a, b) in allowed or (b, a) in allowed for b in links] for a in links]
    entries = [AllowedCollisionEntry(enabled=row) for row in rows]
    return AllowedCollisionMatrix(entry_names=list(links), entry_values=entries)


class MoveItScene:
    """What a MoveIt that follows some topics knows.

    objects: by id, the ADD message with the newest pose; errors: what MoveIt would log as an error;
    operations: of every collision object that came, in order. That an object to be removed is not
    there, as after MoveIt was restarted, is only a warning to MoveIt.
    """

    def __init__(self, client: Any, topics: tuple[str, ...] = ("/moro/planning_scene",)) -> None:
        self.client = client
        self.objects: dict[str, CollisionObject] = {}
        self.errors: list[str] = []
        self.operations: list[tuple[int, str]] = []
        self.diffs = 0
        self.matrix = matrix_of(("base", "wrist", "finger"), {("wrist", "finger")})
        self._topics = topics
        node = client.node
        self._service = node.create_service(GetPlanningScene, "/get_planning_scene", self._serve)
        self.subscribe()

    def subscribe(self) -> None:
        """Begin to follow the topics."""
        create = self.client.node.create_subscription
        self._subscriptions = [create(PlanningScene, t, self._take, 100) for t in self._topics]

    def unsubscribe(self) -> None:
        for subscription in self._subscriptions:
            self.client.node.destroy_subscription(subscription)

    def close(self) -> None:
        self.unsubscribe()
        self.client.node.destroy_service(self._service)

    def of(self, prefix: str) -> set[str]:
        """Ids of the objects that begin with a prefix."""
        return {name for name in self.objects if name.startswith(prefix)}

    def allowed(self) -> set[tuple[str, str]]:
        """Pairs of names whose collision is allowed."""
        names = self.matrix.entry_names
        return {
            (names[row], names[column])
            for row, entry in enumerate(self.matrix.entry_values)
            for column, enabled in enumerate(entry.enabled)
            if enabled and row < column
        }

    def _serve(self, request: Any, response: Any) -> Any:
        parts = request.components.components
        if parts & PlanningSceneComponents.WORLD_OBJECT_NAMES:
            response.scene.world.collision_objects = [
                CollisionObject(id=name) for name in sorted(self.objects)
            ]
        if parts & PlanningSceneComponents.ALLOWED_COLLISION_MATRIX:
            response.scene.allowed_collision_matrix = self.matrix
        return response

    def _take(self, scene: PlanningScene) -> None:
        if not (scene.is_diff and scene.robot_state.is_diff):
            self.errors.append("not a diff: it would replace the scene")
        self.diffs += 1
        # PlanningScene::setPlanningSceneDiffMsg replaces the matrix.
        if scene.allowed_collision_matrix.entry_names:
            self.matrix = scene.allowed_collision_matrix
        for item in scene.world.collision_objects:
            operation = int.from_bytes(item.operation, "little")
            self.operations.append((operation, item.id))
            self._apply(operation, item)

    def _apply(self, operation: int, item: CollisionObject) -> None:
        if operation == int.from_bytes(CollisionObject.ADD, "little"):
            if not item.primitives or len(item.primitives) != len(item.primitive_poses):
                self.errors.append(f"{item.id}: an object without shapes")
            self.objects[item.id] = item
        elif operation == int.from_bytes(CollisionObject.REMOVE, "little"):
            self.objects.pop(item.id, None)
        elif item.id not in self.objects:
            self.errors.append(f"{item.id} does not exist in this scene ({operation})")
        else:
            if item.primitives:
                self.errors.append(f"{item.id}: a move ignores the geometry")
            self.objects[item.id].header, self.objects[item.id].pose = item.header, item.pose
