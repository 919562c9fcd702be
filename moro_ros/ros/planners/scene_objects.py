"""The objects of this node in MoveIt's planning scene, and the changes that update them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from geometry_msgs.msg import Pose
from std_msgs.msg import Header

from moro_ros.body.topology import JOINT_NAMES
from moro_ros.ros.outputs.tf import quaternions
from moro_ros.ros.planners.shapes import Shape

try:
    from moveit_msgs.msg import CollisionObject
    from shape_msgs.msg import SolidPrimitive
except ModuleNotFoundError:
    CollisionObject = SolidPrimitive = None

# MOVE keeps the size of an object. It is added again if the required length or radius exceeds its
# own or is smaller by more than this [m]. A new size includes half of this as a margin.
SLACK_M = 0.04
# Period for adding all people again [s], in case the scene was cleared or a message was lost.
RENEW_S = 1.0
_UPRIGHT = np.array([0.0, 0.0, 1.0])


@dataclass(slots=True)
class Person:
    """One person in the scene: length and radius [m] by joint.

    added_s, updated_s: steady clock.
    """

    added_s: float
    updated_s: float = 0.0
    sizes: dict[int, tuple[float, float]] = field(default_factory=dict)


class SceneObjects:
    """Turns the shapes of people into changes of the planning scene.

    Each body part is one object, named <prefix>.<body id>.<joint>. A capsule is a cylinder and two
    spheres, because MoveIt has no capsules; z of its pose is along the axis.
    """

    def __init__(self, prefix: str, id_prefix: str) -> None:
        self.prefix = f"{prefix}."
        self._id_prefix = id_prefix
        self._people: dict[int, Person] = {}

    @property
    def people(self) -> set[int]:
        """Track ids of the people in the scene."""
        return set(self._people)

    @property
    def names(self) -> set[str]:
        """Ids of all objects in the scene."""
        return {self.name(i, j) for i, person in self._people.items() for j in person.sizes}

    def name(self, track_id: int, joint: int) -> str:
        """The id of the object of a body part."""
        return f"{self.prefix}{self._id_prefix}{track_id}.{JOINT_NAMES[joint]}"

    def update(self, shape: Shape, now_s: float) -> list[Any]:
        """The collision objects that add or move one person; now_s: steady clock."""
        track_id, clear = shape.motion.track_id, shape.keep_clear
        person = self._people.get(track_id)
        if person is None or now_s - person.added_s >= RENEW_S:
            sizes = {} if person is None else person.sizes
            person = self._people[track_id] = Person(now_s, sizes=sizes)
            renew = True
        else:
            renew = False
        person.updated_s = now_s
        axes = clear.ends - clear.starts
        lengths = np.linalg.norm(axes, axis=1)
        turns = quaternions(np.stack([_along(axis) for axis in axes]))
        centers = (clear.starts + clear.ends) / 2
        changes = []
        for joint in np.flatnonzero(shape.body.radii > 0.0).tolist():
            size = float(lengths[joint]), float(clear.radii[joint])
            held = person.sizes.get(joint)
            fits = held is not None and _fits(held, size)
            if not fits:
                person.sizes[joint] = held = size[0] + SLACK_M / 2, size[1] + SLACK_M / 2
            message = self._message(shape.header, self.name(track_id, joint))
            message.pose = _pose(centers[joint], turns[joint])
            if fits and not renew:
                message.operation = CollisionObject.MOVE
            else:
                message.operation = CollisionObject.ADD
                message.primitives, message.primitive_poses = _capsule(*held)  # type: ignore[misc]
            changes.append(message)
        return changes

    def remove(self, track_ids: Iterable[int]) -> list[Any]:
        """The collision objects that remove people; people not in the scene are ignored."""
        changes = []
        for track_id in sorted(self._people.keys() & set(track_ids)):
            for joint in self._people.pop(track_id).sizes:
                changes.append(self.removal(self.name(track_id, joint)))
        return changes

    def removal(self, name: str) -> Any:
        """The collision object that removes the one with a name."""
        message = self._message(Header(), name)
        message.operation = CollisionObject.REMOVE
        return message

    def old(self, now_s: float, ttl_s: float) -> list[int]:
        """Track ids of people who were not updated for ttl_s."""
        return [i for i, person in self._people.items() if now_s - person.updated_s > ttl_s]

    def add_again(self) -> None:
        """Add all people again with their next update, for instance for a new scene."""
        for person in self._people.values():
            person.added_s = -np.inf

    def _message(self, header: Header, name: str) -> Any:
        return CollisionObject(header=header, id=name)


def _fits(held: tuple[float, float], size: tuple[float, float]) -> bool:
    return all(0.0 <= has - needs <= SLACK_M for has, needs in zip(held, size, strict=True))


def _capsule(length: float, radius: float) -> tuple[list[Any], list[Pose]]:
    """The shapes of a capsule along z, and their poses in it."""
    cylinder = SolidPrimitive(type=SolidPrimitive.CYLINDER, dimensions=[max(length, 1e-3), radius])
    ball = SolidPrimitive(type=SolidPrimitive.SPHERE, dimensions=[radius])
    straight = np.array([0.0, 0.0, 0.0, 1.0])
    heights = (0.0, -length / 2, length / 2)
    return [cylinder, ball, ball], [_pose(height * _UPRIGHT, straight) for height in heights]


def _pose(place: np.ndarray, turn: np.ndarray) -> Pose:
    pose = Pose()
    pose.position.x, pose.position.y, pose.position.z = place.tolist()
    q = pose.orientation
    q.x, q.y, q.z, q.w = turn.tolist()
    return pose


def _along(axis: np.ndarray) -> np.ndarray:
    """A rotation (3, 3) whose z axis has a direction (3,)."""
    length = float(np.linalg.norm(axis))
    z = axis / length if length > 1e-6 else _UPRIGHT
    x = np.cross(np.eye(3)[np.abs(z).argmin()], z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], axis=1)
