"""The pose of the camera: the newest transform between two frames, from /tf and /tf_static."""

from __future__ import annotations

import re
from collections import OrderedDict

import numpy as np
from geometry_msgs.msg import Transform
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from tf2_msgs.msg import TFMessage

from moro_ros.recover.ground import GroundPlane

try:
    from tf_transformations import (
        concatenate_matrices,
        inverse_matrix,
        quaternion_matrix,
        translation_from_matrix,
        translation_matrix,
    )
except ModuleNotFoundError:
    from moro_ros.ros.tf_math import (
        concatenate_matrices,
        inverse_matrix,
        quaternion_matrix,
        translation_from_matrix,
        translation_matrix,
    )

TF_DEPTH = 100
LATCHED = QoSProfile(depth=TF_DEPTH, durability=DurabilityPolicy.TRANSIENT_LOCAL)
UNKNOWN_LOG_PERIOD_S = 10.0
# Maximum number of frames of /tf that are kept. A robot has a few hundred, but trackers of people
# keep adding names.
MOST_FRAMES = 2000


def matrix_of(transform: Transform) -> np.ndarray:
    """The transform (4, 4) float64 that maps points of the child frame into its parent."""
    t, q = transform.translation, transform.rotation
    return concatenate_matrices(
        translation_matrix((t.x, t.y, t.z)), quaternion_matrix((q.x, q.y, q.z, q.w))
    )


class TransformTree:
    """The newest transform of every frame; the camera is static, so times need not be matched.

    Of the frames of /tf the MOST_FRAMES last heard of or looked up are kept. Those of /tf_static,
    which are told once, are all kept. own: matches the frames that this node publishes, which are
    passed over.
    """

    def __init__(self, own: re.Pattern[str] | None = None) -> None:
        self._own = own
        self._moving: OrderedDict[str, tuple[str, Transform]] = OrderedDict()
        self._static: dict[str, tuple[str, Transform]] = {}

    def __len__(self) -> int:
        """Frames kept."""
        return len(self._moving) + len(self._static)

    def take(self, message: TFMessage) -> None:
        """Store the transforms of one message of /tf."""
        for child, link in self._links(message):
            self._moving[child] = link
            self._moving.move_to_end(child)
        while len(self._moving) > MOST_FRAMES:
            self._moving.popitem(last=False)

    def take_static(self, message: TFMessage) -> None:
        """Store the transforms of one message of /tf_static."""
        self._static.update(self._links(message))

    def _links(self, message: TFMessage) -> list[tuple[str, tuple[str, Transform]]]:
        links = []
        for stamped in message.transforms:
            child, parent = stamped.child_frame_id.lstrip("/"), stamped.header.frame_id.lstrip("/")
            if self._own is None or not self._own.fullmatch(child):
                links.append((child, (parent, stamped.transform)))
        return links

    def _above(self, frame: str) -> tuple[str, Transform] | None:
        """Parent of a frame and the transform into it; frames that are looked up are kept."""
        if frame in self._moving:
            self._moving.move_to_end(frame)
            return self._moving[frame]
        return self._static.get(frame)

    def lookup(self, target: str, source: str) -> np.ndarray | None:
        """The transform (4, 4) that maps points of source into target; None if not connected."""
        to_source, to_target = self._chain(source), self._chain(target)
        common = next((frame for frame in to_source if frame in to_target), None)
        if common is None:
            return None
        return concatenate_matrices(inverse_matrix(to_target[common]), to_source[common])

    def _chain(self, frame: str) -> dict[str, np.ndarray]:
        """Every ancestor of a frame, and the frame, with the transform from the frame into it."""
        matrix = np.identity(4)
        chain = {frame: matrix}
        while (link := self._above(frame)) is not None:
            frame, transform = link
            if frame in chain:
                break  # a loop, which no tree has
            matrix = concatenate_matrices(matrix_of(transform), matrix)
            chain[frame] = matrix
        return chain


class Placement:
    """The pose of the camera in the world and the ground plane, from TF.

    world_frame, ground_frame: names of TF frames, empty for none; the ground is z = 0 of its frame.
    TF is listened to only if one of them is named. own: see TransformTree.
    """

    def __init__(
        self, node: Node, world_frame: str, ground_frame: str, own: re.Pattern[str] | None = None
    ) -> None:
        self.world_frame, self.ground_frame = world_frame, ground_frame
        self.tree = TransformTree(own)
        self._logger: RcutilsLogger = node.get_logger()
        self._subscriptions = []
        if world_frame or ground_frame:
            self._subscriptions = [
                node.create_subscription(TFMessage, "/tf", self.tree.take, TF_DEPTH),
                node.create_subscription(TFMessage, "/tf_static", self.tree.take_static, LATCHED),
            ]

    @property
    def listens(self) -> bool:
        """Whether this node itself subscribes to /tf."""
        return bool(self._subscriptions)

    def destroy(self, node: Node) -> None:
        """End the subscriptions."""
        for subscription in self._subscriptions:
            node.destroy_subscription(subscription)

    def pose(self, camera_frame: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Rotation (3, 3) and translation (3,) m, camera to world; None if unknown."""
        matrix = self._lookup(self.world_frame, camera_frame)
        return None if matrix is None else (matrix[:3, :3], translation_from_matrix(matrix))

    def ground(self, camera_frame: str) -> GroundPlane | None:
        """The ground in the camera's frame; None if unknown."""
        matrix = self._lookup(self.ground_frame, camera_frame)
        if matrix is None:
            return None
        # A point's height is its z in the ground's frame.
        return GroundPlane(matrix[2, :3].copy(), float(matrix[2, 3]))

    def _lookup(self, frame: str, camera_frame: str) -> np.ndarray | None:
        if not frame:
            return None
        matrix = self.tree.lookup(frame, camera_frame)
        if matrix is None:
            self._logger.warning(
                f"TF does not connect the camera's frame '{camera_frame}' with '{frame}': nothing "
                "is placed there. Publish the camera's mounting, for instance with "
                f"static_transform_publisher --frame-id {frame} --child-frame-id {camera_frame}.",
                throttle_duration_sec=UNKNOWN_LOG_PERIOD_S,
            )
        return matrix
