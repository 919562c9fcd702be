"""The pose of the camera: the newest transform between two frames, from /tf and /tf_static."""

from __future__ import annotations

import itertools
import math
import re
import time
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
    from moro_ros.ros.fallbacks import (
        concatenate_matrices,
        inverse_matrix,
        quaternion_matrix,
        translation_from_matrix,
        translation_matrix,
    )

TF_DEPTH = 100
LATCHED = QoSProfile(depth=TF_DEPTH, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# Minimum time between two logs of one problem, and how long it counts after the last look-up [s].
UNKNOWN_LOG_PERIOD_S = 10.0
# Maximum number of frames kept of /tf, and of /tf_static. A robot has a few hundred, but people
# trackers keep adding names.
MOST_FRAMES = 2000
# Larger translations [m] are ignored because their sums overflow. Quaternions with a squared length
# outside of these limits are ignored because they have no direction.
FARTHEST_M = 1e9
LENGTHS = 1e-12, 1e12
# Maximum number of frames with unusable transforms that are logged.
MOST_NAMED = 20


def matrix_of(transform: Transform) -> np.ndarray:
    """The transform (4, 4) float64 that maps points of the child frame into its parent."""
    t, q = transform.translation, transform.rotation
    return concatenate_matrices(
        translation_matrix((t.x, t.y, t.z)), quaternion_matrix((q.x, q.y, q.z, q.w))
    )


def usable(transform: Transform) -> bool:
    """Whether a transform is a finite, valid rotation and translation."""
    t, q = transform.translation, transform.rotation
    # False for NaN, too.
    near = abs(t.x) + abs(t.y) + abs(t.z) <= FARTHEST_M
    return near and LENGTHS[0] <= q.x * q.x + q.y * q.y + q.z * q.z + q.w * q.w <= LENGTHS[1]


class TransformTree:
    """The newest transform of every frame; times need not match because the camera is static.

    Arrival times are on the steady clock, to detect transforms of /tf that are not updated any
    more. An unusable transform is ignored and counted in `unusable`; the previous one is kept.

    The MOST_FRAMES most recently received or looked up frames of /tf and of /tf_static are kept.
    own: pattern of the frames that this node publishes, which are ignored. logger: logs each frame
    with an unusable transform once.
    """

    def __init__(
        self, own: re.Pattern[str] | None = None, logger: RcutilsLogger | None = None
    ) -> None:
        self.unusable = 0
        self._own, self._logger = own, logger
        self._named: set[str] = set()
        self._moving: OrderedDict[str, tuple[str, Transform]] = OrderedDict()
        self._arrived_s: dict[str, float] = {}
        self._static: OrderedDict[str, tuple[str, Transform]] = OrderedDict()
        # The matrices of transforms that were looked up, by child frame.
        self._matrices: dict[str, tuple[Transform, np.ndarray]] = {}

    def __len__(self) -> int:
        """Frames kept."""
        return len(self._moving) + len(self._static)

    def take(self, message: TFMessage) -> None:
        """Store the transforms of one message of /tf."""
        now_s = time.monotonic()
        for child, link in self._links(message):
            self._moving[child] = link
            self._moving.move_to_end(child)
            self._arrived_s[child] = now_s
        while len(self._moving) > MOST_FRAMES:
            gone, _ = self._moving.popitem(last=False)
            self._arrived_s.pop(gone)
            self._matrices.pop(gone, None)

    def take_static(self, message: TFMessage) -> None:
        """Store the transforms of one message of /tf_static."""
        for child, link in self._links(message):
            self._static[child] = link
            self._static.move_to_end(child)
        while len(self._static) > MOST_FRAMES:
            gone, _ = self._static.popitem(last=False)
            self._matrices.pop(gone, None)

    def _links(self, message: TFMessage) -> list[tuple[str, tuple[str, Transform]]]:
        links = []
        for stamped in message.transforms:
            child, parent = stamped.child_frame_id.lstrip("/"), stamped.header.frame_id.lstrip("/")
            if self._own is not None and self._own.fullmatch(child):
                continue
            if usable(stamped.transform):
                links.append((child, (parent, stamped.transform)))
            else:
                self._refuse(child, stamped.transform)
        return links

    def _refuse(self, child: str, transform: Transform) -> None:
        """Count an unusable transform, and log its frame once."""
        self.unusable += 1
        if self._logger is None or child in self._named or len(self._named) >= MOST_NAMED:
            return
        self._named.add(child)
        t, q = transform.translation, transform.rotation
        self._logger.warning(
            f"TF of frame '{child}': got the translation ({t.x:g}, {t.y:g}, {t.z:g}) and the "
            f"rotation ({q.x:g}, {q.y:g}, {q.z:g}, {q.w:g}), expected finite numbers and a unit "
            "quaternion. It is ignored and the previous one is used; correct its publisher."
        )

    def _above(self, frame: str) -> tuple[str, Transform] | None:
        """Parent of a frame and the transform into it; frames that are looked up are kept."""
        if frame in self._moving:
            self._moving.move_to_end(frame)
            return self._moving[frame]
        if frame in self._static:
            self._static.move_to_end(frame)
            return self._static[frame]
        return None

    def lookup(self, target: str, source: str, max_age_s: float = math.inf) -> np.ndarray | None:
        """The transform (4, 4) that maps points of source into target.

        None if they are not connected, or if a transform of /tf between them arrived longer than
        max_age_s ago.
        """
        to_source, to_target = self._chain(source), self._chain(target)
        common = next((frame for frame in to_source if frame in to_target), None)
        if common is None:
            return None
        used = [itertools.takewhile(lambda f: f != common, c) for c in (to_source, to_target)]
        oldest_s = time.monotonic() - max_age_s
        if any(self._arrived_s.get(frame, math.inf) < oldest_s for frame in itertools.chain(*used)):
            return None
        return concatenate_matrices(inverse_matrix(to_target[common]), to_source[common])

    def _chain(self, frame: str) -> dict[str, np.ndarray]:
        """A frame and its ancestors, each with the transform from the frame into it."""
        matrix = np.identity(4)
        chain = {frame: matrix}
        while (link := self._above(frame)) is not None:
            parent, transform = link
            if parent in chain:
                break  # a loop, so this is not a tree
            known = self._matrices.get(frame)
            if known is None or known[0] is not transform:
                known = self._matrices[frame] = transform, matrix_of(transform)
            matrix = known[1] @ matrix
            chain[parent] = matrix
            frame = parent
        return chain


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
