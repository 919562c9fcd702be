"""Depth messages: their distances in metres, and the images that they belong to.

Messages may be rclpy's or rosbags'.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np

from moro_ros.errors import CalibrationError, DepthError
from moro_ros.geometry.depth_image import MATCH_S, UNITS_M, DepthImage, depth_metres
from moro_ros.io.camera_info import camera_of_info
from moro_ros.io.image_data import stamp_of
from moro_ros.io.transform_tree import TransformTree

# Time for which depth images are kept, so that an image in the queue still finds its own [s], and
# their number at 60 Hz.
KEPT_S, KEPT = 0.5, 30
# A depth image ahead by more than half a period of 60 Hz may belong to a later image [s].
OWN_S = 0.008
# A depth image farther ahead of the current image is not kept waiting: the clocks differ [s].
AHEAD_S = 1.0
# Number of images whose depth may arrive later.
IMAGES = 64


class Receiver(Protocol):
    """Receives depth images (live/depth_memory.py)."""

    def offer(self, depth: DepthImage) -> None:
        """Add a depth image."""

    def refuse(self, error: DepthError) -> None:
        """Record a depth image that cannot be used."""


def raw_depth(message: Any) -> np.ndarray:
    """The pixels of a depth image as received, (H, W) uint16 or float32.

    Raises: DepthError if the encoding is not a depth encoding or data is missing.
    """
    kind = np.dtype(np.float32 if message.encoding == "32FC1" else np.uint16)
    if message.encoding not in UNITS_M:
        return np.zeros((message.height, message.width), kind)  # depth_metres reports the encoding
    needed = message.step * (message.height - 1) + message.width * kind.itemsize
    if not message.width or not message.height or message.step < message.width * kind.itemsize:
        needed = len(message.data) + 1
    if len(message.data) < needed:
        raise DepthError(
            f"A depth image of {message.width}x{message.height} pixels ({message.encoding}) holds "
            f"{len(message.data)} bytes with rows of {message.step}; the driver or the transport "
            "truncates it.",
            "data",
        )
    kind = kind.newbyteorder(">" if message.is_bigendian else "<")
    shape, strides = (message.height, message.width), (message.step, kind.itemsize)
    return np.ndarray(shape, kind, bytes(message.data), strides=strides)


def depth_image(message: Any, info: Any, tree: TransformTree, camera_frame: str) -> DepthImage:
    """The depth image of a message.

    info: the newest camera_info of the depth camera, None: there is none; tree: of TF, used only if
    the depth image is not in the frame of the colour camera, camera_frame. Raises: DepthError with
    the reason.
    """
    if info is None:
        raise DepthError(
            "Depth images have no camera_info. Set depth_info_topic to the camera_info topic of "
            "the depth camera.",
            "camera_info",
        )
    frame, colour = message.header.frame_id.lstrip("/"), camera_frame.lstrip("/")
    of = info.header.frame_id.lstrip("/")
    if frame and of and frame != of:
        raise DepthError(
            f"Depth images are in the frame '{frame}', but their camera_info is in '{of}': it is "
            "from another camera. Set depth_info_topic to that of the depth camera.",
            "camera_info",
        )
    try:
        camera = camera_of_info(info)
    except CalibrationError as error:
        raise DepthError(f"The depth camera_info cannot be used: {error}", "camera_info") from error
    metres = depth_metres(raw_depth(message), message.encoding, camera)
    stamp_ns = stamp_of(message)
    if not frame or frame == colour:
        return DepthImage(metres, camera, stamp_ns)
    if not colour:
        raise DepthError(
            f"Images have no frame_id, and depth images are in the frame '{frame}': set the "
            "frame_id in the driver of the camera, so that TF can connect both.",
            "frame",
        )
    matrix = tree.lookup(frame, colour)
    if matrix is None:
        raise DepthError(
            f"Depth images are in the frame '{frame}', which TF does not connect with the image's "
            f"'{colour}'. Publish the transform, or use the depth that is aligned to the image.",
            "frame",
        )
    return DepthImage(metres, camera, stamp_ns, matrix[:3, :3], matrix[:3, 3])


def hand_over(
    messages: Iterable[Any], info: Any, tree: TransformTree, camera_frame: str, receiver: Receiver
) -> None:
    """Give depth messages to a receiver as depth images, or the reason why that is not possible.

    info, tree, camera_frame: see depth_image.
    """
    for message in messages:
        try:
            receiver.offer(depth_image(message, info, tree, camera_frame))
        except DepthError as error:
            receiver.refuse(error)


class DepthQueue:
    """Keeps the newest depth messages until the images that they belong to are processed."""

    def __init__(self) -> None:
        self._messages: deque[Any] = deque(maxlen=KEPT)
        # Stamps of the newest images, each with the time difference to its nearest depth image.
        self._images: dict[int, float] = {}

    def __len__(self) -> int:
        """Messages kept."""
        return len(self._messages)

    def add(self, message: Any) -> None:
        """Add a message, after which those that are more than KEPT_S older are forgotten."""
        taken_ns = stamp_of(message)
        while self._messages and abs(taken_ns - stamp_of(self._messages[0])) > KEPT_S * 1e9:
            self._messages.popleft()
        self._messages.append(message)

    def take(self, stamp_ns: int, own_s: float = OWN_S) -> list[Any]:
        """Return the messages nearest to the image of a stamp and to those before it.

        own_s: those farther ahead of the image may belong to a later one, for which they are kept.
        """
        if any(known > stamp_ns for known in self._images):
            self._images.clear()
        self._images[stamp_ns] = math.inf
        for known in list(self._images)[:-IMAGES]:
            del self._images[known]
        best: dict[int, Any] = {}
        strays, ahead = [], []
        for message in self._messages:
            taken_ns = stamp_of(message)
            if own_s < (taken_ns - stamp_ns) * 1e-9 <= AHEAD_S:
                ahead.append(message)
                continue
            image_ns = min(self._images, key=lambda known: abs(known - taken_ns))
            apart_s = abs(image_ns - taken_ns) * 1e-9
            if apart_s > MATCH_S:
                strays.append(message)
            elif apart_s < self._images[image_ns]:
                best[image_ns], self._images[image_ns] = message, apart_s
        self._messages = deque(ahead, maxlen=KEPT)
        # One of those that belong to no image is enough to find the reason.
        return [best[known] for known in sorted(best)] or strays[-1:]
