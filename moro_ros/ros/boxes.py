"""Boxes of people from an external detector: vision_msgs/Detection2DArray to arrays."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data

from moro_ros.errors import ConfigError
from moro_ros.ros.parameters import NodeConfig
from moro_ros.ros.silence import Silence

try:
    from vision_msgs.msg import Detection2DArray
except ModuleNotFoundError:
    Detection2DArray = None


def boxes_of(message: Any, class_id: str) -> np.ndarray:
    """The boxes of a Detection2DArray, (N, 4) float32 x, y, x, y pixels.

    class_id: required class of the best hypothesis; empty accepts every detection. A detection
    without a hypothesis is accepted. A box that is empty or not finite is ignored.
    """
    boxes = []
    for detection in message.detections:
        if class_id and detection.results:
            best = max(detection.results, key=lambda result: result.hypothesis.score)
            if best.hypothesis.class_id != class_id:
                continue
        box = detection.bbox
        x, y = box.center.position.x, box.center.position.y
        half = box.size_x / 2, box.size_y / 2
        boxes.append((x - half[0], y - half[1], x + half[0], y + half[1]))
    array = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    extent = array[:, 2:] - array[:, :2]
    return array[np.isfinite(array).all(axis=1) & (extent > 1.0).all(axis=1)]


class BoxesInput:
    """Keeps the newest boxes until an image uses them.

    A detector's boxes arrive later than the image. People who are tracked do not need them, so
    boxes that are a few images old are still useful.
    Raises: ConfigError if vision_msgs is not installed.
    """

    def __init__(self, node: Node, topic: str, class_id: str) -> None:
        if Detection2DArray is None:
            raise ConfigError(
                f"boxes_topic: got '{topic}', but vision_msgs is not installed. Install it (apt "
                "install ros-$ROS_DISTRO-vision-msgs) or leave boxes_topic empty."
            )
        self._class_id = class_id
        self._lock = threading.Lock()
        self._boxes = np.zeros((0, 4), np.float32)
        self._silence = Silence(node, "message", node.resolve_topic_name(topic))
        self._subscription = node.create_subscription(
            Detection2DArray, topic, self._on_message, qos_profile_sensor_data
        )

    def take(self) -> np.ndarray:
        """The boxes received since the last call, (N, 4) pixels; usually none."""
        with self._lock:
            boxes, self._boxes = self._boxes, np.zeros((0, 4), np.float32)
            return boxes

    @property
    def silence(self) -> str:
        """A text if no boxes are received, so that nobody can be found; else empty."""
        text = self._silence.text
        return text and (
            f"{text} Without the boxes of boxes_topic nobody new is found. A detector must send "
            "an empty array if it finds nobody."
        )

    def destroy(self, node: Node) -> None:
        """End the subscription."""
        node.destroy_subscription(self._subscription)

    def _on_message(self, message: Any) -> None:
        self._silence.end()
        boxes = boxes_of(message, self._class_id)
        with self._lock:
            self._boxes = boxes


def boxes_input(node: Node, options: NodeConfig) -> BoxesInput | None:
    """The input that the options request; raises ConfigError if it is not available."""
    if not options.boxes_topic:
        return None
    return BoxesInput(node, options.boxes_topic, options.boxes_class)
