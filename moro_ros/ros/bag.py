"""MotionBag: one .mcap file of serialised messages, readable by rosbag2 and the mcap tools."""

from __future__ import annotations

from pathlib import Path

from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from moro_ros.resources import share_path


class MotionBag:
    """Appends CDR messages topic by topic; the file is complete once close() returned.

    folder: a path that does not exist yet; the file becomes folder / (folder.name + ".mcap").
    """

    def __init__(self, folder: Path) -> None:
        # Humble's rosbag2 cannot read the metadata of version 9; newer ones read 8 as well.
        self._writer = Writer(folder, version=8, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        self._typestore = known_types()
        self._connections: dict[str, Connection] = {}
        self.path = folder / f"{folder.name}.mcap"

    def add_topic(self, topic: str, msgtype: str) -> None:
        """Declare a topic, of a type such as "tf2_msgs/msg/TFMessage", before its first message."""
        self._connections[topic] = self._writer.add_connection(
            topic, msgtype, typestore=self._typestore
        )

    def write(self, topic: str, stamp_ns: int, cdr: bytes) -> None:
        """Append one serialised message received at stamp_ns."""
        self._writer.write(self._connections[topic], stamp_ns, cdr)

    def close(self) -> None:
        """Write what is pending and the index."""
        self._writer.close()

    def abort(self) -> None:
        """Give the file up; it stays unreadable."""
        self._writer.abort()


def known_types() -> Typestore:
    """The message types of ROS 2 and, from the installed .msg files, of this package."""
    typestore = get_typestore(Stores.ROS2_JAZZY)
    for path in sorted(share_path("msg").glob("*.msg")):
        text = path.read_text(encoding="utf-8")
        typestore.register(get_types_from_msg(text, f"moro_ros/msg/{path.stem}"))
    return typestore
