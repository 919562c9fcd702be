"""The newest transform between two frames, from the messages of /tf and /tf_static.

Messages may be rclpy's or rosbags'.
"""

from __future__ import annotations

import itertools
import math
import re
import time
from collections import OrderedDict
from typing import Any, Protocol

import numpy as np

try:
    from tf_transformations import (
        concatenate_matrices,
        inverse_matrix,
        quaternion_matrix,
        translation_matrix,
    )
except ModuleNotFoundError:
    from moro_ros.io.tf_matrices import (
        concatenate_matrices,
        inverse_matrix,
        quaternion_matrix,
        translation_matrix,
    )

# Maximum number of frames kept of /tf, and of /tf_static. A robot has a few hundred, but people
# trackers keep adding names.
MOST_FRAMES = 2000
# Larger translations [m] are ignored because their sums overflow. Quaternions with a squared length
# outside of these limits are ignored because they have no direction.
FARTHEST_M = 1e9
LENGTHS = 1e-12, 1e12
# Maximum number of frames with unusable transforms that are logged.
MOST_NAMED = 20


def matrix_of(transform: Any) -> np.ndarray:
    """The transform (4, 4) float64 that maps points of the child frame into its parent."""
    t, q = transform.translation, transform.rotation
    return concatenate_matrices(
        translation_matrix((t.x, t.y, t.z)), quaternion_matrix((q.x, q.y, q.z, q.w))
    )


def usable(transform: Any) -> bool:
    """Whether a transform is a finite, valid rotation and translation."""
    t, q = transform.translation, transform.rotation
    # False for NaN, too.
    near = abs(t.x) + abs(t.y) + abs(t.z) <= FARTHEST_M
    return near and LENGTHS[0] <= q.x * q.x + q.y * q.y + q.z * q.z + q.w * q.w <= LENGTHS[1]


class Logger(Protocol):
    """What a tree uses of a logger; that of rclpy has it."""

    def warning(self, message: str, /) -> Any: ...


class TransformTree:
    """The newest transform of every frame; times need not match because the camera is static.

    Arrival times are on the steady clock, to detect transforms of /tf that are not updated any
    more. An unusable transform is ignored and counted in `unusable`; the previous one is kept.

    The MOST_FRAMES most recently received or looked up frames of /tf and of /tf_static are kept.
    own: pattern of the frames that this node publishes, which are ignored. logger: logs each frame
    with an unusable transform once.
    """

    def __init__(self, own: re.Pattern[str] | None = None, logger: Logger | None = None) -> None:
        self.unusable = 0
        self._own, self._logger = own, logger
        self._named: set[str] = set()
        self._moving: OrderedDict[str, tuple[str, Any]] = OrderedDict()
        self._arrived_s: dict[str, float] = {}
        self._static: OrderedDict[str, tuple[str, Any]] = OrderedDict()
        # The matrices of transforms that were looked up, by child frame.
        self._matrices: dict[str, tuple[Any, np.ndarray]] = {}

    def __len__(self) -> int:
        """Frames kept."""
        return len(self._moving) + len(self._static)

    def take(self, message: Any) -> None:
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

    def take_static(self, message: Any) -> None:
        """Store the transforms of one message of /tf_static."""
        for child, link in self._links(message):
            self._static[child] = link
            self._static.move_to_end(child)
        while len(self._static) > MOST_FRAMES:
            gone, _ = self._static.popitem(last=False)
            self._matrices.pop(gone, None)

    def _links(self, message: Any) -> list[tuple[str, tuple[str, Any]]]:
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

    def _refuse(self, child: str, transform: Any) -> None:
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

    def _above(self, frame: str) -> tuple[str, Any] | None:
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
