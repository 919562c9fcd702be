"""Registered depth images: the subscriptions, and messages to distances in metres."""

from __future__ import annotations

import math
import threading
from collections import deque
from typing import TYPE_CHECKING

import numpy as np
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image

from moro_ros.errors import CalibrationError, DepthError
from moro_ros.io.camera_info import camera_of_info
from moro_ros.recover.depth import MATCH_S, UNITS_M, DepthImage, depth_metres
from moro_ros.ros.conversions import stamp_to_ns
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.silence import Silence
from moro_ros.ros.transforms import TransformTree

if TYPE_CHECKING:
    from moro_ros.live.depth_memory import DepthMemory

# Time for which depth images are kept, so that an image in the queue still finds its own [s], and
# their number at 60 Hz.
KEPT_S, KEPT = 0.5, 30
# A depth image ahead by more than half a period of 60 Hz may belong to a later image [s].
OWN_S = 0.008
# A depth image farther ahead of the current image is not kept waiting: the clocks differ [s].
AHEAD_S = 1.0
# Number of images whose depth may arrive later.
IMAGES = 64


def raw_depth(message: Image) -> np.ndarray:
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


def depth_image(
    message: Image, info: CameraInfo | None, tree: TransformTree, camera_frame: str
) -> DepthImage:
    """The depth image of a message.

    info: the newest camera_info of the depth camera; tree: of TF, used only if the depth image is
    not in the frame of the colour camera, camera_frame. Raises: DepthError with the reason.
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
    stamp_ns = stamp_to_ns(message.header.stamp)
    if not frame or frame == colour:
        return DepthImage(metres, camera, stamp_ns)
    matrix = tree.lookup(frame, colour)
    if matrix is None:
        raise DepthError(
            f"Depth images are in the frame '{frame}', which TF does not connect with the image's "
            f"'{colour}'. Publish the transform, or use the depth that is aligned to the image.",
            "frame",
        )
    return DepthImage(metres, camera, stamp_ns, matrix[:3, :3], matrix[:3, 3])


class DepthInput:
    """Keeps the newest depth images until the images that they belong to are processed.

    topic, info_topic: full names.
    """

    def __init__(self, node: Node, topic: str, info_topic: str) -> None:
        self.topic = node.resolve_topic_name(topic)
        beside = f"{self.topic.rpartition('/')[0]}/camera_info"
        self.info_topic = node.resolve_topic_name(info_topic) if info_topic else beside
        self._lock = threading.Lock()
        self._messages: deque[Image] = deque(maxlen=KEPT)
        self._info: CameraInfo | None = None
        self._silence = Silence(node, "depth image", self.topic)
        # Stamps of the newest images, each with the time difference to its nearest depth image.
        self._images: dict[int, float] = {}
        qos = qos_profile_sensor_data
        self._subscriptions = [
            node.create_subscription(Image, self.topic, self._on_image, qos),
            node.create_subscription(CameraInfo, self.info_topic, self._on_info, qos),
        ]

    @property
    def silence(self) -> str:
        """A text if no depth images are received; else empty."""
        return self._silence.text

    def deliver(
        self, memory: DepthMemory, tree: TransformTree, camera_frame: str, stamp_ns: int
    ) -> None:
        """Return the depth images nearest to the image of a stamp and to those before it.

        tree, camera_frame: see depth_image.
        """
        with self._lock:
            messages, info = self._nearest(stamp_ns), self._info
        for message in messages:
            try:
                memory.offer(depth_image(message, info, tree, camera_frame))
            except DepthError as error:
                memory.refuse(error)

    def _nearest(self, stamp_ns: int) -> list[Image]:
        """Take the messages that can be matched now; those ahead of the image are kept."""
        if any(known > stamp_ns for known in self._images):
            self._images.clear()
        self._images[stamp_ns] = math.inf
        for known in list(self._images)[:-IMAGES]:
            del self._images[known]
        best: dict[int, Image] = {}
        strays, ahead = [], []
        for message in self._messages:
            taken_ns = stamp_to_ns(message.header.stamp)
            if OWN_S < (taken_ns - stamp_ns) * 1e-9 <= AHEAD_S:
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

    def destroy(self, node: Node) -> None:
        """End the subscriptions."""
        for subscription in self._subscriptions:
            node.destroy_subscription(subscription)

    def _on_image(self, message: Image) -> None:
        self._silence.end()
        taken_ns = stamp_to_ns(message.header.stamp)
        with self._lock:
            while self._messages:
                oldest_ns = stamp_to_ns(self._messages[0].header.stamp)
                if abs(taken_ns - oldest_ns) <= KEPT_S * 1e9:
                    break
                self._messages.popleft()
            self._messages.append(message)

    def _on_info(self, message: CameraInfo) -> None:
        with self._lock:
            self._info = message


def depth_input(node: Node, options: NodeConfig) -> DepthInput | None:
    """The input that the options request."""
    if not options.depth_topic:
        return None
    return DepthInput(node, options.depth_topic, options.depth_info_topic)
