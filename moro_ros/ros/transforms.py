"""Where the camera stands: the newest transform between two frames, from /tf and /tf_static."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Transform
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from tf2_msgs.msg import TFMessage

from moro_ros.inference.world import GroundPlane

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


def matrix_of(transform: Transform) -> np.ndarray:
    """The transform (4, 4) float64 that maps points of the child frame into its parent."""
    t, q = transform.translation, transform.rotation
    return concatenate_matrices(
        translation_matrix((t.x, t.y, t.z)), quaternion_matrix((q.x, q.y, q.z, q.w))
    )


class TransformTree:
    """The newest transform of every frame; the camera is static, so times need not be matched."""

    def __init__(self) -> None:
        self._parents: dict[str, tuple[str, Transform]] = {}

    def take(self, message: TFMessage) -> None:
        """Take up the transforms of one message."""
        for stamped in message.transforms:
            child, parent = stamped.child_frame_id.lstrip("/"), stamped.header.frame_id.lstrip("/")
            self._parents[child] = parent, stamped.transform

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
        while frame in self._parents:
            frame, transform = self._parents[frame]
            if frame in chain:
                break  # a loop, which no tree has
            matrix = concatenate_matrices(matrix_of(transform), matrix)
            chain[frame] = matrix
        return chain


class Placement:
    """Says where the camera stands in the world, and where the ground lies, from TF.

    world_frame, ground_frame: names of TF frames, empty for none; the ground is z = 0 of its frame.
    TF is listened to only if one of them is named.
    """

    def __init__(self, node: Node, world_frame: str, ground_frame: str) -> None:
        self.world_frame, self.ground_frame = world_frame, ground_frame
        self.tree = TransformTree()
        self._logger: RcutilsLogger = node.get_logger()
        self._subscriptions = []
        if world_frame or ground_frame:
            self._subscriptions = [
                node.create_subscription(TFMessage, topic, self.tree.take, qos)
                for topic, qos in (("/tf", TF_DEPTH), ("/tf_static", LATCHED))
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
