"""The pose of the camera and the ground: subscriptions to TF, and what is wrong with it."""

from __future__ import annotations

import math
import re
import time

import numpy as np
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from tf2_msgs.msg import TFMessage

from moro_ros.io.transform_tree import TransformTree
from moro_ros.recover.ground import GroundPlane

try:
    from tf_transformations import translation_from_matrix
except ModuleNotFoundError:
    from moro_ros.io.tf_matrices import translation_from_matrix

TF_DEPTH = 100
LATCHED = QoSProfile(depth=TF_DEPTH, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# Minimum time between two logs of one problem, and how long it counts after the last look-up [s].
UNKNOWN_LOG_PERIOD_S = 10.0


class Placement:
    """The pose of the camera in the world and the ground plane, from TF.

    world_frame, ground_frame: names of TF frames, empty for none; the ground is z = 0 of its frame.
    others: frames that `between` is called with. It subscribes to TF only if any of these frames is
    set, or with listen. own: see TransformTree.
    """

    def __init__(
        self,
        node: Node,
        world_frame: str,
        ground_frame: str,
        own: re.Pattern[str] | None = None,
        others: tuple[str, ...] = (),
        listen: bool = False,
    ) -> None:
        self.world_frame, self.ground_frame = world_frame, ground_frame
        self._logger: RcutilsLogger = node.get_logger()
        self.tree = TransformTree(own, self._logger)
        # By frame: what is wrong with its transform, and when it was last looked up.
        self._problems: dict[str, tuple[str, float]] = {}
        # When each problem was last logged.
        self._logged_s: dict[str, float] = {}
        self._subscriptions = []
        if world_frame or ground_frame or listen or any(others):
            self._subscriptions = [
                node.create_subscription(TFMessage, "/tf", self.tree.take, TF_DEPTH),
                node.create_subscription(TFMessage, "/tf_static", self.tree.take_static, LATCHED),
            ]

    @property
    def listens(self) -> bool:
        """Whether this node itself subscribes to /tf."""
        return bool(self._subscriptions)

    @property
    def problems(self) -> tuple[str, ...]:
        """A text per frame without a current transform, of those looked up recently."""
        since_s = time.monotonic() - UNKNOWN_LOG_PERIOD_S
        return tuple(text for text, last_s in list(self._problems.values()) if last_s >= since_s)

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

    def between(self, frame: str, camera_frame: str, max_age_s: float) -> np.ndarray | None:
        """The transform (4, 4), camera to a frame; None if unknown or not updated for max_age_s."""
        return self._lookup(frame, camera_frame, max_age_s)

    def _lookup(
        self, frame: str, camera_frame: str, max_age_s: float = math.inf
    ) -> np.ndarray | None:
        if not frame:
            return None
        matrix = self.tree.lookup(frame, camera_frame, max_age_s)
        if matrix is not None:
            self._problems.pop(frame, None)
        elif self.tree.lookup(frame, camera_frame) is not None:
            self._note(
                frame,
                f"TF between the camera's frame '{camera_frame}' and '{frame}' was not updated for "
                f"{max_age_s:g} s: nothing is placed there.",
                "Publish it at a higher rate, or on /tf_static if it does not move.",
            )
        else:
            self._note(
                frame,
                f"TF does not connect the camera's frame '{camera_frame}' with '{frame}': nothing "
                "is placed there.",
                "Correct the frame's name, or publish the camera's mounting, for instance with "
                f"static_transform_publisher --frame-id {frame} --child-frame-id {camera_frame}.",
            )
        return matrix

    def _note(self, frame: str, problem: str, remedy: str) -> None:
        """Keep the problem of a frame, and log it when it appears."""
        now_s = time.monotonic()
        before, _ = self._problems.get(frame, ("", 0.0))
        self._problems[frame] = problem, now_s
        quiet_s = now_s - self._logged_s.get(problem, -math.inf)
        if problem != before and quiet_s >= UNKNOWN_LOG_PERIOD_S:
            self._logged_s[problem] = now_s
            self._logger.warning(f"{problem} {remedy}")
