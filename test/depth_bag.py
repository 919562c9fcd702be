"""A recording of a colour and a depth camera for tests, message by message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from moro_ros.types import Camera

STORE = get_typestore(Stores.ROS2_JAZZY)
IMAGE, INFO, TF = (
    "sensor_msgs/msg/Image",
    "sensor_msgs/msg/CameraInfo",
    "tf2_msgs/msg/TFMessage",
)
START_NS = 1_600_000_000 * 10**9
COLOUR, DEPTH = "/cam/color/image_raw", "/cam/depth/image"


def ns(time_s: float) -> int:
    """A time since the start, as a stamp."""
    return START_NS + round(time_s * 1e9)


class DepthBag:
    """Collects messages; `write` puts them into a recording in the order of their times.

    Times are seconds since START_NS: of acquisition, and of recording if that is another one.
    """

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        self._messages: list[tuple[int, str, str, bytes]] = []

    def image(self, time_s: float, recorded_s: float | None = None, frame: str = "lens") -> None:
        """A grey image."""
        width, height = self.camera.width, self.camera.height
        pixels = np.full(width * height, 100, np.uint8)
        message = self._type(IMAGE)(
            self._header(time_s, frame), height, width, "mono8", 0, width, pixels
        )
        self._add(COLOUR, IMAGE, time_s if recorded_s is None else recorded_s, message)

    def depth(
        self,
        time_s: float,
        values: np.ndarray,
        recorded_s: float | None = None,
        encoding: str = "16UC1",
        frame: str = "lens",
        stamped: bool = True,
        cut: int = 0,
    ) -> None:
        """A depth image of values as they are sent; cut: bytes that are missing at its end."""
        rows = values.astype(np.float32 if encoding == "32FC1" else np.uint16)
        header = self._header(time_s if stamped else -START_NS * 1e-9, frame)
        data = np.frombuffer(rows.tobytes(), np.uint8)[: rows.nbytes - cut]
        height, width = values.shape
        message = self._type(IMAGE)(header, height, width, encoding, 0, width * rows.itemsize, data)
        self._add(DEPTH, IMAGE, time_s if recorded_s is None else recorded_s, message)

    def infos(self, *topics: str, time_s: float = 0.0, frame: str = "lens") -> None:
        """The camera_info of both cameras."""
        camera = self.camera
        roi = self._type("sensor_msgs/msg/RegionOfInterest")(0, 0, 0, 0, False)
        message = self._type(INFO)(
            self._header(time_s, frame), camera.height, camera.width, "plumb_bob", np.zeros(5),
            camera.matrix.ravel(), np.eye(3).ravel(), np.zeros(12), 0, 0, roi,
        )  # fmt: skip
        for topic in topics or (self.info_of(COLOUR), self.info_of(DEPTH)):
            self._add(topic, INFO, time_s, message)

    def transform(self, topic: str, parent: str, child: str, x_m: float, time_s: float) -> None:
        """A transform without rotation, x_m to the right."""
        move = self._type("geometry_msgs/msg/Transform")(
            self._type("geometry_msgs/msg/Vector3")(x_m, 0.0, 0.0),
            self._type("geometry_msgs/msg/Quaternion")(0.0, 0.0, 0.0, 1.0),
        )
        stamped = self._type("geometry_msgs/msg/TransformStamped")(
            self._header(time_s, parent), child, move
        )
        self._add(topic, TF, time_s, self._type(TF)([stamped]))

    def damaged(self, topic: str, kind: str, time_s: float) -> None:
        """A message that cannot be read."""
        self._messages.append((ns(time_s), topic, kind, b"\0\1\0\0abc"))

    def write(self, folder: Path, storage: StoragePlugin = StoragePlugin.MCAP) -> Path:
        """Write the recording."""
        with Writer(folder, version=9, storage_plugin=storage) as writer:
            topics = {topic: kind for _, topic, kind, _ in self._messages}
            made = {
                topic: writer.add_connection(topic, kind, typestore=STORE)
                for topic, kind in topics.items()
            }
            for recorded_ns, topic, _, data in sorted(self._messages, key=lambda item: item[0]):
                writer.write(made[topic], recorded_ns, data)
        return folder

    @staticmethod
    def info_of(topic: str) -> str:
        """The camera_info beside a topic."""
        return f"{topic.rpartition('/')[0]}/camera_info"

    def _type(self, name: str) -> Any:
        return STORE.types[name]

    def _header(self, time_s: float, frame: str) -> Any:
        stamp = self._type("builtin_interfaces/msg/Time")(*divmod(ns(time_s), 10**9))
        return self._type("std_msgs/msg/Header")(stamp, frame)

    def _add(self, topic: str, kind: str, recorded_s: float, message: Any) -> None:
        data = bytes(STORE.serialize_cdr(message, kind))
        self._messages.append((ns(recorded_s), topic, kind, data))
